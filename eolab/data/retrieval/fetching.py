"""Fetch what a search found into a folder that the layout ``rasters`` opens: whole images or an area of them.

A file is written under another name, checked and then renamed, so a folder never holds half an image and the
same call goes on where a former one stopped. Each file states its own scale, offset and nodata, for a series
may mix several; a catalogue's entry beside them, ``catalog.yaml``, opens the folder.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from eolab.core import files, yamls
from eolab.core.errors import DataError, ParameterError, StoreError, check_all, reason_of, warn
from eolab.core.progress import in_threads
from eolab.data.bands import SENTINEL2
from eolab.data.layouts.common import attempt
from eolab.data.layouts.raster_names import SCL, band_named
from eolab.data.layouts.series import Bounds
from eolab.data.retrieval import conventions, searching
from eolab.data.retrieval.conventions import Numbers

CATALOG, LOCK = "catalog.yaml", ".fetching.lock"
SIGNERS = {"blob.core.windows.net": "https://planetarycomputer.microsoft.com/api/sas/v1/sign"}
"""Hosts whose addresses must be signed, without a login, and the service that does it."""

THREADS = 4
MOST_IN_A_ROW = 3  # files that fail one after the other: then the service is down, and the rest is not tried
_STEP_M = {"": 60.0, "S30": 30.0, "L30": 30.0}  # an area is cut on these lines, so all bands cover the same
_NEGATIVE = 0.25  # share of pixels below 0 from which on an offset was probably taken off before
_HASHES = {"1220": "sha256", "1114": "sha1", "1340": "sha512", "d50110": "md5"}  # of the multihash format
HERE = ("fetched", "kept")
_ROWS = 1024


class _Job(NamedTuple):
    """A file to fetch."""

    file: Path
    item: str
    band: str
    href: str
    asset: dict[str, Any]
    numbers: Numbers
    sensor: str
    bounds: Bounds | None

    @property
    def path(self) -> str:
        """Its path below the folder of all."""
        return "/".join(self.file.parts[-2:])

    @property
    def source(self) -> str:
        """What the file holds: address without its signature, area, and what its numbers mean."""
        address, area = urlsplit(self.href)._replace(query="").geturl(), self.bounds and tuple(self.bounds)
        return f"{address} {area or 'whole'} {self.numbers.scale:g} {self.numbers.offset:g}"


def fetch(
    items: pd.DataFrame,
    folder: str | Path,
    bands: Sequence[str] = (),
    bounds: Bounds | None = None,
    name: str = "fetched",
    timeout_s: float = 60.0,
    progress: bool = True,
) -> pd.DataFrame:
    """Fetch images into a folder as GeoTIFFs of one band each; files that are there already are kept.

    Args:
        items: Result of :func:`~eolab.data.retrieval.search`, or some rows of it.
        folder: Where to; ``<folder>/<item>/STAC_<tile>_<time>_<orbit>_<band>.tif``.
        bands: Bands, such as B04; by default all that an item has. The scene classification comes along.
        bounds: (west, south, east, north) in degrees; only pixels that these touch are read. Whole images,
            whose size and checksum can be checked where the catalogue states them, by default.
        name: Name of the folder in its ``catalog.yaml``.
        timeout_s: Seconds without any byte after which a try is given up; each file is tried four times.
        progress: Whether to show progress.

    Returns:
        A row a file: file, item, band, status (``fetched``, ``kept``, ``outside`` of the bounds, ``missing``
        where the service does not give it, ``failed`` where four tries did), reason, and what was done about
        the offset (``said``).

    Raises:
        DataError: If no file could be fetched, or three in a row could not; what is there stays.
        ParameterError: If no item has one of the bands.
        StoreError: If another process fetches into the folder.
    """
    folder = Path(folder)
    jobs, rows = _jobs(items, folder, bands, bounds)
    folder.mkdir(parents=True, exist_ok=True)
    failed, work = 0, partial(_try, folder=folder, timeout_s=timeout_s)
    with (
        _alone_in(folder),
        closing(in_threads(work, jobs, f"fetching to {folder}", "file", progress, THREADS)) as done,
    ):
        for job, (status, reason) in zip(jobs, done, strict=True):
            rows.append((job.path, job.item, job.band, status, reason, job.numbers.said))
            failed = failed + 1 if status == "failed" else 0
            if status in HERE:
                _write_entry(folder, name, items)
            if failed == MOST_IN_A_ROW:
                host, times = urlsplit(job.href).netloc, searching.TRIES
                raise DataError(
                    f"{host} did not give {failed} files in a row ({reason}; {times} tries each): see "
                    "whether this machine is online and call again later, then the rest is fetched; "
                    f"{folder} keeps what is there."
                )
    report = pd.DataFrame(rows, columns=["file", "item", "band", "status", "reason", "said"])
    if not report["status"].isin(HERE).any():
        reason = next((text for text in report["reason"] if text), "")
        raise DataError(f"None of {len(report)} files was fetched to {folder}; the first: {reason}.")
    return report


def fetch_summary(report: pd.DataFrame) -> list[str]:
    """Return in sentences what was fetched, what was not, and what was done about offsets."""
    counts = report["status"].value_counts()
    lines = [", ".join(f"{count} files {status}" for status, count in counts.items()) + "."]
    said = report[report["said"].ne("") & report["status"].isin(HERE)]
    for text, part in said.groupby("said"):
        lines.append(f"{part['item'].nunique()} images: {text}.")
    lacking = report[report["status"].isin(["missing", "failed"])]
    return lines + [f"{row.status}  {row.item} {row.band}: {row.reason}" for row in lacking.itertuples()]


# === What to fetch ===


def _jobs(
    items: pd.DataFrame, folder: Path, bands: Sequence[str], bounds: Bounds | None
) -> tuple[list[_Job], list[tuple]]:
    """Return the files to fetch, and a row of the report for each that cannot be."""
    wanted = [band_named(band) for band in ([bands] if isinstance(bands, str) else bands)]
    check_all(wanted, (*SENTINEL2, SCL), "There is no band")
    held = {band for row in items["bands"] for band in str(row).split()}
    check_all(wanted, held, "The items found have no band")
    jobs, rows = [], []
    for row in items.to_dict("records"):
        item, place = row["item"], re.sub(r"[^\w.-]", "_", row["id"])
        name = f"STAC_{row['tile'] or 'none'}_{row['time']:%Y%m%dT%H%M%S}_{row['orbit']}"
        for band, asset in conventions.assets_of(item).items():
            if wanted and band not in (*wanted, SCL):
                continue
            file = folder / place / f"{name}_{band}.tif"
            facts, reason = attempt(partial(_facts, item, band), asset, row["id"])
            if facts is None:
                rows.append((f"{place}/{file.name}", row["id"], band, "missing", reason, ""))
            else:
                sensor = conventions.harmonised(str(item.get("collection")))
                jobs.append(_Job(file, row["id"], band, facts[0], asset, facts[1], sensor, bounds))
    return jobs, rows


def _facts(item: dict[str, Any], band: str, asset: dict[str, Any]) -> tuple[str, Numbers]:
    numbers = Numbers(1.0, 0.0, 0.0, "") if band == SCL else conventions.numbers_of(item, asset)
    return conventions.href_of(asset), numbers


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder, and remove what a killed process left in it."""
    held = files.hold(folder / LOCK)
    if held is None:
        raise StoreError(
            f"Another process fetches into {folder}: wait until it is done, or name another folder."
        )
    with held:
        for left in folder.glob("*/STAC_*.tmp"):
            left.unlink()
        yield


