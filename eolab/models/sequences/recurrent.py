"""Recurrent networks of image sequences: ConvLSTM branches, and ResNets of each image before a GRU."""

# ruff: noqa: D102 (build and call are those of Keras; the class documents them)

import math
from typing import Any

import keras
from keras import ops

from eolab.core.errors import check_known
from eolab.models.blocks import joined, penalty
from eolab.models.heads import Spec
from eolab.models.layers import Layer, MaskedMean, Seeds, moves_of, recurrent
from eolab.models.resnet import PREFIX, Encoder
from eolab.models.sequences.inputs import (
    ImageNorm,
    Observed,
    Unfold,
    WithoutMask,
    fold,
    sequence_input,
    sequence_model,
)

POOLINGS = ("flatten", "mean")


def convlstm(
    spec: Spec,
    *,
    filters: int = 2,
    kernel: int = 3,
    layers: int = 2,
    hidden: int = 2,
    dropout: float = 0.2,
    l2: float = 1e-4,
    pool: str = "flatten",
    bidirectional: bool = False,
) -> keras.Model:
    """Return a network of ConvLSTM branches (Shi et al. 2015), one a sensor.

    In each branch a ConvLSTM, batch normalisation, dropout and another ConvLSTM with dropout; the features
    of a step are put side by side, and two dense layers predict for each step. Where Wiesniakowski, Ifepe
    and Villadangos Benavides (2024) say nothing, kernels are 3 × 3, dropout is 0.2, the weight penalty
    0.0001; the maps of a step are flattened, the only way in which a dense layer of two units follows them.

    - Steps without an image pass the state on: with sensors at different dates, a step has the last that each
      sensor saw. They take no part in the batch normalisation.
    - The head "labels" reads each sequence to its end and predicts once.

    Papers: Shi et al., Convolutional LSTM network, NeurIPS 2015, https://arxiv.org/abs/1506.04214; data and
    task of Rambour et al. 2020.

    Args:
        spec: Inputs and outputs.
        filters: Maps of each ConvLSTM.
        kernel: Side of their kernels in pixels.
        layers: ConvLSTMs a branch.
        hidden: Units of the dense layer before the last layer.
        dropout: Share of features dropped after each ConvLSTM.
        l2: Penalty on squared weights of the ConvLSTMs.
        pool: How maps become features: "flatten", as reported, or "mean" over the image, for any size.
        bidirectional: Whether a second reading goes backwards, so that a step knows what came after.

    Raises:
        ParameterError: If a word is unknown.
    """
    check_known(pool, POOLINGS, f"convlstm: pool is {pool!r}")
    seeds, steps = spec.seeds, spec.head == "steps"

    def read(x: Any, valid: Any, sequences: bool, backwards: bool) -> Any:
        seed = seeds.next()
        seeds.next()  # of the recurrent kernel
        maps = ConvLSTM(filters, kernel, sequences, backwards, l2, seed)(x, valid)  # (B, [T,] H, W, F)
        return ops.flip(maps, axis=1) if backwards and sequences else maps  # into the order of the dates

    inputs, images = sequence_input(spec)
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        for number in range(layers):
            sequences = steps or number < layers - 1
            directions = (False, True)[: 1 + bidirectional]
            x = joined([read(x, valid, sequences, backwards) for backwards in directions])
            if number == 0 and layers > 1:
                x = WithoutMask()(ImageNorm()(x, valid > 0.5))
            x = seeds.dropout(dropout)(x)
        branches.append(_features(x, pool, steps))  # (B, T, F)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer=seeds.he())(joined(branches))  # (B, T, hidden)
    return sequence_model(spec, inputs, [x])


def _features(x: Any, pool: str, steps: bool) -> Any:
    """Return features of each step (B, T, F), of one step for the sequence: from (B, [T,] H, W, F)."""
    if pool == "mean":
        x = ops.mean(x, axis=(-3, -2))
    elif steps:
        x = keras.layers.Reshape((-1, x.shape[-3] * x.shape[-2] * x.shape[-1]))(x)
    else:
        x = keras.layers.Flatten()(x)
    return x if steps else ops.expand_dims(x, 1)


