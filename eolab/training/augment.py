"""Augmentation of patches and their labels together: right-angle rotations, flips, CutMix, crops, mixup.

Every function takes a batch and a random generator and returns a new batch; nothing is changed in place, and
the result is a pure function of both, so a training that resumes sees what an unbroken one sees. Masks are
moved and never mixed: their integers, 255 = not known included, stay what they are.

An input array of shape (B, H, W, …), where the mask is (B, H, W), moves with the mask; arrays of fewer than
four dims that have other sizes (dates, flags) pass unchanged. A label of the whole patch, (B,) or (B, K),
passes rotations and flips unchanged, while every array of four dims moves; only mixup mixes it.

Where an input is an image series (B, T, H, W, C), arrays of four dims are series too, such as what was
observed (B, T, H, W): all dates of a sample move alike, with its mask.

A rotated or flipped image is right for values without a direction: reflectance, indices, slope, elevation.
Channels with a direction (a gradient along x, an aspect) are moved but not turned: after a quarter turn the
channel of the gradient along x holds that along y, and after a flip its sign is reversed. Leave such channels
out, or accept that a network cannot rely on their direction.

Example:
    >>> change = build(["rotate", "flip", "cutmix"])
    >>> change.name
    'rotate+flip+cutmix'
    >>> image, mask = np.zeros((8, 64, 64, 4), "float32"), np.zeros((8, 64, 64), "uint8")
    >>> inputs, label = change({"image": image}, mask, np.random.default_rng(0))
    >>> inputs["image"].shape, label.shape
    ((8, 64, 64, 4), (8, 64, 64))
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from eolab.core.errors import DataError, ParameterError, check_all
from eolab.data.schemes import IGNORE

Inputs = dict[str, np.ndarray]
Batch = tuple[Inputs, np.ndarray]  # inputs by name, and labels
Step = Callable[[Inputs, np.ndarray, np.random.Generator], Batch]


def rotate(inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
    """Turn each patch by its own multiple of 90°, all equally likely; by 0° or 180° where H and W differ.

    Args:
        inputs: Arrays (B, H, W, …), and others that pass.
        label: Masks (B, H, W), or labels of whole patches (B,) or (B, K).
        rng: Random generator of the angles.

    Raises:
        DataError: If an image has another size than the mask.
    """
    arrays = _dates_last(inputs, label).values()
    shapes = {values.shape for values in arrays if _moves(values, label)} | {label.shape}
    square = all(shape[1] == shape[2] for shape in shapes if len(shape) >= 3)
    turns = rng.integers(0, 4, len(label)) if square else 2 * rng.integers(0, 2, len(label))

    def turn(values: np.ndarray) -> np.ndarray:
        return np.stack([np.rot90(one, quarters) for one, quarters in zip(values, turns, strict=True)])

    return _together(turn, inputs, label)


def flip(inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
    """Mirror each patch left to right with probability ½, and top to bottom with probability ½.

    Args:
        inputs: Arrays (B, H, W, …), and others that pass.
        label: Masks (B, H, W), or labels of whole patches (B,) or (B, K).
        rng: Random generator.

    Raises:
        DataError: If an image has another size than the mask.
    """
    steps = np.where(rng.random((len(label), 2)) < 0.5, -1, 1)  # along y and x, of each patch

    def mirror(values: np.ndarray) -> np.ndarray:
        return np.stack([one[::y, ::x] for one, (y, x) in zip(values, steps, strict=True)])

    return _together(mirror, inputs, label)


def cutmix(
    inputs: Inputs, label: np.ndarray, rng: np.random.Generator, share: float = 0.5, alpha: float = 1.0
) -> Batch:
    """Paste a box of another patch of the batch into some patches, image and mask alike.

    Yun, Han, Oh, Chun, Choe and Yoo (2019), CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features. The box has the sides H √(1 − λ) and W √(1 − λ) with λ from Beta(α, α), its centre
    is uniform over the patch, and what lies outside is cut off. The paper mixes the labels of a
    classification by area; a mask needs no mixing, each pixel keeps the class it came with. Here each patch
    draws its own λ, box and partner, and the partner is never the patch itself.

    Args:
        inputs: Arrays (B, H, W, …), and others that pass.
        label: Masks (B, H, W).
        rng: Random generator.
        share: Expected share of the patches that get a box, 0 to 1.
        alpha: Parameter of the Beta distribution, above 0; 1 makes λ uniform.

    Raises:
        ParameterError: If share or alpha is out of its range.
        DataError: If an image has another size than the mask.
    """
    check_options("cutmix", share=share, alpha=alpha)
    count, height, width = _mask_shape(label, "cutmix")
    partner = _partners(count, rng)
    rows = np.flatnonzero(rng.random(count) < share) if count > 1 else np.empty(0, int)
    boxes = {row: _box(rng, alpha, height, width) for row in rows}

    def paste(values: np.ndarray) -> np.ndarray:
        mixed = values.copy()
        for row, box in boxes.items():
            mixed[row][box] = values[partner[row]][box]
        return mixed

    return _together(paste, inputs, label)


def mixup(inputs: Inputs, label: np.ndarray, rng: np.random.Generator, alpha: float = 0.2) -> Batch:
    """Blend each patch with another one of the batch, images and labels alike.

    Zhang, Cissé, Dauphin and Lopez-Paz (2018), mixup: Beyond Empirical Risk Minimization: λ of the patch and
    1 − λ of its partner, λ from Beta(α, α). Here each patch draws its own λ and partner, and the partner is
    never the patch itself. A batch of one patch has no partner and stays as it is.

    Args:
        inputs: Arrays (B, H, W, …), and others that pass.
        label: Labels of whole patches, 0 or 1 for each class, (B, K).
        rng: Random generator.
        alpha: Parameter of the Beta distribution, above 0, 0.1 to 0.4 in the paper; the smaller, the less is
            mixed.

    Returns:
        Images and labels, float32.

    Raises:
        ParameterError: If alpha is not above 0.
        DataError: If labels are masks or class indices, which cannot be mixed.
    """
    check_options("mixup", alpha=alpha)
    if label.ndim != 2:
        raise DataError(
            f"Labels have shape {label.shape}: mixup needs a number for each class, (B, K); take cutmix for "
            "masks."
        )
    partner = _partners(len(label), rng)
    own = rng.beta(alpha, alpha, len(label)).astype(np.float32)

    def blend(values: np.ndarray) -> np.ndarray:
        share = own.reshape(-1, *[1] * (values.ndim - 1))
        given = values.astype(np.float32)
        return share * given + (1 - share) * given[partner]

    changed, _ = _together(blend, inputs, label)
    return changed, blend(label)


def crop(inputs: Inputs, label: np.ndarray, rng: np.random.Generator, size: int = 64) -> Batch:
    """Cut a square out of each patch, every place equally likely.

    Args:
        inputs: Arrays (B, H, W, …), and others that pass.
        label: Masks (B, H, W).
        rng: Random generator of the places.
        size: Side of the square in pixels, at most H and W.

    Returns:
        Arrays (B, size, size, …) and masks (B, size, size).

    Raises:
        ParameterError: If the patches are smaller than the square.
    """
    count, height, width = _mask_shape(label, "crop")
    check_size(size, height, width)
    top = rng.integers(0, height - size + 1, count)
    left = rng.integers(0, width - size + 1, count)

    def cut(values: np.ndarray) -> np.ndarray:
        return np.stack(
            [one[y : y + size, x : x + size] for one, y, x in zip(values, top, left, strict=True)]
        )

    return _together(cut, inputs, label)


def tiles(inputs: Inputs, label: np.ndarray, rng: np.random.Generator, size: int) -> Batch:
    """Cut each patch into all its squares, so that what is scored on them is scored on every pixel.

    Where squares do not fill the patch, those at the bottom and on the right repeat the last pixels of the
    image, and the label of these is not known: 255, or NaN of values.

    Args:
        inputs: Arrays (B, H, W, …).
        label: Masks (B, H, W).
        rng: Random generator, which is not needed.
        size: Side of a square in pixels, at most H and W.

    Returns:
        Arrays (B · n, size, size, …) and masks (B · n, size, size), n = ⌈H / size⌉ ⌈W / size⌉.

    Raises:
        ParameterError: If the patches are smaller than the squares.
    """
    _, height, width = label.shape
    check_size(size, height, width)
    unknown = np.nan if label.dtype.kind == "f" else IGNORE

    def cut(values: np.ndarray) -> np.ndarray:
        rest = [(0, 0), (0, -height % size), (0, -width % size), *[(0, 0)] * (values.ndim - 3)]
        filling: dict[str, Any] = {"constant_values": unknown} if values is label else {"mode": "edge"}
        filled = np.pad(values, rest, **filling)
        shape = (len(values), filled.shape[1] // size, size, -1, size, *values.shape[3:])
        return filled.reshape(shape).swapaxes(2, 3).reshape(-1, size, size, *values.shape[3:])

    return _together(cut, inputs, label)


def check_options(step: str, **options: Any) -> None:
    """Refuse options of a step with which it cannot be.

    Raises:
        ParameterError: If a number is none, or out of its range.
    """
    for name, value in options.items():
        right, expected = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, Real) or not right(float(value)):
            raise ParameterError(f"{step} got {name} {value!r}: expected {expected}.")


def check_size(size: int, height: int, width: int) -> None:
    """Refuse a crop that does not fit into patches.

    Raises:
        ParameterError: If it has not from 1 pixel to as many as the shorter side.
    """
    if size != int(size) or not 1 <= size <= min(height, width):
        raise ParameterError(
            f"Patches have {height} × {width} pixels: a crop of {size} does not fit; "
            f"take 1 to {min(height, width)}."
        )


@dataclass(frozen=True)
class Augmentation:
    """Steps one after the other; called as ``augmentation(inputs, label, rng)``.

    Attributes:
        name: What the record of a run says, for example ``"rotate+flip+cutmix"``.
        steps: The functions.
    """

    name: str
    steps: tuple[Step, ...]

    def __call__(self, inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return the batch after every step."""
        for step in self.steps:
            inputs, label = step(inputs, label, rng)
        return inputs, label