# === One file ===


class _GoneError(DataError):
    """What another try would not change."""


def _try(job: _Job, folder: Path, timeout_s: float) -> tuple[str, str]:
    """Fetch a file unless it is there; return status and reason."""
    if _holds(job):
        return "kept", ""
    job.file.parent.mkdir(exist_ok=True)
    one = partial(_whole if job.bounds is None else _window, job, timeout_s)
    for _ in searching.tries():
        try:
            return ("fetched", "") if one() else ("outside", "")
        except _GoneError as error:
            return "missing", str(error)
        except DataError as error:
            reason = str(error)
        if files.free_bytes(folder) < 1_000_000:
            raise StoreError(
                f"No space is left for {folder}: make room and call again, what is there is kept."
            )
    return "failed", reason


def _holds(job: _Job) -> bool:
    """Return whether the file is there and is of this source and area."""
    try:
        with rasterio.open(job.file) as image:
            return image.tags().get("SOURCE") == job.source
    except RasterioError:
        return False


def _whole(job: _Job, timeout_s: float) -> bool:
    """Fetch a whole image and check it against what the catalogue states."""
    part = job.file.with_suffix(".download.tmp")
    try:
        _download(job, part, timeout_s)
        with _decoding(job):
            return _write(part, job)
    finally:
        part.unlink(missing_ok=True)


