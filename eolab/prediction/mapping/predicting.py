"""A model over a whole scene: bounded memory, blended windows, resumable."""

import json
import shutil
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS

from eolab.core import progress as progress_lines
from eolab.core.errors import DataError, ParameterError, warn
from eolab.core.files import FULL, write_atomically
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.prediction.mapping import geotiff
from eolab.prediction.mapping.bands import Bands, Content, bands_of, probability_bands
from eolab.prediction.mapping.windows import Inputs, Predict, ReadWindow, Window, weights, windows

SETTINGS_FILE = "settings.json"
TILE_STEP = 16  # TIFF tiles are multiples of 16 pixels


class NoPixelError(DataError):
    """No pixel of a scene has data."""


def predict_map(
    predict: Predict,
    read_window: ReadWindow,
    grid: GeoBox,
    path: str | Path | Sequence[Path],
    scheme: Content,
    *,
    window: int = 256,
    overlap: int = 0,
    block: int = 1024,
    resume: bool = True,
    progress: bool = True,
    fingerprint: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None,
    probabilities: str | Path | Sequence[Path] | None = None,
) -> Path:
    """Predict every pixel of a scene and write a Cloud-Optimised GeoTIFF.

    For classes, band 1 is the class index (uint8, 255 nodata, with the scheme's colours and names), band 2
    the probability of that class in percent (0 to 100, 255 nodata). For values there is one band, in percent
    too, see :class:`eolab.prediction.mapping.bands.ValueBand`. Overlapping windows are blended: their
    predictions are averaged with weights that fall off towards each window's rim, so no seams show.

    The scene is worked through block by block; memory holds one block's predictions and the windows that
    touch it, whatever the size of the scene. While one window is predicted, a thread reads the next. A window
    on the border of two blocks is predicted for both (once, where they are neighbours in a row). After a kill
    the next call goes on at the first unfinished block, if it can tell that the model is the same one: by the
    attribute ``fingerprint`` that predictors of :mod:`eolab.prediction` have, or by the argument. Otherwise
    it starts anew.

    A network that reads several years of a pixel at once maps all of them: then `path`, `probabilities` and
    `tags` are sequences, one a map, predictions are (h, w, M, K), and ``nodata`` may be (h, w, M).

    Args:
        predict: From a window's arrays to class probabilities (h, w, K), or values (h, w, 1).
        read_window: ``read_window(row, col, height, width)`` returns the window's arrays (h, w, …), among
            them ``nodata`` (h, w) bool where the scene has gaps.
        grid: GeoBox of the scene and of the map.
        path: The GeoTIFF to write, or those of M maps; replaced if there.
        scheme: Classes, in the order of the probabilities; what the values are; or bands of one's own.
        window: Side of the windows in pixels.
        overlap: Pixels that neighbouring windows share; 0 is right for models of single pixels.
        block: Side of a block in pixels, a multiple of 16.
        resume: Whether to go on from an interrupted run's blocks.
        progress: Whether to show progress.
        fingerprint: What else the map depends on (data, recipe, model); blocks of another are not used.
        tags: Further tags of the file, for example ``{"simulated": "true"}``.
        probabilities: A second GeoTIFF with the probability of each class in percent, a band a class (uint8,
            255 nodata); None for none. Only class maps have one.

    Returns:
        The path, of several maps the first.

    Raises:
        ParameterError: If window, overlap or block cannot be, or the model has other outputs than the scheme.
        DataError: If arrays have another shape than the window, a prediction is not a number, the disk is
            full, or (:class:`NoPixelError`) no pixel has data: then there is no map.
    """
    paths = [Path(one) for one in _several(path)]
    if block < TILE_STEP or block % TILE_STEP:
        raise ParameterError(f"block is {block}: give a multiple of {TILE_STEP} pixels.")
    lattice = windows(grid, window, overlap)
    known = {"given": dict(fingerprint or {}), "predict": getattr(predict, "fingerprint", None)}
    contents, beside = [bands_of(scheme)], None
    if probabilities is not None and isinstance(scheme, ClassScheme):
        contents.append(probability_bands(scheme))
        beside = [Path(one) for one in _several(probabilities)]
    sets = zip(*filter(None, (paths, beside)), strict=True)
    files = {file: bands for files in sets for file, bands in zip(files, contents, strict=True)}
    settings = _settings(grid, contents, window, overlap, block) | {"model": known}
    if len(paths) > 1:
        settings["maps"] = [file.name for file in paths]
    path, given = paths[0], _several(tags or {})
    own = {file: given[min(n // len(contents), len(given) - 1)] for n, file in enumerate(files)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parts = Parts(path, settings, resume and any(known.values()), contents[0].dtype)
        blocks = windows_of_blocks(grid, block)
        left = [area for area in blocks if not parts.has(area)]
        with closing(read_ahead(read_window, to_read(left, lattice))) as inputs:
            work = _Work(predict, inputs, contents, overlap, len(paths))
            for area in progress_lines.track(left, f"map {path.name}", unit="block", progress=progress):
                parts.save(area, work.block(area, lattice))
        if not any(_has_data(parts.load(area)) for area in blocks):
            parts.remove()
            raise NoPixelError(f"No pixel of the scene has data, and {path} is not written: see its images.")
        write_files(files, grid, parts, blocks, block, own)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise DataError(
            f"No space left for the map {path}: make room and run again, finished blocks are kept."
        ) from None
    return path


def _has_data(pixels: np.ndarray) -> bool:
    return bool((np.isfinite(pixels) if pixels.dtype.kind == "f" else pixels != IGNORE).any())


def _several(values: Any) -> list[Any]:
    """Return a list of values as it is, and one value as a list of it."""
    return list(values) if isinstance(values, list | tuple) else [values]


def write_files(
    files: Mapping[Path, Bands],
    grid: GeoBox,
    parts: "Parts",
    blocks: list[Window],
    block: int,
    tags: Mapping[Path, Mapping[str, str]],
) -> None:
    """Write files from finished blocks, which hold the bands of all files in order, and remove the blocks."""
    first = 0
    for path, bands in files.items():
        own = slice(first, first + len(bands.names))
        done = ((area, parts.load(area)[own]) for area in blocks)
        geotiff.write(path, grid, bands, done, block, {**tags[path], "software": "eolab"})
        first = own.stop
    parts.remove()


def windows_of_blocks(grid: GeoBox, block: int) -> list[Window]:
    """Return the blocks of a grid, row by row; the last ones are smaller."""
    return [
        Window(row, col, min(block, grid.height - row), min(block, grid.width - col))
        for row in range(0, grid.height, block)
        for col in range(0, grid.width, block)
    ]


def _settings(grid: GeoBox, files: Iterable[Bands], window: int, overlap: int, block: int) -> dict[str, Any]:
    """Return what finished blocks depend on, as JSON values."""
    crs = None if grid.crs is None else CRS.from_user_input(grid.crs).to_wkt()
    place = {"size": [grid.height, grid.width], "transform": list(grid.transform), "crs": crs}
    contents = {name: value for bands in files for name, value in bands.settings.items()}
    return {"grid": place, **contents, "window": window, "overlap": overlap, "block": block}


class Parts:
    """A folder with one file per finished block, ``<map>.parts`` beside the map.

    A block's file appears in one step when the block is done, so whatever is there is whole. Blocks of other
    settings (another grid, model or scheme) are thrown away with a warning.

    Args:
        path: The map.
        settings: What the blocks depend on; JSON values.
        resume: False to start anew.
        dtype: Number type of the pixels.
    """

    def __init__(self, path: Path, settings: dict[str, Any], resume: bool, dtype: str = "uint8") -> None:
        self.dtype = np.dtype(dtype)
        self.folder = path.with_name(path.name + ".parts")
        wanted = json.dumps(settings, sort_keys=True, indent=1)
        file = self.folder / SETTINGS_FILE
        if self.folder.exists() and (not resume or not self._fits(file, wanted)):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, wanted.encode())

    def _fits(self, file: Path, wanted: str) -> bool:
        found = file.read_text() if file.exists() else "{}"
        if found == wanted:
            return True
        old, new = json.loads(found), json.loads(wanted)
        changed = ", ".join(sorted(key for key in new if old.get(key) != new[key]))
        warn(f"The blocks in {self.folder} are of a map with another {changed}: the map starts anew.")
        return False

    def _file(self, block: Window) -> Path:
        return self.folder / f"{block.row}_{block.col}.block"

    def has(self, block: Window) -> bool:
        """Return whether a block is finished."""
        return self._file(block).exists()

    def save(self, block: Window, pixels: np.ndarray) -> None:
        """Keep the pixels of a finished block (band, height, width)."""
        write_atomically(self._file(block), zlib.compress(pixels.tobytes(), level=1))

    def load(self, block: Window) -> np.ndarray:
        """Return the pixels of a finished block (band, height, width)."""
        content = zlib.decompress(self._file(block).read_bytes())
        return np.frombuffer(content, self.dtype).reshape(-1, block.height, block.width)

    def remove(self) -> None:
        """Remove the folder: the map is done."""
        shutil.rmtree(self.folder)


def to_read(blocks: Iterable[Window], lattice: list[Window]) -> Iterator[Window]:
    """Yield the windows that touch blocks, in the order of the blocks; those that the last had, too, once."""
    kept: set[Window] = set()
    for area in blocks:
        touching = [window for window in lattice if window.intersect(area)]
        yield from (window for window in touching if window not in kept)
        kept = {window for window in touching if window.intersect(_after(area))}


def _after(area: Window) -> Window:
    """Return the place of the next block in the row."""
    return area._replace(col=area.col + area.width)


def read_ahead(read: ReadWindow, places: Iterable[Window]) -> Generator[tuple[Window, Inputs]]:
    """Yield places with what is read there; the next is read by a thread while one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="read_ahead") as pool:
        coming: deque[tuple[Window, Future[Inputs]]] = deque()
        for place in places:
            coming.append((place, pool.submit(read, *place)))
            if len(coming) > 1:
                one, future = coming.popleft()
                yield one, future.result()
        for one, future in coming:
            yield one, future.result()


class _Work:
    """Predicts blocks; keeps the windows that the next block in the row needs again.

    Args:
        predict: The model.
        inputs: Windows in the order of :func:`to_read`, with what is read of each.
        files: Bands of the files of a map.
        overlap: Pixels that windows share.
        maps: Maps M.
    """

    def __init__(
        self,
        predict: Predict,
        inputs: Iterator[tuple[Window, Inputs]],
        files: list[Bands],
        overlap: int,
        maps: int,
    ) -> None:
        self.predict, self.inputs = predict, inputs
        self.files, self.bands, self.overlap, self.maps = files, files[0], overlap, maps
        self.kept: dict[Window, tuple[np.ndarray, np.ndarray]] = {}

    def block(self, area: Window, lattice: list[Window]) -> np.ndarray:
        """Return the pixels of a block (band, height, width)."""
        weight = np.zeros((area.height, area.width, self.maps), np.float32)  # (H, W, M)
        total = np.zeros((*weight.shape, self.bands.outputs), np.float32)  # (H, W, M, K)
        for window, predictions, seen in self._predicted(area, lattice):
            common = window.intersect(area)
            assert common is not None
            inside, here = common.within(window), common.within(area)
            shares = weights(window.height, window.width, self.overlap)[inside][..., None] * seen[inside]
            total[here] += np.where(seen[inside][..., None], predictions[inside], 0) * shares[..., None]
            weight[here] += shares
        return np.concatenate(
            [bands.encode(total[:, :, m], weight[..., m]) for m in range(self.maps) for bands in self.files]
        )

    def _predicted(
        self, area: Window, lattice: list[Window]
    ) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Yield the windows that touch a block with predictions (h, w, M, K) and masks (h, w, M) of data."""
        kept, self.kept = self.kept, {}
        for window in lattice:
            if not window.intersect(area):
                continue
            result = kept.pop(window, None) or self._window(window)
            if window.intersect(_after(area)):
                self.kept[window] = result
            yield window, *result

    def _window(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Predict the next window: predictions (h, w, M, K) and masks (h, w, M) of pixels with data."""
        place, inputs = next(self.inputs)
        assert place == window
        shape = (window.height, window.width)
        many = (*shape, self.maps)
        seen = ~np.asarray(inputs["nodata"], bool) if "nodata" in inputs else np.ones(shape, bool)
        if seen.shape not in (shape, many):
            raise DataError(
                f"The nodata mask of window {tuple(window)} has shape {seen.shape}, expected {shape}."
            )
        seen = np.broadcast_to(seen.reshape(*shape, -1), many)
        if not seen.any():
            return np.zeros((*many, self.bands.outputs), np.float32), seen
        found = np.asarray(self.predict(inputs))  # (h, w, K), (h, w, M, K)
        wanted = shape if self.maps == 1 else many
        if found.shape[:-1] != wanted:
            named = "height, width, outputs" if self.maps == 1 else "height, width, maps, outputs"
            raise DataError(
                f"The model gave an array of shape {found.shape} for window {tuple(window)}: "
                f"expected ({named}) = {(*wanted, self.bands.outputs)}."
            )
        if found.shape[-1] != self.bands.outputs:
            raise ParameterError(f"The model gives {found.shape[-1]} {self.bands.expected}")
        found = found.reshape(*many, -1)
        if not np.isfinite(found[seen]).all():
            raise DataError(
                f"The model gave a prediction that is not a number in window {tuple(window)}, "
                "at pixels that are not nodata: check the input there, or mark the pixels as nodata."
            )
        return found, seen
