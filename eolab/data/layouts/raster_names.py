"""What the path of an image says: date, tile, orbit and bands, by the conventions of those who make images.

=============  =========================================================================================
safe           images of a product without its folder: ``T31UFT_20200103T105431_B02_10m.jp2``
sen2r          ``S2A2A_20200103_051_Stands_BOA_10.tif``: TOA, BOA, SCL, TCI, indices
sits           ``SENTINEL-2_MSI_31UFT_B02_2020-01-03.tif``
earth_search   folders of Element 84: ``S2A_31UFT_20200103_0_L2A/B02.tif``
aws            folders of the archive on AWS: ``31/U/FT/2020/1/3/0/R10m/B02.jp2``
earth_engine   ``20200103T105431_20200103T105428_T31UFT.tif``, of one band with ``.B2`` at the end
stac           files of :mod:`eolab.data.retrieval`: ``STAC_31UFT_20200103T105431_051_B02.tif``
=============  =========================================================================================

Any other name needs a date such as ``2020-01-03`` or ``20200103``, or a pattern in the catalogue's entry:
``files: "{tile}/{date}_{band}.tif"``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from eolab.core.errors import DataError, ParameterError
from eolab.data.bands import COMMON_NAMES, L1C_BANDS, L2A_BANDS, normalise_band
from eolab.data.layouts.common import read_date

SCL, TRUE_COLOUR = "SCL", "TCI"
RGB = ("red", "green", "blue")
_OTHER_LAYERS = ("AOT", "WVP", "CLD", "SNW", "CLDPRB", "SNWPRB", "PVI", "MSK_CLDPRB", "MSK_SNWPRB")


class Convention(NamedTuple):
    """How one maker names images.

    Attributes:
        pattern: Regular expression of the end of the path, without the file's ending.
        scale: What makes reflectance of whole numbers; None where each file states it.
        raw: Whether numbers are those of the agency's products, to which an offset belongs since 2022.
    """

    pattern: re.Pattern[str]
    scale: float | None = 1e-4
    raw: bool = False


def _ends(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|/){pattern}$", re.IGNORECASE)


_T = r"(?P<tile>\d{1,2}[A-Z]{3})"
CONVENTIONS = {
    "safe": Convention(
        _ends(rf"(?:L2A_)?T{_T}_(?P<date>\d{{8}}T\d{{6}})_(?P<what>[A-Z0-9]+)(?:_(?P<size>\d\d)m)?"), raw=True
    ),
    "sen2r": Convention(
        _ends(
            r"S2[A-D](?P<level>1C|2A)_(?P<date>\d{8})_(?P<orbit>\d{3})_(?P<tile>[^_/]*)_(?P<what>[^_/]+)_(?P<size>\d\d)"
        )
    ),
    "sits": Convention(
        _ends(
            r"(?:SENTINEL-?2[A-D]?)_(?:MSI)_(?P<tile>[^_/]+)_(?P<what>[^_/]+)_(?P<date>\d{4}-\d\d-\d\d)(?:_[^_/]+)?"
        )
    ),
    "earth_search": Convention(
        _ends(rf"S2[A-D]_{_T}_(?P<date>\d{{8}})_\d+_(?P<level>L1C|L2A)(?:/|_)(?P<what>[A-Z0-9]+)")
    ),
    "aws": Convention(
        _ends(
            r"(?P<zone>\d{1,2}/[A-Z]/[A-Z]{2})/(?P<date>\d{4}/\d{1,2}/\d{1,2})/\d+/(?:R(?P<size>\d\d)m/)?(?P<what>[A-Z0-9]+)"
        ),
        raw=True,
    ),
    "earth_engine": Convention(
        _ends(
            rf"(?:[^/]*_)?(?P<date>\d{{8}}T\d{{6}})_\d{{8}}T\d{{6}}_T{_T}(?:[._](?P<what>[A-Z][A-Z0-9_]*))?"
        )
    ),
    "stac": Convention(
        _ends(r"STAC_(?P<tile>[^_/]+)_(?P<date>\d{8}T\d{6})_(?P<orbit>[^_/]+)_(?P<what>[A-Z0-9]+)"),
        scale=None,
    ),
}
_ANY_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_]?)(\d\d)\2(\d\d)(?:T(\d{6}))?(?!\d)")
_FIELDS = {
    "date": r"(?P<date>[\dTZ:.+-]+)",
    "band": r"(?P<what>[A-Za-z0-9]+)",
    "tile": r"(?P<tile>[^_/]+)",
    "orbit": r"(?P<orbit>[^_/]+)",
    "sample": r"(?P<sample>[^/]+?)",
    "class": r"(?P<label>[^/]+)",
}


class Named(NamedTuple):
    """What the path of an image says of it.

    Attributes:
        time: When it was taken (UTC), to the day where the name says no more.
        tile: Tile or name of the extent; empty where the name has none.
        orbit: Relative orbit, for example ``022``; empty likewise.
        level: ``L1C`` or ``L2A``; empty likewise.
        what: Band, product or index; empty for an image of several bands.
        size: Pixel size in the name in metres, 0 where it has none.
        convention: Key of :data:`CONVENTIONS`, empty for names of one's own.
    """

    time: datetime
    tile: str = ""
    orbit: str = ""
    level: str = ""
    what: str = ""
    size: int = 0
    convention: str = ""


def compiled(files: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern of an entry, ``{tile}/{date}_{band}.tif``; * is anything.

    Raises:
        ParameterError: If it has an unknown field, or one twice.
    """
    parts = re.split(r"(\{\w*\}|\*)", files)
    fields = [part[1:-1] for part in parts if part.startswith("{")]
    unknown = [field for field in fields if field not in _FIELDS]
    if unknown or len(set(fields)) < len(fields):
        raise ParameterError(
            f"files is {files!r}: its fields are {{{'}, {'.join(_FIELDS)}}}, each once at most."
        )
    known = {"*": r"[^/]*", **{f"{{{name}}}": pattern for name, pattern in _FIELDS.items()}}
    return re.compile(r"(?:^|.*/)" + "".join(known.get(part, re.escape(part)) for part in parts) + "$")