def d4(inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
    """Turn and mirror all images of a sequence alike, each sequence by its own draw.

    Square images turn by multiples of 90°, others by 0° or 180° (the dihedral group of the square).

    Args:
        inputs: Image sequences (B, T, H, W, C), and others that pass.
        label: Labels of the steps (B, T), which pass.
        rng: Random generator.
    """
    draws = [(int(rng.integers(4)), bool(rng.integers(2))) for _ in range(len(label))]

    def turned(images: np.ndarray) -> np.ndarray:
        found, square = np.empty_like(images), images.shape[2] == images.shape[3]
        for row, (quarters, mirror) in enumerate(draws):
            one = np.rot90(images[row], quarters if square else 2 * (quarters // 2), axes=(1, 2))
            found[row] = one[:, :, ::-1] if mirror else one
        return found

    return {name: turned(values) if values.ndim == 5 else values for name, values in inputs.items()}, label


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "share": (lambda share: 0 <= share <= 1, "a share of 0 to 1"),
    "alpha": (lambda alpha: 0 < alpha < np.inf, "a number above 0"),
    "size": (lambda size: float(size).is_integer() and size >= 1, "a whole number of 1 or more"),
}
STEPS: dict[str, Callable[..., Batch]] = {
    step.__name__: step for step in (rotate, flip, cutmix, crop, tiles, mixup, d4)
}


def build(names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None) -> Augmentation:
    """Return the augmentation that applies the named steps in this order.

    Args:
        names: Some of ``rotate``, ``flip``, ``cutmix``, ``crop``, ``mixup``, and ``d4`` for image sequences.
        options: Keyword arguments of a step by its name, for example ``{"cutmix": {"share": 0.7}}``.

    Raises:
        ParameterError: If a step or an option of it is unknown or out of its range.
    """
    given = options or {}
    check_all((*names, *given), STEPS, "There is no augmentation")
    steps, titles = [], []
    for name in names:
        chosen = dict(given.get(name, {}))
        known = list(inspect.signature(STEPS[name]).parameters)[3:]
        check_all(chosen, known, f"The augmentation {name} has no option")
        check_options(name, **chosen)
        text = ", ".join(f"{option}={value}" for option, value in chosen.items())
        titles.append(f"{name}({text})" if chosen else name)
        steps.append(partial(STEPS[name], **chosen))
    return Augmentation("+".join(titles), tuple(steps))


def _together(change: Callable[[np.ndarray], np.ndarray], inputs: Inputs, label: np.ndarray) -> Batch:
    """Return inputs and label after the same change of all that have the mask's pixels, or of all images."""
    changed = {}
    for name, values in _dates_last(inputs, label).items():
        moves = _moves(values, label)
        if not moves and values.ndim >= 4:
            raise DataError(
                f"Input {name!r} has shape {values.shape} and the masks {label.shape}: images must be "
                "(B, H, W, …) with the masks' sizes to be augmented together."
            )
        new = change(values) if moves else values
        changed[name] = new if values is inputs[name] else np.moveaxis(new, 3, 1)
    return changed, change(label) if _is_mask(label) else label


def _dates_last(inputs: Inputs, label: np.ndarray) -> Inputs:
    """Return inputs whose image series with a mask are (B, H, W, T, …), others as they are."""
    if not _is_mask(label) or all(values.ndim < 5 for values in inputs.values()):
        return inputs
    return {
        name: np.moveaxis(values, 1, 3) if values.ndim >= 4 else values for name, values in inputs.items()
    }


def _is_mask(label: np.ndarray) -> bool:
    """Return whether a label is of pixels, and not of whole patches."""
    return label.ndim > 2


def _moves(values: np.ndarray, label: np.ndarray) -> bool:
    """Return whether an input is changed: it has the mask's pixels or, without a mask, is an image."""
    return values.shape[:3] == label.shape if _is_mask(label) else values.ndim >= 4


def _mask_shape(label: np.ndarray, step: str) -> tuple[int, int, int]:
    """Return the shape of masks (B, H, W)."""
    if label.ndim != 3:
        raise DataError(f"Labels have shape {label.shape}: {step} needs masks (B, H, W); leave it out.")
    count, height, width = label.shape
    return count, height, width


def _partners(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return another patch for each patch, (B,): a cycle through all, so that no patch is its own partner."""
    order = rng.permutation(count)
    partner = np.empty(count, np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def _box(rng: np.random.Generator, alpha: float, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of a CutMix box."""
    side = np.sqrt(1 - rng.beta(alpha, alpha))
    sides = []
    for length in (height, width):
        middle, half = rng.uniform(0, length), 0.5 * side * length
        low, high = round(max(middle - half, 0)), round(min(middle + half, length))
        sides.append(slice(low, high))
    return sides[0], sides[1]
