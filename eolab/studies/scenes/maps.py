"""Maps from a patch classifier: compared with reference maps pixel by pixel, and of whole products."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.core.progress import track
from eolab.data import catalog, tables
from eolab.data.catalog import DataEntry
from eolab.data.layouts.bigearthnet import BANDS, SIZE, read_reference
from eolab.data.layouts.common import attempt
from eolab.data.preprocess import clear_mask
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import ClassSet, indices
from eolab.data.store import Store
from eolab.evaluation.metrics import confusions
from eolab.models.output_grid import OutputGrid, to_pixels

QUANTIFICATION = 10_000  # digital numbers of a reflectance of 1, as in the patches
CLEAR = (4, 5, 6)  # codes of the scene classification: vegetation, bare ground, water
BATCH = 32  # patches whose pixels are computed at once
Predict = Callable[[dict[str, np.ndarray]], np.ndarray]


def like_samples(name: str, samples: Store) -> DataEntry | None:
    """Return a data set that can be compared with patches, None where it cannot.

    It cannot where the name is empty, where the one is simulated and the other is not, and where the patches
    are of one's own: their numbers and classes are not those of published maps and products.
    """
    entry = catalog.load()[name] if name else None
    published = tuple(samples.metadata["coords"]["band"]) == BANDS
    alike = entry is not None and published and entry.simulated == bool(samples.metadata["simulated"])
    return entry if alike else None


class References:
    """Reference maps of version 2 for the patches of a store, found by their names in either version.

    Args:
        store: Patches of version 1 or 2.
        patches: Index of version 2, with the files of its maps.
        classes: The classes of the maps.
    """

    def __init__(self, store: Store, patches: pd.DataFrame, classes: ClassSet) -> None:
        self.names, self.classes = store.table["patch"].to_numpy(), classes
        mapped = patches.loc[patches["reference"] != "", ["v1", "id", "s2", "reference"]]
        self.files = {name: line for line in mapped.itertuples() for name in (line.v1, line.id)}

    def available(self, rows: np.ndarray, max_samples: int = 0) -> np.ndarray:
        """Return the rows that have a map, at most `max_samples` evenly spread ones; 0 for all.

        Maps that cannot be read are passed over.

        Raises:
            DataError: If no row has a map that can be read.
        """
        found = np.array([row for row in rows if self.names[row] in self.files], int)
        found = found[tables.evenly(len(found), max_samples or len(found))]
        sound = [attempt(read_reference, self.files[self.names[row]])[0] is not None for row in found]
        found = found[np.array(sound, bool)]
        if not len(found):
            raise DataError(
                f"None of the {len(rows)} patches has one of the {len(self.files)} reference maps: give the "
                "copy of version 2 with the same patches, or maps='' to go on without maps."
            )
        return found

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the maps of rows that have one, uint8 (n, 120, 120), 255 for pixels without a class."""
        maps = (read_reference(self.files[self.names[row]]) for row in rows)
        return np.stack([indices(one, self.classes) for one in maps])


def pixel_probabilities(
    predict: Predict, output_grid: OutputGrid, store: Store, rows: np.ndarray, with_radar: bool = False
) -> np.ndarray:
    """Predict the probability of every label at every pixel of some patches, float16 (n, 120, 120, K).

    Args:
        predict: Function from images (n, H, W, bands) by name to probabilities (n, h, w, K) on the output
            grid.
        output_grid: Output grid of the network.
        store: Store of the patches.
        rows: Rows of the store.
        with_radar: Whether the network reads radar images too.
    """
    names = ["image", "radar"] if with_radar else ["image"]
    parts = []
    for _, data in store.batches(rows, names, BATCH):
        parts += [to_pixels(one, output_grid, SIZE, SIZE).astype(np.float16) for one in predict(data)]
    return np.stack(parts)