def resnet(
    spec: Spec,
    *,
    depth: int = 50,
    width_multiplier: float = 1.0,
    units: int = 256,
    bidirectional: bool = False,
    dropout: float = 0.2,
) -> keras.Model:
    """Return ResNets (He et al. 2016), one a sensor, and a GRU over the steps of each (Cho et al. 2014).

    The networks of Rambour et al. (2020), without and with memory. The features of an image are their means
    over the image. Without units a step knows its own images alone: where a sensor has none, its features are
    0. With units a GRU reads the features of each sensor; steps without an image pass its state on, so that a
    step has what each sensor saw last. The features of all sensors at a step are put side by side, and a
    dense layer predicts.

    - The head "labels" takes the mean over all images of each sensor, or reads each sequence to its end, and
      predicts once.
    - Batch normalisation takes no part of steps without an image, see :class:`ImageNorm`.
    - These networks begin with random weights. Number of units, one GRU a sensor and dropout are our choices.

    Papers: Deep residual learning for image recognition, CVPR 2016; Learning phrase representations using RNN
    encoder-decoder for statistical machine translation, EMNLP 2014; Flood detection in time series of optical
    and SAR images, ISPRS Archives XLIII-B2-2020.

    Args:
        spec: Inputs and outputs.
        depth: Layers of each ResNet, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features of the ResNets.
        units: Units of each GRU; 0 for none.
        bidirectional: Whether a second GRU goes backwards, so that a step knows what came after.
        dropout: Share of features dropped before the GRUs and before the last layer.
    """
    seeds, steps = spec.seeds, spec.head == "steps"
    inputs, images = sequence_input(spec)
    branches = []
    for sensor, x in images.items():
        valid = inputs[f"{sensor}_valid"]
        x = features_of_steps(x, valid, seeds, sensor, depth, width_multiplier)  # (B, T, F)
        if units:
            x = seeds.dropout(dropout)(x) if dropout else x
            directions = (False, True)[: 1 + bidirectional]
            read = [_read(x, valid, units, seeds, steps, backwards) for backwards in directions]
        else:
            read = [x if steps else MaskedMean()(x, valid)]
        branches += read if steps else [ops.expand_dims(state, 1) for state in read]
    return sequence_model(spec, inputs, branches, dropout)


def features_of_steps(
    images: Any, valid: Any, seeds: Seeds, sensor: str, depth: int = 50, width_multiplier: float = 1.0
) -> Any:
    """Read each image of a sequence by one ResNet: (B, T, H, W, C) → (B, T, F), 0 where there is no image.

    Args:
        images: Normalised images.
        valid: Where there is an image (B, T).
        seeds: Seeds of the weights.
        sensor: Name of the sensor; layers are named ``encoder_<sensor>_conv1`` and so on.
        depth: Layers, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features.
    """
    seen = fold(valid)

    def norm(maps: Any, scale: float, name: str) -> Any:
        gamma = keras.initializers.Constant(scale)
        return ImageNorm(gamma_initializer=gamma, name=name)(maps, seen)

    encoder = Encoder(seeds, depth, width_multiplier, f"{PREFIX}{sensor}_", norm)
    x = keras.layers.GlobalAveragePooling2D()(encoder(fold(images))[-1])  # (B T, F)
    return Observed()(Unfold()(x, valid), valid)


def _read(x: Any, valid: Any, units: int, seeds: Seeds, steps: bool, backwards: bool) -> Any:
    """Return the state of a GRU at each step (B, T, units), or the last (B, units)."""
    layer = recurrent(keras.layers.GRU, units, seeds, steps, backwards)
    x = WithoutMask()(layer(x, mask=valid > 0.5))
    return ops.flip(x, axis=1) if backwards and steps else x  # into the order of the dates


# === A ConvLSTM over series of images in which some steps have no image ===