def read_name(path: str, pattern: re.Pattern[str] | None = None, date: str = "") -> Named:
    """Return what a path says.

    Args:
        path: Path below the folder of the data set, with slashes.
        pattern: Pattern of the entry, see :func:`compiled`; by default that of a known convention.
        date: Day of images whose names say none; empty for none.

    Raises:
        DataError: If there is no date; the message is a reason without the file's name.
    """
    stem = path.rsplit(".", 1)[0] if "." in path.rsplit("/", 1)[-1] else path
    if pattern is not None:
        match = pattern.match(path)
        if match is None:
            raise DataError("is not named as the entry's files say: change that pattern, or move the file")
        return _named({"date": date, **match.groupdict()}, path, "")
    for name, convention in CONVENTIONS.items():
        match = convention.pattern.search(stem)
        if match is not None:
            return _named(match.groupdict(), path, name)
    return _named({"what": last_band(stem), "date": date}, path, "")


def _named(found: dict[str, str | None], path: str, convention: str) -> Named:
    texts = {key: value or "" for key, value in found.items()}
    level = texts.get("level", "").upper()
    zone = texts.get("zone", "").replace("/", "")
    return Named(
        time=_time(texts.get("date", ""), path),
        tile=(texts.get("tile") or zone).upper()
        if convention not in ("", "sen2r")
        else texts.get("tile", ""),
        orbit=texts.get("orbit", ""),
        level=level if level.startswith("L") else f"L{level}" if level else "",
        what=_what(texts.get("what", "")),
        size=int(texts.get("size") or 0),
        convention=convention,
    )


def _time(text: str, path: str) -> datetime:
    """Return the time that a text is, or that stands in a path."""
    if re.fullmatch(r"\d{4}/\d{1,2}/\d{1,2}", text):
        text = "-".join(part.zfill(2) for part in text.split("/"))
    if text:
        return read_date(text)
    *folders, name = path.split("/")
    for part in (name, *reversed(folders)):
        match = _ANY_DATE.search(part)
        if match:
            year, _, month, day, clock = match.groups()
            return read_date(f"{year}-{month}-{day}" + (f"T{clock}" if clock else ""))
    raise DataError(
        "has no date in its name, expected one such as 2020-01-03 or 20200103: rename it, or write a pattern "
        'such as `files: "{date}_{band}.tif"` into the entry'
    )


def _what(text: str) -> str:
    """Return the name of a band, a product or an index as it is known here."""
    word = {**COMMON_NAMES, "visual": TRUE_COLOUR}.get(text.lower(), text)
    try:
        return normalise_band(word)
    except ParameterError:
        return word.upper() if word.upper() in (SCL, TRUE_COLOUR, *_OTHER_LAYERS) else word


def last_band(stem: str) -> str:
    """Return the part of a name that is a band, the last of them; empty where none is."""
    for word in reversed(re.split(r"[_./\-]", stem.rsplit("/", 1)[-1])):
        what = _what(word) if re.match(r"[A-Za-z]", word) else ""
        if what in L1C_BANDS or what in (SCL, TRUE_COLOUR):
            return what
    return ""


def band_named(text: str) -> str:
    """Return the band or layer that a text names; the text itself where it names none that is known."""
    return _what(text.strip())


def is_other(what: str) -> bool:
    """Return whether an image is one of the layers beside the bands that nothing here reads."""
    return what in _OTHER_LAYERS


def bands_of(named: Named, count: int) -> Sequence[str] | None:
    """Return the names of an image's bands by its convention; None where it has none for that number.

    Args:
        named: What its path says.
        count: Bands in the file.

    Returns:
        Names of Sentinel-2 bands; "SCL"; ``red``, ``green``, ``blue`` of a true-colour image; or the index.
    """
    if named.what == TRUE_COLOUR and count == 3:
        return RGB
    if named.convention == "sen2r" and named.what in ("TOA", "BOA"):
        bands = [name for name in (L1C_BANDS if named.what == "TOA" else L2A_BANDS) if name != "B8A"]
        if named.size >= 20:
            bands[bands.index("B08")] = "B8A"
        return bands if count == len(bands) else None
    return [named.what] if named.what and count == 1 else None