def pixel_classes(
    pixels: np.ndarray, patch: np.ndarray, thresholds: np.ndarray, truth: np.ndarray, majority: int
) -> dict[str, np.ndarray]:
    """Return class maps by several rules, uint8 (n, H, W) each.

    Args:
        pixels: Probability of each label at each pixel (n, H, W, K).
        patch: Probability of each label of the patch (n, K).
        thresholds: Threshold of each class (K,).
        truth: True labels of the patches (n, K), 0 or 1.
        majority: Class index of the most frequent class of training pixels.

    Returns:
        A map by name of the rule: ``majority``; ``likeliest label everywhere``, one class a patch; ``dense``,
        the likeliest class of each pixel; ``dense, predicted labels``, the likeliest of the labels predicted
        for the patch; ``dense, true labels``, the likeliest of the patch's true labels, which are not known
        for a new area.
    """
    best = patch.argmax(axis=1)
    predicted = patch >= thresholds
    predicted[np.arange(len(predicted)), best] = True
    true = np.where((truth == 1).any(axis=1, keepdims=True), truth == 1, predicted)
    shape = pixels.shape[:3]
    maps = {
        "majority": np.full(shape, majority),
        "likeliest label everywhere": np.broadcast_to(best[:, None, None], shape),
        "dense": pixels.argmax(axis=-1),
        "dense, predicted labels": np.where(predicted[:, None, None], pixels, -1).argmax(axis=-1),
        "dense, true labels": np.where(true[:, None, None], pixels, -1).argmax(axis=-1),
    }
    return {name: found.astype(np.uint8) for name, found in maps.items()}


def most_frequent(maps: np.ndarray) -> int:
    """Return the class index of the most frequent class.

    Raises:
        DataError: If no pixel has a class.
    """
    known = maps[maps != IGNORE]
    if not known.size:
        raise DataError("No pixel of the reference maps has a class: nothing to learn the majority from.")
    return int(np.bincount(known).argmax())


def rule_matrices(
    predict: Predict,
    output_grid: OutputGrid,
    store: Store,
    rows: np.ndarray,
    references: References,
    patch: np.ndarray,
    thresholds: np.ndarray,
    majority: int,
    with_radar: bool = False,
) -> dict[str, np.ndarray]:
    """Compare maps by each rule of :func:`pixel_classes` with reference maps, a few patches at a time.

    Args:
        predict: Function from images to probabilities, see :func:`pixel_probabilities`.
        output_grid: Output grid of the network.
        store: Store of the patches.
        rows: Rows of the store that have a reference map, n of them.
        references: Reference maps of these rows.
        patch: Probability of each label of these patches (n, K).
        thresholds: Threshold of each class (K,).
        majority: Class index of the most frequent class of training pixels.
        with_radar: Whether the network reads radar images too.

    Returns:
        Confusion matrices (n, K, K) by name of the rule, truth in rows; pixels without a class are left out.
    """
    truth = store.gather(rows, ["label"])["label"]
    parts: dict[str, list[np.ndarray]] = {}
    for start in track(range(0, len(rows), BATCH), "pixels", unit="batch"):
        at = slice(start, start + BATCH)
        pixels = pixel_probabilities(predict, output_grid, store, rows[at], with_radar)
        maps = pixel_classes(pixels, patch[at], thresholds, truth[at], majority)
        known = references.read(rows[at])
        for name, found in maps.items():
            parts.setdefault(name, []).append(confusions(known, found, truth.shape[1]))
    return {name: np.concatenate(found) for name, found in parts.items()}


# === Products ===


def open_product(entry: DataEntry, date: str = "", resampling: str = "nearest") -> xr.Dataset:
    """Open one image of a Sentinel-2 product with the bands of a patch, lazily.

    Args:
        entry: Data set of the layout ``sentinel2_safe`` or ``sentinel2_corine``.
        date: Day of the image, for example 2020-06-15; empty for the one with most vegetation, bare ground
            and water by its scene classification, the first where there is none.
        resampling: How bands of 20 and 60 m come to 10 m, nearest or bilinear.

    Returns:
        ``reflectance`` (band, y, x) with the twelve bands of a patch, NaN where there are no data, and
        ``corine`` (y, x) where the data set has the map.

    Raises:
        DataError: If the layout is another.
        ParameterError: If there is no image of that day.
    """
    if entry.layout not in ("sentinel2_safe", "sentinel2_corine"):
        raise DataError(
            f"Data set {entry.name} has the layout {entry.layout}: expected Sentinel-2 products, layout "
            "sentinel2_safe or sentinel2_corine; choose another data set."
        )
    series = entry.open(bands=list(BANDS), resolution_m=10, resampling=resampling)
    days = [str(day)[:10] for day in series["time"].values]
    position = 0
    if date:
        check_known(date, days, f"{entry.name} has no image of {date!r}")
        position = days.index(date)
    elif "scl" in series:
        position = int(clear_mask(series["scl"], CLEAR).mean(("y", "x")).to_numpy().argmax())
    return series.isel(time=position)


