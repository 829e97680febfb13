"""Search a STAC catalogue for images by tile or area, dates and share of clouds."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd

from eolab.core.errors import DataError, ParameterError, missing_package, reason_of
from eolab.data.layouts.common import read_date
from eolab.data.layouts.rasters import date_range
from eolab.data.layouts.series import Bounds
from eolab.data.retrieval import conventions

SERVICES = {
    "element84": "https://earth-search.aws.element84.com/v1",
    "planetary_computer": "https://planetarycomputer.microsoft.com/api/stac/v1",
    "copernicus": "https://stac.dataspace.copernicus.eu/v1",
    "lpdaac": "https://cmr.earthdata.nasa.gov/stac/LPCLOUD",
}
"""Catalogues known by name. Copernicus and LP DAAC give files to those who log in, see :data:`TOKEN`."""

TOKEN = "EOLAB_STAC_TOKEN"
"""Environment variable with the token of a login, sent to the catalogue and to the hosts of its files."""

TRIES = 4
PAUSE_S = 1.0
"""Wait before the second try, doubled before each further one."""

RETRIED = {408, 425, 429, 500, 502, 503, 504}
"""Status of answers after which the same request may do well."""

COLUMNS = ("id", "time", "tile", "orbit", "clouds_pct", "baseline", "bands", "gigabytes", "item")
_SQUARE_M = 100_000.0


def search(
    url: str,
    collection: str = "sentinel-2-l2a",
    tile: str | None = None,
    bounds: Bounds | None = None,
    dates: Sequence[str] | None = None,
    max_clouds_pct: float = 100.0,
    timeout_s: float = 60.0,
) -> pd.DataFrame:
    """Return the images of a collection that a catalogue has; nothing is downloaded.

    What the catalogue finds is checked here too, as not all of them keep to every condition. A catalogue of
    plain files, which cannot search, is read through.

    Args:
        url: Address of the catalogue, or one of :data:`SERVICES`.
        collection: Its name there, such as ``sentinel-2-l2a`` or ``HLSS30_2.0``.
        tile: Tile of Sentinel-2, such as ``33TVM``.
        bounds: (west, south, east, north) in degrees. A tile, bounds or both are needed.
        dates: First and last day, for example ``["2018-04-01", "2018-10-31"]``.
        max_clouds_pct: Largest share of clouds in percent; images that do not state it are kept.
        timeout_s: Seconds without an answer after which a request is given up; each is tried four times.

    Returns:
        A row an image, by time: id, time (UTC), tile, orbit, clouds_pct, baseline, bands, gigabytes (NaN
        where sizes are not stated) and the item. Where an image was processed several times,
        the newest version is kept.

    Raises:
        DataError: If the catalogue does not answer, or has no such image.
        ParameterError: If a condition is wrong, or pystac-client is missing.
    """
    if tile is None and bounds is None:
        raise ParameterError("Neither tile nor bounds is given: name a tile such as 33TVM, or an area.")
    if not 0 <= max_clouds_pct <= 100:
        raise ParameterError(f"max_clouds_pct is {max_clouds_pct:g}: give a percentage from 0 to 100.")
    days, area = date_range(dates), _area(tile, bounds)
    address = SERVICES.get(url, url)
    if not address.startswith(("http://", "https://")):
        known = ", ".join(SERVICES)
        raise ParameterError(f"{url!r} is no catalogue: give its web address, or one of {known}.")
    found = [item for item in _items(address, collection, area, days, timeout_s) if item["assets"]]
    kept = [item for item in found if _fits(item, collection, tile, area, days, max_clouds_pct)]
    if not kept:
        where = f"tile {conventions.normalise_tile(tile)}" if tile else f"the area {area}"
        raise DataError(
            f"{address} has no image of {collection!r} of {where} from {days[0]} to {days[1]} with "
            f"{max_clouds_pct:g} % clouds at most, among {len(found)} looked at: ask for other days, more "
            "clouds or another collection."
        )
    rows = pd.DataFrame([_row(item) for item in kept], columns=list(COLUMNS))
    newest = rows.groupby(["tile", "time", "orbit"])["baseline"].transform("max")
    rows = rows[rows["baseline"] == newest].drop_duplicates("id")
    return rows.sort_values(["time", "tile", "id"], ignore_index=True)


def _row(item: Mapping[str, Any]) -> dict[str, Any]:
    assets = conventions.assets_of(item)
    sizes = [float(asset.get("file:size") or "nan") for asset in assets.values()]
    return {
        "id": item["id"],
        "time": _time(item),
        "tile": conventions.tile_of(item),
        "orbit": conventions.orbit_of(item),
        "clouds_pct": item["properties"].get("eo:cloud_cover"),
        "baseline": conventions.baseline_of(item),
        "bands": " ".join(assets),
        "gigabytes": sum(sizes) / 1e9,
        "item": dict(item),
    }


def _time(item: Mapping[str, Any]) -> datetime:
    facts = item["properties"]
    time = read_date(str(facts.get("datetime") or facts.get("start_datetime")).replace("Z", "+00:00"))
    return time.replace(microsecond=0)


def _fits(
    item: Mapping[str, Any],
    collection: str,
    tile: str | None,
    area: Bounds,
    days: tuple[date, date],
    max_clouds_pct: float,
) -> bool:
    """Return whether an item is what was asked for."""
    clouds, box = item["properties"].get("eo:cloud_cover"), item.get("bbox") or area
    west, south, east, north = box if len(box) == 4 else (*box[:2], *box[3:5])
    crosses = west > east or area[0] > area[2]  # the meridian of 180 degrees; the catalogue has looked there
    return (
        item.get("collection") == collection
        and (tile is None or conventions.tile_of(item) == conventions.normalise_tile(tile))
        and days[0] <= _time(item).date() <= days[1]
        and (clouds is None or float(clouds) <= max_clouds_pct)
        and (crosses or (west <= area[2] and east >= area[0]))
        and (south <= area[3] and north >= area[1])
    )


def _items(
    address: str, collection: str, area: Bounds, days: tuple[date, date], timeout_s: float
) -> list[dict[str, Any]]:
    """Return the items of an area and some days; all items of a catalogue that cannot search."""
    try:
        from pystac_client import Client
        from pystac_client.exceptions import APIError
        from pystac_client.stac_api_io import StacApiIO
        from pystac_client.warnings import PystacClientWarning
    except ImportError:
        raise missing_package("pystac-client", "which searches STAC catalogues", "stac") from None
    from pystac.errors import STACError

    class Patient(StacApiIO):
        """Asks again where an answer is late, broken off or an error of the server."""

        def request(self, *given: Any, **more: Any) -> str:
            for left in tries():
                try:
                    return super().request(*given, **more)
                except APIError as error:
                    if not left or getattr(error, "status_code", 500) not in RETRIED:
                        raise
            raise AssertionError  # the last try returns or raises

    span = "/".join(".." if one in (date.min, date.max) else str(one) for one in days)
    asked: dict[str, Any] = {"collections": [collection], "bbox": list(area), "datetime": span, "limit": 100}
    reading = Patient(headers=headers(), max_retries=None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PystacClientWarning)  # that a plain catalogue is read through
            client = Client.open(address, stac_io=reading, timeout=timeout_s)
            if client.conforms_to("ITEM_SEARCH"):
                return list(client.search(**asked).items_as_dicts())
            items = [item.make_asset_hrefs_absolute() for item in client.get_items(recursive=True)]
        return [item.to_dict(include_self_link=False, transform_hrefs=False) for item in items]
    except (APIError, STACError, OSError, ValueError, KeyError) as error:
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            raise ParameterError(
                f"The catalogue {address} wants a login: set the environment variable {TOKEN} to its token."
            ) from None
        found = f"status {status}" if status else why(error)
        raise DataError(
            f"The catalogue {address} does not answer as it should ({found}; {TRIES} tries): see whether "
            "this machine is online and the address is right, or try again later."
        ) from None


def tries() -> Iterator[int]:
    """Yield how many tries are left after each, with a pause before all but the first."""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_S * 2 ** (number - 1))
        yield TRIES - 1 - number


def why(error: Exception) -> str:
    """Return in a few words why a request failed, without addresses, which may hold signatures."""
    text = reason_of(error)
    known = {
        "resolve": "the name of its host is not found",
        "refused": "the connection was refused",
        "unreachable": "the network cannot be reached",
        "timed out": "no answer in time",
        "IncompleteRead": "the answer broke off",
    }
    return next((words for part, words in known.items() if part in text), text.split("http")[0][:120])


def headers() -> dict[str, str]:
    """Return the headers that log in, where a token is set."""
    token = os.environ.get(TOKEN, "")
    return {"Authorization": f"Bearer {token}"} if token else {}


# === Tiles ===

_COLUMNS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BELTS = "CDEFGHJKLMNPQRSTUVWX"


def _area(tile: str | None, bounds: Bounds | None) -> Bounds:
    """Return the area to search, (west, south, east, north) in degrees."""
    if bounds is None:
        return tile_bounds(str(tile))
    west, south, east, north = (float(edge) for edge in bounds)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ParameterError(f"bounds is {tuple(bounds)}: give (west, south, east, north) in degrees.")
    return west, south, east, north


def tile_bounds(tile: str) -> Bounds:
    """Return (west, south, east, north) in degrees of a tile's square of 100 km, without its overlap.

    The letters are those of the military grid (NGA.STND.0037, 2014, appendix B).

    Raises:
        ParameterError: If there is no such tile.
    """
    from rasterio.warp import transform, transform_bounds

    name = conventions.normalise_tile(tile)
    zone, belt, column, row = (name[:2], *name[2:]) if len(name) == 5 else ("", "?", "?", "?")
    columns = _COLUMNS[8 * ((int(zone) - 1) % 3) :][:8] if zone.isdigit() else ""
    if not ("01" <= zone <= "60" and belt in _BELTS and column in columns and row in _ROWS):
        raise ParameterError(f"tile is {tile!r}: give a tile of Sentinel-2, such as 33TVM.")
    south_of_equator = belt < "N"
    crs = f"EPSG:{327 if south_of_equator else 326}{zone}"
    latitude = -80 + 8 * _BELTS.index(belt)
    meridian = 6 * int(zone) - 183
    lowest = transform("EPSG:4326", crs, [meridian], [latitude])[1][0] - _SQUARE_M
    north = _SQUARE_M * ((_ROWS.index(row) - (0 if int(zone) % 2 else 5)) % 20)
    north += 2e6 * max(0, -(-(lowest - north) // 2e6))
    west = _SQUARE_M * (columns.index(column) + 1)
    found = transform_bounds(crs, "EPSG:4326", west, north, west + _SQUARE_M, north + _SQUARE_M)
    return tuple(round(edge, 6) for edge in found)
