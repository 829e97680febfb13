"""Class schemes: which classes a map has, with their codes, names and colours.

A class map in memory holds uint8 *indices* (0 to K - 1 in the order of its class scheme), never the codes of
the published file; :data:`IGNORE` marks the pixels that count in neither loss nor score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from eolab.core.errors import DataError, ParameterError, check_known, warn

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.colors import BoundaryNorm, ListedColormap

IGNORE = 255
COLORS = (
    *("#e69f00", "#177632", "#ccf24d", "#93cba1", "#c878ad", "#54b3e8", "#332288", "#d55e00", "#9ca29c"),
    *("#614405", "#bc1323", "#dcb8e0", "#004c6d", "#ffe98a", "#7a3db8", "#00966f", "#5b5b5a", "#3d7eff"),
)
"""Colours of classes that come without any, by turns."""

MOST_UNKNOWN = 0.01
"""Largest share of the labelled pixels of a map whose codes are not in its class scheme."""


@dataclass(frozen=True)
class ClassScheme:
    """The classes of a map, in the order of their indices.

    Attributes:
        name: What the scheme is called, for example ``"CORINE level 1"``.
        codes: Code of each class in the published file.
        names: Name of each class, as it is shown.
        colors: Colour of each class as ``#rrggbb``.

    Raises:
        ParameterError: If the columns differ in length, a code stands twice, or a colour is not ``#rrggbb``.
    """

    name: str
    codes: tuple[int, ...]
    names: tuple[str, ...]
    colors: tuple[str, ...]

    def __post_init__(self) -> None:
        codes, names, colors = len(self.codes), len(self.names), len(self.colors)
        scheme = f"Class scheme {self.name!r}"
        if not codes == names == colors or not 0 < codes < IGNORE:
            raise ParameterError(
                f"{scheme} has {codes} codes, {names} names and {colors} colours: give one of each for every "
                f"class, 1 to {IGNORE - 1} classes."
            )
        if len(set(self.codes)) != codes:
            raise ParameterError(f"{scheme} has a code twice: each class needs a code of its own.")
        for color in self.colors:
            if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
                raise ParameterError(f"{scheme} has the colour {color!r}: write it as #rrggbb.")

    @classmethod
    def numbered(cls, name: str, classes: Iterable[tuple[str, str]]) -> ClassScheme:
        """Return a scheme of classes whose codes are 0 to K - 1.

        Args:
            name: What the scheme is called.
            classes: Name and colour of each class.
        """
        names, colors = zip(*classes, strict=True)
        return cls(name, tuple(range(len(names))), names, colors)

    def __len__(self) -> int:
        return len(self.codes)

    def index_of(self, code: int) -> int:
        """Return the index (0 to K - 1) of the class with this code.

        Raises:
            ParameterError: If no class has the code.
        """
        check_known(code, self.codes, f"Class scheme {self.name!r} has no class with code {code}")
        return self.codes.index(code)

    def colormap(self) -> tuple[ListedColormap, BoundaryNorm]:
        """Return matplotlib's colour map and norm for an array of class indices.

        Index k is drawn in ``colors[k]``; :data:`IGNORE` (over) and masked pixels are transparent.
        """
        from matplotlib.colors import BoundaryNorm, ListedColormap

        size = len(self)
        colors = ListedColormap(list(self.colors), name=self.name)
        clear = (0.0, 0.0, 0.0, 0.0)
        colors = cast("ListedColormap", colors.with_extremes(bad=clear, under=clear, over=clear))
        return colors, BoundaryNorm([k - 0.5 for k in range(size + 1)], size)

    def table(self) -> pd.DataFrame:
        """Return the scheme as a table with columns code, name, color; the row number is the class index."""
        import pandas as pd

        columns = {"code": list(self.codes), "name": list(self.names), "color": list(self.colors)}
        return pd.DataFrame(columns).rename_axis("index")


def scheme_of(source: xr.Dataset | dict[str, Any]) -> ClassScheme:
    """Return the class scheme that a series, or the metadata of a store made from it, carries."""
    text: Any = getattr(source, "attrs", source)["class_scheme"]
    fields = json.loads(text) if isinstance(text, str) else text
    return ClassScheme(fields["name"], *(tuple(fields[name]) for name in ("codes", "names", "colors")))


def lookup(codes: Any, values: Mapping[int, int], default: int = IGNORE, dtype: Any = np.uint8) -> np.ndarray:
    """Return the value that belongs to each code.

    Args:
        codes: Codes of any size, shape and number type.
        values: Value of each code.
        default: Value of NaN, of fractions and of all other codes.
        dtype: Number type of the result.
    """
    codes = np.asarray(codes)
    small = codes.dtype.kind in "iu" and codes.dtype.itemsize <= 2
    if small and codes.size > 2 * 65536:  # each number is looked up once
        limits = np.iinfo(codes.dtype)
        table = lookup(np.arange(limits.min, limits.max + 1), values, default, dtype)
        return table[codes.astype(np.intp) - limits.min]
    known = np.array(sorted(values), np.int64)
    at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    found = np.array([values[code] for code in known.tolist()], dtype)
    return np.where(known[at] == codes, found[at], np.array(default, dtype))


def check_codes(
    codes: Any,
    known: Iterable[int],
    nothing: Iterable[int],
    name: object,
    expected: str,
    counts: Any = None,
) -> None:
    """Refuse a map with codes of another class scheme; warn of the few that do not belong.

    Args:
        codes: Codes of any shape and number type; negative ones and NaN mean nothing.
        known: Codes of the class scheme.
        nothing: Further codes that mean nothing.
        name: What the map is called, for the error.
        expected: Which codes are expected, for the error.
        counts: How often each code stands in the map, where it is not given pixel by pixel.

    Raises:
        DataError: If more than a hundredth of the pixels that mean something have another code.
    """
    codes = np.asarray(codes)
    if counts is None and codes.dtype in (np.uint8, np.uint16):  # ten times as fast
        counts = np.bincount(codes.ravel())
        codes = np.flatnonzero(counts)
        counts = counts[codes]
    elif counts is None:
        codes, counts = np.unique(codes, return_counts=True)
    sort = lookup(codes, {**dict.fromkeys(nothing, 2), **dict.fromkeys(known, 1)}, 0)
    unknown = (sort == 0) & (codes >= 0)
    if not unknown.any():
        return
    share = counts[unknown].sum() / counts[unknown | (sort == 1)].sum()
    found = codes[unknown][np.argsort(-counts[unknown], kind="stable")]
    listed = ", ".join(f"{code:g}" for code in found[:6])
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    text = f"{name} holds codes outside of its class scheme in {share:.2%} of its pixels ({listed}{more})"
    if share > MOST_UNKNOWN:
        raise DataError(f"{text}, expected {expected}: give the map of this class scheme, or recode it.")
    warn(f"{text}: these pixels have no class.")