def product_reader(
    product: xr.Dataset, bands: tuple[str, ...] = BANDS, with_radar: bool = False
) -> Callable[[int, int, int, int], dict[str, np.ndarray]]:
    """Return the function that reads a window of a product for :func:`eolab.prediction.mapping.predict_map`.

    Args:
        product: Result of :func:`open_product`.
        bands: Bands that the network reads, in its order.
        with_radar: Whether the network reads radar images too, which no product of Sentinel-2 has.

    Returns:
        From (row, col, height, width) to ``image`` (height, width, band) float32, digital numbers as in the
        patches, and ``nodata`` (height, width): pixels without data, which are 0 in the image, and those
        under clouds or their shadows by the scene classification, where there is one.

    Raises:
        ParameterError: If the network reads radar images.
    """
    if with_radar:
        raise ParameterError(
            "The network reads radar images too, and a Sentinel-2 product has none: set product to nothing, "
            "or train a network of Sentinel-2 alone."
        )
    layers = product["reflectance"].sel(band=list(bands)).transpose("y", "x", "band")
    clear = clear_mask(product["scl"], CLEAR) if "scl" in product else None

    def read(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        place = {"y": slice(row, row + height), "x": slice(col, col + width)}
        window = layers.isel(place).to_numpy()
        nodata = np.isnan(window).any(axis=-1)
        image = np.where(nodata[..., None], 0, np.rint(window * QUANTIFICATION)).astype(np.float32)
        hidden = False if clear is None else ~clear.isel(place).to_numpy()
        return {"image": image, "nodata": nodata | hidden}

    return read


def corine_classes(product: xr.Dataset, classes: ClassSet) -> xr.DataArray:
    """Return the CORINE map of a product as classes of a set, uint8 (y, x), 255 where no class belongs."""
    codes = product["corine"]
    return codes.copy(data=indices(codes.to_numpy(), classes))


def agreement(found: xr.DataArray, known: xr.DataArray) -> pd.DataFrame:
    """Return the share of pixels on which two maps agree, and that of the most frequent class.

    Args:
        found: Class indices (y, x), 255 where unknown.
        known: Map that it is compared with, class indices (y, x), 255 where unknown.

    Returns:
        Columns map, accuracy, pixels (with a class in both). The most frequent class is that of the known map
        itself, which is not known for a new area, so it is no baseline.
    """
    one, other = np.asarray(found), np.asarray(known)
    kept = (one != IGNORE) & (other != IGNORE)
    right = [one[kept] == other[kept], other[kept] == np.bincount(other[kept], minlength=1).argmax()]
    names = ["map of the classifier", "most frequent class of the known map"]
    shares = [float(part.mean()) if part.size else np.nan for part in right]
    return pd.DataFrame({"map": names, "accuracy": shares, "pixels": int(kept.sum())})


def examples(maps: np.ndarray, n_examples: int) -> np.ndarray:
    """Return positions of maps with many classes, chosen one by one for classes that are not yet shown."""
    present = np.stack([np.bincount(one[one != IGNORE], minlength=IGNORE) > 0 for one in maps])
    chosen: list[int] = []
    for _ in range(min(n_examples, len(maps))):
        shown = present[chosen].sum(axis=0) if chosen else np.zeros(present.shape[1])
        worth = (present / (1 + shown) ** 2).sum(axis=1)
        worth[chosen] = -1
        chosen.append(int(worth.argmax()))
    return np.array(chosen, int)
