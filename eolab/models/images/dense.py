"""Trained image classifiers as fully convolutional networks: a prediction at every few pixels of any image.

Example:
    >>> network = dense(classifier)                     # same weights, images of any size
    >>> found = network({"image": tile[None]})          # tile (1000, 1000, 12)
    >>> found["probabilities"].shape, found["pooled"].shape
    ((1, 32, 32, 19), (1, 19))
    >>> grid = output_grid(network)                     # of a ResNet-50
    >>> grid.stride, grid.centre, grid.receptive_field
    (32, 0.0, 427)
"""

from typing import Any

import keras
import numpy as np

from eolab.core.errors import ParameterError
from eolab.models.output_grid import OutputGrid, to_pixels

Windowed = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
Pooled = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


def dense(network: keras.Model) -> keras.Model:
    """Return the fully convolutional network of a classifier, with a copy of its weights.

    The average over all positions and the last, linear layer are exchanged: the layer predicts at each
    position (Long et al. 2015), and the average of its predictions is the classifier's own. Zeros that pad
    the image stand elsewhere than in a small patch, so positions far from the rim see what no patch had.

    Paper: Fully convolutional networks for semantic segmentation, CVPR 2015.

    Args:
        network: A classifier that ends in a global average, a dense layer and a sigmoid, such as those of
            :mod:`eolab.models.images` but the three-branch CNN.

    Returns:
        A model of the same inputs with any height and width. It gives a dict, float32: ``logits`` and
        ``probabilities`` (B, h, w, K) of each position, see :func:`output_grid`, and ``pooled`` (B, K), the
        probabilities of the whole image.

    Raises:
        ParameterError: If the classifier ends otherwise.
    """
    pool, linear = _tail(network)
    source = keras.Model(network.input, pool.input)
    inputs = {
        name: keras.Input((None, None, given.shape[-1]), name=name, dtype=given.dtype)
        for name, given in network.input.items()
    }
    maps = keras.models.clone_model(source, input_tensors=inputs)  # (B, h, w, F)
    maps.set_weights(source.get_weights())
    last = keras.layers.Conv2D(
        linear.units, 1, use_bias=linear.use_bias, dtype=linear.dtype_policy, name="logits"
    )
    logits = keras.layers.Activation("linear", dtype="float32", name="maps")(last(maps.output))
    kernel, *bias = linear.get_weights()
    last.set_weights([kernel[None, None], *bias])
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pool")(logits)  # (B, K)
    outputs = {"logits": logits}
    for name, values in (("probabilities", logits), ("pooled", pooled)):
        outputs[name] = keras.layers.Activation("sigmoid", dtype="float32", name=name)(values)
    return keras.Model(inputs, outputs, name=f"{network.name}_dense")


def activation_maps(network: keras.Model, inputs: dict[str, Any]) -> np.ndarray:
    """Return class activation maps: what each place of an image adds to the logit of each label.

    Their average over the positions is the logit of the whole image less the label's bias.

    Paper: Learning deep features for discriminative localization, CVPR 2016 (Zhou et al.).

    Args:
        network: Result of :func:`dense`.
        inputs: Images (B, H, W, C) by name, in raw units.

    Returns:
        float32 (B, H, W, K), interpolated between the positions.
    """
    last = network.get_layer("logits")
    logits = np.asarray(keras.ops.convert_to_numpy(network(inputs, training=False)["logits"]))
    if last.use_bias:
        logits = logits - keras.ops.convert_to_numpy(last.bias)
    height, width = inputs["image"].shape[1:3]
    grid = output_grid(network)
    return np.stack([to_pixels(one, grid, height, width) for one in logits])


def output_grid(network: keras.Model) -> OutputGrid:
    """Return where the last maps of a classifier, or the predictions of its dense network, stand.

    Layers but convolutions, pooling and padding are taken to look at each position by itself; attention and
    squeeze-and-excitation do not.

    Raises:
        ParameterError: If the network has no maps that are averaged, pads unevenly with a stride, or joins
            maps of different strides.
    """
    pool = _pool(network)
    grids = {id(given): OutputGrid() for given in network.input.values()}
    for layer in network.operations:
        if layer is pool:
            break
        if isinstance(layer, keras.layers.InputLayer):
            continue
        given = [grids[id(one)] for one in keras.tree.flatten(layer.input)]
        strides = {grid.stride for grid in given}
        if len(strides) > 1:
            raise ParameterError(
                f"Layer {layer.name} joins maps of the strides {sorted(strides)}: positions differ."
            )
        joined = OutputGrid(strides.pop(), min(one.first for one in given), max(one.last for one in given))
        grids[id(layer.output)] = _after(layer, joined)
    return grids[id(pool.input)]


def _after(layer: Any, grid: OutputGrid) -> OutputGrid:
    """Return the grid of the maps that leave a layer.

    Raises:
        ParameterError: If it changes the size of maps in a way that is not known here.
    """
    step = grid.stride
    if isinstance(layer, keras.layers.ZeroPadding2D):
        before = layer.padding[0][0]
        return OutputGrid(step, grid.first - before * step, grid.last - before * step)
    if isinstance(layer, Windowed):
        kernel = (layer.kernel_size[0] - 1) * layer.dilation_rate[0] + 1
    elif isinstance(layer, Pooled):
        kernel = layer.pool_size[0]
    elif {tuple(given.shape[1:3]) for given in keras.tree.flatten(layer.input)} == {layer.output.shape[1:3]}:
        return grid
    else:
        raise ParameterError(f"Layer {layer.name} changes the size of maps: their positions are not known.")
    strides = layer.strides[0]
    if layer.padding == "same" and strides > 1:
        raise ParameterError(
            f"Layer {layer.name} has the stride {strides} and pads by the size of the image: its positions "
            "are not known."
        )
    before = (kernel - 1) // 2 if layer.padding == "same" else 0
    first, last = grid.first - before * step, grid.last + (kernel - 1 - before) * step
    return OutputGrid(step * strides, first, last)


def _pool(network: keras.Model) -> Any:
    """Return the one layer that averages maps over all positions."""
    pools = [one for one in network.layers if isinstance(one, keras.layers.GlobalAveragePooling2D)]
    if len(pools) != 1:
        raise ParameterError(
            f"{network.name} averages maps in {len(pools)} places: a dense network needs one, "
            "before its last layer."
        )
    return pools[0]


def _tail(network: keras.Model) -> tuple[Any, Any]:
    """Return the global average of a classifier and its last dense layer."""
    pool = _pool(network)
    tail = network.layers[network.layers.index(pool) + 1 :]
    tail = [layer for layer in tail if not isinstance(layer, keras.layers.Dropout)]
    linear = (keras.layers.Dense, keras.activations.linear)
    sigmoid = (keras.layers.Activation, keras.activations.sigmoid)
    if [(type(layer), getattr(layer, "activation", None)) for layer in tail] != [linear, sigmoid]:
        names = ", ".join(type(layer).__name__ for layer in tail)
        raise ParameterError(
            f"{network.name} ends in {names}: a dense network is made of one that ends in a dense "
            "layer and a sigmoid."
        )
    return pool, tail[0]