def _download(job: _Job, part: Path, timeout_s: float) -> None:
    import requests

    stated = str(job.asset.get("file:checksum") or "").lower()
    kind = next((one for one in _HASHES if stated.startswith(one)), "")
    digest = hashlib.new(_HASHES.get(kind, "md5"), usedforsecurity=False)
    size = 0
    href, headers = _access(job.href, timeout_s)
    headers["Accept-Encoding"] = "identity"
    try:
        with (
            requests.get(href, headers=headers, stream=True, timeout=timeout_s) as answer,
            part.open("wb") as file,
        ):
            _check_status(answer.status_code, job.href)
            for piece in answer.iter_content(1 << 20):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
    except requests.RequestException as error:
        raise DataError(f"{job.href} broke off after {size:,} bytes: {searching.why(error)}") from None
    expected = job.asset.get("file:size")
    if expected is not None and size != int(expected):
        raise DataError(f"{job.href} has {size:,} bytes, the catalogue states {int(expected):,}")
    if kind and digest.hexdigest() != stated.removeprefix(kind):
        raise DataError(f"{job.href} has another {_HASHES[kind]} checksum than the catalogue states")


def _check_status(status: int, href: str) -> None:
    if status == 401:
        raise ParameterError(
            f"{href} needs a login: set the environment variable {searching.TOKEN} to a token of its service."
        )
    if status in searching.RETRIED:
        raise DataError(f"{href} answers with status {status}")
    if status >= 400:
        raise _GoneError(f"{href} answers with status {status}, though the catalogue lists it")


def _window(job: _Job, timeout_s: float) -> bool:
    """Fetch the pixels of an area; return whether there are any."""
    href, headers = _access(job.href, timeout_s)
    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_HTTP_CONNECTTIMEOUT": max(1, round(timeout_s)),
        "GDAL_HTTP_LOW_SPEED_TIME": max(1, round(timeout_s)),
        "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/http",  # or a second try would see the first one's failure
        "GDAL_HTTP_HEADERS": "".join(f"{key}: {text}" for key, text in headers.items()),
    }
    with _decoding(job), rasterio.Env(**options):
        return _write(href, job)


@contextmanager
def _decoding(job: _Job) -> Iterator[None]:
    """Turn errors of GDAL into one sentence, those of HTTP by their status."""
    try:
        yield
    except RasterioError as error:
        reason = reason_of(error)
        status = re.search(r"response code: (\d+)", f"{error} {error.__cause__}")
        _check_status(int(status[1]) if status else 0, job.href)
        raise DataError(f"{job.href} cannot be decoded ({reason})") from None


def _access(href: str, timeout_s: float) -> tuple[str, dict[str, str]]:
    """Return an address, signed where its host asks for that, and else the headers that log in."""
    import requests

    host = urlsplit(href).hostname or ""
    signer = next((one for end, one in SIGNERS.items() if host.endswith(end)), None)
    if signer is None:
        return href, searching.headers()
    try:
        answer = requests.get(signer, params={"href": href}, timeout=timeout_s)
        _check_status(answer.status_code, signer)
        return str(answer.json()["href"]), {}
    except (requests.RequestException, ValueError, KeyError) as error:
        raise DataError(f"{signer} does not sign addresses: {searching.why(error)}") from None


