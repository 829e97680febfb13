"""ResNet encoders: of classifiers, of DeepLabV3 and U-Net, and of the images of a sequence.

Layers have timm's names, ``_`` for ``.``, behind a prefix: :func:`eolab.models.weights.load` puts published
weights into any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from eolab.core.errors import check_known
from eolab.models.blocks import BRANCH_SCALE, batch_norm, conv_norm, scaled
from eolab.models.layers import Seeds

BLOCKS = {  # of each stage by depth
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
FILTERS = (64, 128, 256, 512)
PREFIX = "encoder_"
EPSILON = 1e-5  # of the batch normalisation: PyTorch's, which published weights belong to


def depth_of(backbone: str) -> int:
    """Return the number of layers of a backbone such as "resnet50".

    Raises:
        ParameterError: If there is no such ResNet.
    """
    known = {f"resnet{depth}": depth for depth in BLOCKS}
    check_known(backbone, known, f"There is no backbone {backbone!r}")
    return known[backbone]


pytorch_norm = partial(batch_norm, epsilon=EPSILON)


class MaskedNorm:
    """Batch normalisation of maps in which only observed places count; all others become 0.

    A cell of a map stands for the square of pixels, from the upper left on, that its stride makes; it counts
    where one of them was observed. Convolutions then see zeros in the padding as they see them beyond the
    image, in all layers: how much padding there is at the bottom and on the right changes nothing.

    Args:
        seen: Pixels (B, H, W, 1) that were observed, 1 or 0.
    """

    def __init__(self, seen: Any) -> None:
        self._cells = [seen]

    def cells(self, maps: Any) -> Any:
        """Return which cells of maps (B, h, w, F) count, (B, h, w, 1)."""
        while self._cells[-1].shape[1:3] != maps.shape[1:3]:
            self._cells.append(keras.layers.MaxPooling2D(2, padding="same")(self._cells[-1]))
        return self._cells[-1]

    def __call__(self, x: Any, scale: float, name: str | None) -> Any:
        """Normalise maps (B, h, w, F), as :func:`eolab.models.blocks.batch_norm`."""
        cells = self.cells(x)
        x = pytorch_norm(x, scale, name, mask=keras.layers.Reshape(x.shape[1:3])(cells))
        return keras.layers.Multiply()([x, cells])


@dataclass(frozen=True)
class Encoder:
    """A ResNet up to its last stage (He et al. 2016): images to maps of five strides.

    It differs from the paper in two points: the stride of a bottleneck stands in its 3 × 3 convolution
    (Goyal et al. 2017) unless told otherwise, and residual branches begin small. Padding is symmetric as in
    PyTorch.

    Paper: Deep residual learning for image recognition, CVPR 2016.

    Attributes:
        seeds: Seeds of the weights.
        depth: Layers, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features.
        prefix: Beginning of the names of the layers.
        norm: Normalises maps, see :func:`eolab.models.blocks.conv_norm`.
        l2: Penalty on the squares of the weights of convolutions.
        early: Whether the stride of a bottleneck stands in its first convolution, as in the paper and in
            Keras's own networks, and not in its 3 × 3 convolution.
        output_stride: Largest stride of the maps; stages beyond it dilate in place of striding. With less
            than 32 the last strided layer is padded to the other side, so that maps stay within half a pixel
            of where resizing takes them to be.
        multi_grid: Dilation of the last stage's blocks, times that of the stage.
    """

    seeds: Seeds
    depth: int = 50
    width_multiplier: float = 1.0
    prefix: str = PREFIX
    norm: Callable[..., Any] = pytorch_norm
    l2: float = 0.0
    early: bool = False
    output_stride: int = 32
    multi_grid: tuple[int, ...] = (1, 1, 1)

    def __post_init__(self) -> None:
        check_known(self.depth, BLOCKS, f"There is no ResNet of {self.depth} layers")

    def __call__(self, x: Any) -> list[Any]:
        """Read images (N, H, W, C); return maps of the stem and the four stages, (N, H/2, W/2, 64) and so on.

        With a width of 1 the last maps have 512 features for 18 and 34 layers, 2,048 for others.
        """
        first = scaled(FILTERS[0], self.width_multiplier)
        x = self._conv_norm(x, first, 7, ("conv1", "bn1"), strides=2, padding="symmetric")
        outputs = [keras.layers.ReLU()(x)]  # (N, H/2, W/2, 64)
        x = keras.layers.ZeroPadding2D(1)(outputs[0])
        x = keras.layers.MaxPooling2D(3, 2)(x)  # (N, H/4, W/4, 64)
        stride, dilation = 4, 1
        for stage, (filters, blocks) in enumerate(zip(FILTERS, BLOCKS[self.depth], strict=True)):
            strides = 2 if stage and stride < self.output_stride else 1
            stride, dilation = stride * strides, dilation * (2 if stage and strides == 1 else 1)
            size = scaled(filters, self.width_multiplier)
            padding = "same" if stride == self.output_stride < 32 else "symmetric"
            for block in range(blocks):
                place, grid = f"layer{stage + 1}_{block}_", self.multi_grid[block] if stage == 3 else 1
                x = self._block(x, size, place, 1 if block else strides, dilation * grid, padding)
            outputs.append(x)  # (N, H/4, W/4, F), (N, H/8, W/8, 2 F) and so on
        return outputs

    def _block(self, x: Any, filters: int, place: str, strides: int, dilation: int, padding: str) -> Any:
        """Two 3 × 3 convolutions, or a bottleneck, beside a shortcut: (N, H, W, C) → (N, H/s, W/s, e F)."""
        bottleneck = self.depth >= 50
        first, second = (strides, 1) if self.early or not bottleneck else (1, strides)
        layers = ((1, first), (3, second), (1, 1)) if bottleneck else ((3, first), (3, second))
        wide, y = (4 if bottleneck else 1) * filters, x
        for number, (kernel, step) in enumerate(layers, start=1):
            names = (f"{place}conv{number}", f"{place}bn{number}")
            size, scale = (wide, BRANCH_SCALE) if number == len(layers) else (filters, 1.0)
            given: dict[str, Any] = {"strides": step, "scale": scale}
            if kernel > 1:
                given |= {"padding": padding} if step > 1 else {"padding": "same", "dilation": dilation}
            y = self._conv_norm(y, size, kernel, names, **given)
            y = y if number == len(layers) else keras.layers.ReLU()(y)
        if strides > 1 or x.shape[-1] != wide:
            names = (f"{place}downsample_0", f"{place}downsample_1")
            x = self._conv_norm(x, wide, 1, names, strides=strides)
        return keras.layers.ReLU()(keras.layers.Add()([x, y]))

    def _conv_norm(self, x: Any, filters: int, kernel: int, names: tuple[str, str], **given: Any) -> Any:
        """Convolution without bias, and normalisation: (N, H, W, C) → (N, H/strides, W/strides, F)."""
        given = {"padding": "valid", "activation": None, "norm": self.norm, "l2": self.l2} | given
        names = (self.prefix + names[0], self.prefix + names[1])
        return conv_norm(x, filters, kernel, self.seeds, names=names, **given)
