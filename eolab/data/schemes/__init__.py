"""Class schemes: which classes a map has, with their codes, names and colours.

A class map in memory holds uint8 *indices* (0 to K - 1 in the order of its class scheme), never the codes of
the published file; :data:`IGNORE` marks the pixels that count in neither loss nor score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from eolab.core.errors import ParameterError, check_known

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.colors import BoundaryNorm, ListedColormap

IGNORE = 255


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
