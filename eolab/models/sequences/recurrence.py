"""A ConvLSTM over series of images in which some steps have no image."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from eolab.models.layers import serializable


@serializable
class MapCell(keras.layers.Layer):
    """One step of a ConvLSTM, from the gates that its image gives: what the state adds, and the next state.

    Takes ``(B, H, W, 4F + 1)``: for input, forgetting, candidate and output what the image says, and whether
    there is one; without an image the state stays. The states are maps and memory, (B, H, W, F) each.
    """

    def __init__(
        self, filters: int, kernel: int, size: tuple[int, int], seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.size, self.seed = filters, kernel, tuple(size), seed
        self.state_size = [(*self.size, filters)] * 2
        self.output_size = (*self.size, filters)

    def build(self, input_shape: Any) -> None:  # noqa: D102
        shape = (self.kernel_size, self.kernel_size, self.filters, 4 * self.filters)
        start = keras.initializers.Orthogonal(seed=self.seed)
        self.recurrent = self.add_weight(shape, initializer=start, name="recurrent_kernel")

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Return maps and memory of zeros."""
        return [ops.zeros((batch_size, *size), self.compute_dtype) for size in self.state_size]

    def call(self, step: Any, states: list[Any], training: bool | None = None) -> Any:  # noqa: D102
        maps, memory = states
        seen = step[..., -1:]
        gates = step[..., :-1] + ops.conv(maps, self.recurrent, padding="same")
        enter, forget, candidate, leave = ops.split(gates, 4, axis=-1)
        new = ops.sigmoid(forget) * memory + ops.sigmoid(enter) * ops.tanh(candidate)
        memory = memory + seen * (new - memory)
        maps = maps + seen * (ops.sigmoid(leave) * ops.tanh(new) - maps)
        return maps, [maps, memory]

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        own = {"filters": self.filters, "kernel": self.kernel_size, "size": self.size, "seed": self.seed}
        return super().get_config() | own


@serializable
class ConvLSTM(keras.layers.Layer):
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
        self,
        filters: int,
        kernel: int = 3,
        sequences: bool = True,
        backwards: bool = False,
        l2: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.sequences = filters, kernel, sequences
        self.backwards, self.l2, self.seed = backwards, l2, seed

    def build(self, images_shape: Any, valid_shape: Any) -> None:  # noqa: D102
        side, filters, size = self.kernel_size, self.filters, tuple(images_shape[2:4])
        self.kernel = self.add_weight(
            (side, side, images_shape[-1], 4 * filters),
            initializer=keras.initializers.GlorotUniform(seed=self.seed),
            regularizer=keras.regularizers.L2(self.l2) if self.l2 else None,
            name="kernel",
        )
        self.bias = self.add_weight((4 * filters,), initializer=_remember, name="bias")
        self.recurrence = keras.layers.RNN(
            MapCell(filters, side, size, self.seed + 1, dtype=self.dtype_policy),
            return_sequences=self.sequences,
            go_backwards=self.backwards,
            dtype=self.dtype_policy,
        )
        self.recurrence.build((None, None, *size, 4 * filters + 1))

    def call(self, images: Any, valid: Any) -> Any:
        """Read images (B, T, H, W, C), of those steps where ``valid`` (B, T) is above a half."""
        height, width, channels = images.shape[2:]
        gates = ops.conv(ops.reshape(images, (-1, height, width, channels)), self.kernel, padding="same")
        gates = ops.reshape(gates + self.bias, (-1, ops.shape(images)[1], height, width, 4 * self.filters))
        seen = ops.expand_dims(ops.cast(valid > 0.5, gates.dtype), (-3, -2, -1))
        seen = ops.broadcast_to(seen, (*ops.shape(gates)[:-1], 1))
        return self.recurrence(ops.concatenate([gates, seen], axis=-1))

    def compute_output_shape(self, images_shape: Any, valid_shape: Any) -> tuple[Any, ...]:  # noqa: D102
        steps = tuple(images_shape[:2]) if self.sequences else (images_shape[0],)
        return (*steps, *images_shape[2:4], self.filters)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        names = ("filters", "sequences", "backwards", "l2", "seed")
        own = {name: getattr(self, name) for name in names} | {"kernel": self.kernel_size}
        return super().get_config() | own


def _remember(shape: Any, dtype: Any = None) -> Any:
    """Return a bias of 1 for the gate that keeps the memory, 0 for the others (Jozefowicz et al. 2015)."""
    quarter = shape[0] // 4
    parts = [ops.zeros((quarter,), dtype), ops.ones((quarter,), dtype), ops.zeros((2 * quarter,), dtype)]
    return ops.concatenate(parts)
