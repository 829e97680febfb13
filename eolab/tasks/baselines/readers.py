"""How baselines read samples: pixel series, whole images, single pixels, rows of a table."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from eolab.core.errors import DataError, ParameterError
from eolab.data import tables
from eolab.data.schemes import IGNORE
from eolab.tasks.baselines.base import Arrays, Reader, Training

SERIES_AT_ONCE = 4096
Features = Callable[[np.ndarray, np.ndarray], np.ndarray]
PIECES = 10_000  # that whitening and scale of random convolutions are estimated from
_IMAGES = 1024  # most images that pieces are drawn from
_SHRINK = 0.01  # of the mean variance, added to each direction before it is whitened
_EPSILON = 1e-6


class NoFeatures(Reader):
    """Reads nothing: the prediction is the same for every sample."""

    inputs = ("label",)
    at_once = SERIES_AT_ONCE

    def table(self, data: Arrays) -> np.ndarray:
        """Return a table without information, (N, 1)."""
        return np.zeros((len(next(iter(data.values()))), 1), np.float32)


class Series(Reader):
    """Reads pixel series: ``image`` (T, C) and ``valid`` (T,), 1 where a date was observed.

    Args:
        features: From images (N, T, C), NaN at invalid dates, and ``valid`` (N, T) to a table (N, F).
    """

    inputs = ("image", "valid")
    at_once = SERIES_AT_ONCE

    def __init__(self, features: Features) -> None:
        self.features = features

    def table(self, data: Arrays) -> np.ndarray:
        """Return the features of series; what stands at invalid dates counts as missing."""
        image, valid = np.asarray(data["image"], np.float32), np.asarray(data["valid"])
        if image.ndim != 3 or valid.shape != image.shape[:2]:
            raise DataError(
                f"image has shape {image.shape} and valid {valid.shape}: expected (samples, dates, bands) "
                "and (samples, dates)."
            )
        seen = valid[..., None].astype(bool) & np.isfinite(image)
        return self.features(np.where(seen, image, np.float32(np.nan)), valid)


def all_values(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return all bands of all dates, float32 (N, T · C), NaN at invalid dates."""
    return image.reshape(len(image), -1)