def _write(source: str | Path, job: _Job) -> bool:
    """Copy the pixels of a band that an area touches into the file; return whether there are any."""
    numbers = job.numbers
    convert: Callable[[np.ndarray], np.ndarray] | None = (
        conventions.scene_classes_of if job.band == SCL and job.sensor else None
    )
    with rasterio.open(source) as image:
        window = _touched(image, job)
        if window is None:
            return False
        profile = {
            **{"driver": "GTiff", "height": window.height, "width": window.width, "count": 1},
            **{"dtype": image.dtypes[0], "crs": image.crs, "transform": image.window_transform(window)},
            **{"nodata": numbers.nodata, "tiled": True, "blockxsize": 512, "blockysize": 512},
            **{
                "compress": "deflate",
                "predictor": 3 if image.dtypes[0].startswith("f") else 2,
                "bigtiff": "if_safer",
            },
        }
        counts = np.zeros(2)
        with files.replacing(job.file) as temporary, rasterio.open(temporary, "w", **profile) as out:
            out.scales, out.offsets = (numbers.scale,), (numbers.offset,)
            out.set_band_description(1, job.band)
            out.update_tags(SOURCE=job.source, ITEM=job.item, NUMBERS=numbers.said)
            for first in range(0, window.height, _ROWS):
                rows = Window(0, first, window.width, min(_ROWS, window.height - first))
                there = Window(window.col_off, window.row_off + first, rows.width, rows.height)
                pixels = image.read(1, window=there)
                valid = pixels[pixels != numbers.nodata]
                counts += valid.size, (valid * numbers.scale + numbers.offset < 0).sum()
                out.write(convert(pixels) if convert else pixels, 1, window=rows)
    if numbers.offset and counts[1] > _NEGATIVE * counts[0]:
        warn(
            f"{counts[1] / counts[0]:.0%} of {job.file.name} lies below 0 with the offset {numbers.offset:g} "
            "that should still be in its numbers: if other bands do too, it was taken off before; then write "
            f"`pixels: {{scale: {numbers.scale:g}, offset: 0}}` into {CATALOG}."
        )
    return True


def _touched(image: rasterio.DatasetReader, job: _Job) -> Window | None:
    """Return the pixels of an image that an area touches, on lines that all bands share; None without any."""
    if job.bounds is None:
        return Window(0, 0, image.width, image.height)
    west, south, east, north = transform_bounds("EPSG:4326", image.crs, *job.bounds)
    left, top, size = image.transform.c, image.transform.f, image.transform.a
    step = max(_STEP_M[job.sensor], size)
    edges = np.array([[west - left, east - left], [top - north, top - south]]) / step
    first, last = np.floor(edges[:, 0].round(6)), np.ceil(edges[:, 1].round(6))
    low = np.clip((first * step / size).round(), 0, (image.width, image.height)).astype(int).tolist()
    high = np.clip((last * step / size).round(), 0, (image.width, image.height)).astype(int).tolist()
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    return Window(low[0], low[1], high[0] - low[0], high[1] - low[1])


# === The catalogue's entry ===


def _write_entry(folder: Path, name: str, items: pd.DataFrame) -> None:
    """Write the entry of a data catalogue that opens the folder, unless its user has changed one."""
    path = folder / CATALOG
    if path.exists():
        return
    years = sorted({time.year for time in items["time"]})
    harmonised = any(conventions.harmonised(str(item.get("collection"))) for item in items["item"])
    source = "Contains modified Copernicus Sentinel data " + ", ".join(map(str, years))
    entry: dict[str, Any] = {
        "uri": ".",
        "layout": "rasters",
        "metadata": {
            "license": "proprietary",
            "provider": "NASA LP DAAC" if harmonised else "European Space Agency (Copernicus)",
            "citation": f"{source}{', NASA HLS 2.0 (Masek et al. 2021)' if harmonised else ''}.",
        },
    }
    files.write_atomically(path, yamls.dumps({name: entry}))