class MapCell(Layer):
    """One step of a ConvLSTM, from the gates that its image gives: what the state adds, and the next state.

    Takes ``(B, H, W, 4F)``: for input, forgetting, candidate and output what the image says; or with F more,
    whether a pixel was seen: where not, its state stays. The states are maps and memory, (B, H, W, F) each.
    """

    def __init__(self, filters: int, kernel: int, size: tuple[int, int], seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.seed = filters, kernel, seed
        self.output_size = (*size, filters)
        self.state_size = [self.output_size] * 2

    def build(self, input_shape: Any) -> None:
        shape = (self.kernel_size, self.kernel_size, self.filters, 4 * self.filters)
        start = keras.initializers.Orthogonal(seed=self.seed)
        self.recurrent = self.add_weight(shape, initializer=start, name="recurrent_kernel")

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Return maps and memory of zeros."""
        return [ops.zeros((batch_size, *size), self.compute_dtype) for size in self.state_size]

    def call(self, step: Any, states: list[Any], training: bool | None = None) -> Any:
        maps, memory = states
        wide = 4 * self.filters
        gates, *chosen = ops.split(step, [wide], axis=-1) if step.shape[-1] > wide else [step]
        gates = gates + ops.conv(maps, self.recurrent, padding="same")
        enter, forget, candidate, leave = ops.split(gates, 4, axis=-1)
        new = ops.sigmoid(forget) * memory + ops.sigmoid(enter) * ops.tanh(candidate)
        shown = ops.sigmoid(leave) * ops.tanh(new)
        for seen in map(ops.stop_gradient, chosen):
            shown, new = maps + seen * (shown - maps), memory + seen * (new - memory)
        return shown, [shown, new]


class ConvLSTM(Layer):
    """Keras's ConvLSTM2D with a mask that every backend takes, in half the time.

    The images of all steps are convolved at once before the recurrence, and the four gates together (Shi et
    al. 2015). With the same weights it gives what ``keras.layers.ConvLSTM2D(padding="same")`` gives with a
    mask; that of Keras 3.15 fails on JAX with a mask of steps.

    Args:
        filters: Maps F.
        kernel: Side of the kernels in pixels.
        sequences: Whether it gives the maps of every step, (B, T, H, W, F), or of the last, (B, H, W, F).
        backwards: Whether it reads from the last step to the first; its steps come in that order.
        l2: Penalty on the squared weights of the kernel that reads the images.
        seed: Seed of the weights.
    """

    def __init__(
        self, filters: int, kernel: int, sequences: bool, backwards: bool, l2: float, seed: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.sequences = filters, kernel, sequences
        self.backwards, self.l2, self.seed = backwards, l2, seed

    def build(self, shape: Any) -> None:
        side, filters, size = self.kernel_size, self.filters, tuple(shape[2:4])
        self.kernel = self.add_weight(
            (side, side, shape[-1], 4 * filters),
            initializer=keras.initializers.GlorotUniform(seed=self.seed),
            regularizer=penalty(self.l2),
            name="kernel",
        )
        self.bias = self.add_weight((4 * filters,), initializer=_remember, name="bias")
        self.recurrence = keras.layers.RNN(
            MapCell(filters, side, size, self.seed + 1, dtype=self.dtype_policy),
            return_sequences=self.sequences,
            dtype=self.dtype_policy,
        )
        self.recurrence.build((None, None, *size, 4 * filters))

    def call(self, images: Any, valid: Any) -> Any:
        """Read images (B, T, H, W, C), of those steps where ``valid`` (B, T) is above a half.

        With ``valid`` (B, T, H, W), each pixel of a step is read or not.
        """
        if len(valid.shape) == 2:
            return self._whole(images, valid > 0.5)
        gates = self._gates(images) + self.bias
        seen = ops.expand_dims(ops.cast(valid > 0.5, gates.dtype), -1)
        # as wide as the maps, since TensorFlow is slow where it repeats numbers along the last axis
        seen = ops.broadcast_to(seen, (*ops.shape(gates)[:-1], self.filters))
        steps = ops.concatenate([gates, seen], axis=-1)
        return self.recurrence(ops.flip(steps, axis=1) if self.backwards else steps)

    def _gates(self, images: Any) -> Any:
        """Return what images say to the gates, (B, T, H, W, C) → (B, T, H, W, 4F)."""
        maps = ops.conv(ops.reshape(images, (-1, *images.shape[2:])), self.kernel, padding="same")
        return ops.reshape(maps, (-1, *ops.shape(images)[1:4], 4 * self.filters))

    def _whole(self, images: Any, seen: Any) -> Any:
        """Read the images of those steps that are seen (B, T), so that no step chooses by the mask.

        They move to the end, in the order in which they are read. Before them nothing enters, not even the
        bias, which leaves an empty state empty.
        """
        moves, count = moves_of(seen, self.backwards, True, images.dtype)
        moved, number = self._mixed(moves, images), ops.arange(ops.shape(seen)[1])
        first = ops.shape(seen)[1] - count  # place of the first image
        enters = ops.expand_dims(ops.cast(number >= first, moved.dtype), (2, 3, 4))
        states = self.recurrence(self._gates(moved) + enters * self.bias)
        if not self.sequences:
            return states
        read = ops.cumsum(ops.cast(ops.flip(seen, axis=1) if self.backwards else seen, "int32"), axis=1)
        last = ops.equal(ops.expand_dims(first + read - 1, 2), number)  # (B, step, place)
        return self._mixed(ops.logical_and(last, ops.expand_dims(read > 0, 2)), states)

    @staticmethod
    def _mixed(places: Any, maps: Any) -> Any:
        """Return maps (B, T, H, W, C) at other places, (B, to, from)."""
        flat = ops.reshape(maps, (-1, ops.shape(maps)[1], math.prod(maps.shape[2:])))
        return ops.reshape(ops.matmul(ops.cast(places, maps.dtype), flat), (-1, *ops.shape(maps)[1:]))

    def compute_output_shape(self, images_shape: Any, valid_shape: Any) -> tuple[Any, ...]:
        steps = tuple(images_shape[:2]) if self.sequences else (images_shape[0],)
        return (*steps, *images_shape[2:4], self.filters)


def _remember(shape: Any, dtype: Any = None) -> Any:
    """Return a bias of 1 for the gate that keeps the memory, 0 for the others (Jozefowicz et al. 2015)."""
    quarter = shape[0] // 4
    parts = [ops.zeros((quarter,), dtype), ops.ones((quarter,), dtype), ops.zeros((2 * quarter,), dtype)]
    return ops.concatenate(parts)