def no_values(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return a table without information, (N, 1)."""
    return np.zeros((len(image), 1), np.float32)


def time_statistics(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return per band mean, standard deviation, minimum, maximum over valid dates, and the share of these.

    Returns:
        float32 (N, 4 · C + 1), NaN in a series without valid dates.
    """
    seen = np.isfinite(image)
    count = seen.sum(1)  # (N, C)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(seen, image, 0).sum(1) / count  # (N, C)
        deviation = np.sqrt((np.where(seen, image - mean[:, None], 0) ** 2).sum(1) / count)
    low = np.where(seen, image, np.inf).min(1, initial=np.inf)
    high = np.where(seen, image, -np.inf).max(1, initial=-np.inf)
    table = np.concatenate([mean, deviation, low, high], axis=1)  # (N, 4 C)
    table[~np.isfinite(table)] = np.nan
    share = np.asarray(valid, np.float32).mean(1, keepdims=True)
    return np.concatenate([table, share], axis=1).astype(np.float32)  # (N, 4 C + 1)


class Images(Reader):
    """Reads chosen channels of whole images ``image`` (H, W, C).

    Args:
        channels: Names of the channels; None for all.
    """

    def __init__(self, channels: Sequence[str] | None = None) -> None:
        self.channels = channels

    def prepare(self, store: Any, rows: np.ndarray, seed: int) -> None:
        """Find the channels in the store."""
        self.positions = None if self.channels is None else tables.positions(store, self.channels)

    def chosen(self, data: Arrays) -> np.ndarray:
        """Return the chosen channels of images (N, H, W, c)."""
        image = data["image"]
        return image if self.positions is None else image[..., self.positions]


class ImageStatistics(Images):
    """Describes an image by mean, standard deviation and percentiles of each channel."""

    def table(self, data: Arrays) -> np.ndarray:
        """Return the statistics (N, 7 c), NaN where a channel has no value."""
        image = self.chosen(data)
        method = "lower" if image.dtype.kind in "ui" else "linear"
        return tables.image_statistics(image, method=method).reshape(len(image), -1)


class RandomConvolutions(Images):
    """Describes an image by responses to small pieces of training images, averaged: features nobody trained.

    Rolf, Proctor, Carleton, Bolliger, Shankar, Ishihara, Recht and Hsiang (2021), A generalizable and
    accessible approach to machine learning with global satellite imagery (MOSAIKS): pieces of 3 × 3 pixels
    are drawn from training images, whitened, and slid over each image as filters; what passes a threshold is
    averaged over the image. Whitening after Coates and Ng (2012), Learning Feature Representations with
    K-means.

    With a piece x (bands standardised over the pieces) and its mean m, whitening matrix W and filter f of
    unit length, the response r = f · W (x − m) is divided by its standard deviation s over the pieces, and
    each filter gives two features: the means of max(r / s − bias, 0) and of max(−r / s − bias, 0). Places
    where a value is missing (NaN) are left out, in the draw and in the means.

    Args:
        filters: Number of filters F.
        size: Side of a filter in pixels.
        stride: Step between two places of a filter in pixels; 2 costs a quarter of 1.
        bias: What a response must pass, in its standard deviations.

    Attributes:
        weights: Filters with everything that stands before them, on raw values, (F, C · size²) float32.
        offset: What is added to the response of each filter, (F,) float32.
    """

    def __init__(self, filters: int, size: int = 3, stride: int = 2, bias: float = 1.0) -> None:
        super().__init__()
        self.filters, self.size, self.stride, self.bias = filters, size, stride, bias

    def prepare(self, store: Any, rows: np.ndarray, seed: int) -> None:
        """Draw filters from the training images.

        Raises:
            ParameterError: If there are no rows, or an option cannot be.
        """
        super().prepare(store, rows, seed)
        side = min(store.arrays_spec["image"].shape[:2])
        if not len(rows) or min(self.filters, self.size, self.stride) < 1 or self.size > side:
            raise ParameterError(
                f"Random convolutions need training images, and filters, size (up to {side}) and stride from "
                f"1: got {len(rows)} images, {self.filters}, {self.size} and {self.stride}."
            )
        pieces = self.pieces(store, rows, max(PIECES, self.filters), seed)  # (P, C, size, size)
        centre = np.repeat(pieces.mean(axis=(0, 2, 3)), self.size**2)  # (C · size²,)
        spread = pieces.std(axis=(0, 2, 3))
        spread[~(spread > _EPSILON)] = np.inf  # a constant says nothing
        scale = np.repeat(spread, self.size**2)
        flat = (pieces.reshape(len(pieces), -1) - centre) / scale
        middle = flat.mean(axis=0)
        variance, axes = np.linalg.eigh(np.cov(flat, rowvar=False).reshape(flat.shape[1], -1))
        whitening = (axes / np.sqrt(np.maximum(variance, 0) + _SHRINK * variance.mean() + _EPSILON)) @ axes.T
        chosen = (flat[: self.filters] - middle) @ whitening  # the order of the pieces is random
        chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + _EPSILON
        weights = chosen @ whitening  # (F, C · size²), on standardised pieces
        weights /= ((flat - middle) @ weights.T).std(axis=0)[:, None] + _EPSILON
        self.weights = (weights / scale).astype(np.float32)
        self.offset = (-(weights @ middle) - (weights / scale) @ centre).astype(np.float32)

    def pieces(self, store: Any, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
        """Return random pieces of random images, in random order, float64 (count, C, size, size).

        There are fewer where images without a whole piece are drawn.

        Raises:
            DataError: If there are no two whole pieces.
        """
        rng = np.random.default_rng(seed)
        images = rng.permutation(rows)[: min(count, _IMAGES)]
        source = np.sort(rng.integers(0, len(images), count))
        found = []
        for part, data in store.batches(images, ["image"], self.at_once):
            for place, image in enumerate(self.chosen(data), start=part.start):
                views = sliding_window_view(image, (self.size, self.size), axis=(0, 1))
                wanted = int(np.count_nonzero(source == place))
                gaps = sliding_window_view(np.isnan(image).any(-1), (self.size, self.size)).any((2, 3))
                if gaps.any():
                    whole = np.argwhere(~gaps)
                    y, x = whole[rng.integers(0, max(len(whole), 1), wanted if len(whole) else 0)].T
                else:
                    y, x = (rng.integers(0, length, wanted) for length in views.shape[:2])
                found.append(views[y, x])
        if sum(map(len, found)) < 2:
            raise DataError(
                f"The training images have no {self.size} × {self.size} pixels without a missing value, and "
                "random convolutions need some: fill the gaps, or leave this baseline out."
            )
        return rng.permutation(np.concatenate(found).astype(np.float64))

    def table(self, data: Arrays) -> np.ndarray:
        """Return the mean responses, float32 (N, 2 F), NaN without a whole piece; one image is unfolded."""
        images = self.chosen(data)
        found = np.empty((len(images), 2, len(self.weights)), np.float32)
        for row, image in enumerate(images):
            pieces = sliding_window_view(image, (self.size, self.size), axis=(0, 1))
            pieces = pieces[:: self.stride, :: self.stride]  # (h, w, C, size, size)
            response = pieces.reshape(-1, self.weights.shape[1]).astype(np.float32) @ self.weights.T
            response += self.offset  # (places, F)
            if (gaps := np.isnan(response[:, 0])).any():  # one missing value, and no filter responds
                response = response[~gaps]
            if not len(response):
                found[row] = np.nan
                continue
            found[row] = [np.maximum(one - self.bias, 0).mean(axis=0) for one in (response, -response)]
        return found.reshape(len(images), -1)


class Pixels(Images):
    """Reads single pixels of images: for training some drawn of each class, for predictions all.

    Args:
        channels: Names of the channels; None for all, none of them for an empty list.
        per_patch: Pixels drawn from each training image.
        most: Pixels drawn from all of them, about; None for any number. Each image then gives fewer, two or
            more.
    """

    at_once = tables.AT_ONCE
    most: int | None = None  # of baselines saved before

    def __init__(
        self, channels: Sequence[str] | None = None, per_patch: int = 256, most: int | None = None
    ) -> None:
        super().__init__(channels)
        self.per_patch, self.most = per_patch, most

    def prepare(self, store: Any, rows: np.ndarray, seed: int) -> None:
        """Find the channels in the store."""
        self.seed, self.stored = seed, len(store.channel_names())
        self.names = list(store.channel_names() if self.channels is None else self.channels)
        self.positions = tables.positions(store, self.names)

    def labels(self, store: Any, rows: np.ndarray) -> None:
        """Return no labels yet: those of pixels are drawn."""

    def training(self, store: Any, rows: np.ndarray, labels: Any, progress: bool) -> Training:
        """Draw pixels; their weights restore the shares of the images."""
        count = self.per_patch
        if self.most is not None:
            count = min(count, max(2, self.most // len(rows)))
        drawn = tables.pixel_table(store, rows, count, self.seed, self.names)
        if self.names:  # a pixel of which nothing was observed teaches nothing
            drawn = drawn[drawn[self.names].notna().any(axis=1)]
        return drawn[self.names], drawn["label"].to_numpy(), drawn["weight"].to_numpy()

    def table(self, data: Arrays) -> pd.DataFrame:
        """Return the values of all pixels (N · H · W, c)."""
        image = np.asarray(data["image"])
        if image.ndim != 4 or image.shape[-1] != self.stored:
            raise DataError(
                f"The image has shape {image.shape}: expected (patches, y, x, {self.stored}), the channels "
                "of the store that the baseline was fitted on."
            )
        values = image[..., self.positions].reshape(np.prod(image.shape[:3]), len(self.names))
        return pd.DataFrame(values, columns=self.names)

    def shaped(self, values: np.ndarray, data: Arrays) -> np.ndarray:
        """Return predictions of pixels as maps; of two classes the probability of class 1."""
        maps = values.reshape(*np.shape(data["image"])[:3], *values.shape[1:])
        return maps[..., 1] if maps.ndim == 4 and maps.shape[-1] == 2 else maps


class PixelSeries(Series):
    """Reads the series of single pixels of image series ``image`` (T, H, W, C) and ``valid`` (T, H, W).

    For training some pixels of each class are drawn from each sample, for predictions all are read.

    Args:
        features: What makes the table, see :class:`Series`.
        per_patch: Pixels drawn from each training sample.
        most: Pixels drawn from all of them, about; None for any number.
    """

    at_once = tables.AT_ONCE

    def __init__(self, features: Features, per_patch: int = 64, most: int | None = None) -> None:
        super().__init__(features)
        self.per_patch, self.most = per_patch, most

    def prepare(self, store: Any, rows: np.ndarray, seed: int) -> None:
        """Keep the seed of the draw."""
        self.seed = seed

    def labels(self, store: Any, rows: np.ndarray) -> None:
        """Return no labels yet: those of pixels are drawn."""

    def training(self, store: Any, rows: np.ndarray, labels: Any, progress: bool) -> Training:
        """Draw pixels that were observed at some date; their weights restore the shares of the samples."""
        count = self.per_patch if self.most is None else min(self.per_patch, max(2, self.most // len(rows)))
        parts = []
        for at, data in store.batches(rows, [*self.inputs, "label"], self.at_once):
            valid = np.asarray(data["valid"], bool)
            known = np.where(valid.any(axis=1), data["label"], IGNORE).reshape(len(valid), -1)
            for place, label in enumerate(known):
                rng = np.random.default_rng((self.seed, int(rows[at.start + place])))
                pixel, weight = tables.draw(label, count, rng)
                if not len(pixel):
                    continue
                one = {name: data[name][place : place + 1] for name in self.inputs}
                parts.append((super().table(of_pixels(one, pixel)), label[pixel], weight))
        if not parts:
            raise DataError("No pixel of the training samples is labelled and observed: take more samples.")
        features, target, weights = (np.concatenate(one) for one in zip(*parts, strict=True))
        return features, target, weights

    def table(self, data: Arrays) -> np.ndarray:
        """Return the features of all pixels, (N · H · W, F)."""
        image = np.asarray(data["image"])
        if image.ndim != 5 or np.shape(data["valid"]) != image.shape[:4]:
            raise DataError(
                f"image has shape {image.shape} and valid {np.shape(data['valid'])}: expected (samples, "
                "dates, y, x, bands) and (samples, dates, y, x)."
            )
        return super().table(of_pixels(data))

    def shaped(self, values: np.ndarray, data: Arrays) -> np.ndarray:
        """Return predictions of pixels as maps (N, H, W, K); of two classes the probability of class 1."""
        count, _, height, width = np.shape(data["valid"])
        maps = values.reshape(count, height, width, *values.shape[1:])
        return maps[..., 1] if maps.shape[-1] == 2 else maps


def of_pixels(data: Arrays, chosen: Any = slice(None)) -> dict[str, np.ndarray]:
    """Return image series (N, T, H, W, …) as series of pixels: ``image`` (N · H · W, T, C) and ``valid``."""
    image, valid = np.moveaxis(data["image"], 1, 3), np.moveaxis(data["valid"], 1, 3)  # (N, H, W, T, …)
    return {
        "image": image.reshape(-1, *image.shape[3:])[chosen],
        "valid": valid.reshape(-1, valid.shape[3])[chosen],
    }


class Columns(Reader):
    """Reads columns of a table with a row a sample, given in place of a store.

    Args:
        label: Column of the label.
        columns: Columns of the features: names, or a function of the table that returns them.
    """

    def __init__(self, label: str, columns: Sequence[str] | Callable[[pd.DataFrame], Sequence[str]]) -> None:
        self.label, self.columns = label, columns

    def prepare(self, store: pd.DataFrame, rows: np.ndarray, seed: int) -> None:
        """Choose the columns that the table has."""
        self.names = list(self.columns(store) if callable(self.columns) else self.columns)

    def walk(self, store: pd.DataFrame, rows: np.ndarray, title: str, progress: bool) -> Iterator[Any]:
        """Yield the rows at once."""
        yield slice(0, len(rows)), store.iloc[rows]

    def labels(self, store: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
        """Return class indices (N,)."""
        return store[self.label].to_numpy()[rows].astype(np.uint8)

    def table(self, data: Any) -> pd.DataFrame:
        """Return the feature columns."""
        return data[self.names]

    def training(self, store: pd.DataFrame, rows: np.ndarray, labels: Any, progress: bool) -> Training:
        """Return the feature columns of the training rows."""
        return self.table(store.iloc[rows]), labels, None
