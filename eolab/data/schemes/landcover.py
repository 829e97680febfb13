"""The 12-class scheme of the land-cover update study, and what of CORINE belongs to each class.

The table is ``landcover.csv`` beside this file; one of one's own has the same columns: name, color (#rrggbb)
and corine (level-3 codes with spaces between them), a row a class.

The study (Sedona, *Towards Frequent Update of Land Cover Maps*, 2022) names the twelve classes but not which
CORINE classes they come from: :data:`CORINE_TO_UPDATE` is our reading of the names. A CORINE class that mixes
covers (242, 243, 313, ...) or that no name fits trains nothing and is scored nowhere.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, reason_of
from eolab.data.schemes import ClassScheme, lookup
from eolab.data.schemes.corine import CODINGS, recode

COLUMNS = ("name", "color", "corine")
Rows = Sequence[Mapping[str, str]]  # name, color and corine of each class, as in the table's file


def read_classes(path: str | Path) -> list[dict[str, str]]:
    """Read a table of classes, and check it as :func:`classes_of` does.

    Args:
        path: CSV file with the columns name, color and corine.

    Raises:
        DataError: If the file cannot be read, a column is missing, or the classes are not possible.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DataError(
            f"The table of classes {path} cannot be read ({reason_of(error)}): expected a CSV file with the "
            f"columns {', '.join(COLUMNS)}."
        ) from None
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(
            f"The table of classes {path} has no column {missing[0]!r} but {', '.join(map(str, table))}: "
            f"expected {', '.join(COLUMNS)}, with commas between them."
        )
    rows = [{name: str(row[name]).strip() for name in COLUMNS} for row in table.to_dict("records")]
    classes_of(rows, f"The table of classes {path}")
    return rows


def classes_of(rows: Rows, where: str = "The table of classes") -> tuple[ClassScheme, dict[int, int]]:
    """Return the class scheme of a table of classes, and the class index of each CORINE code in it.

    Args:
        rows: Name, color and corine of each class, see :func:`read_classes`.
        where: What the table is called, for errors.

    Raises:
        DataError: If there are fewer than two classes, a name is missing or stands twice, a class has no
            code, a code is not one of CORINE's level 3 or stands twice, or a colour is not ``#rrggbb``.
    """
    names = [row["name"] for row in rows]
    indices: dict[int, int] = {}
    if len(rows) < 2 or not all(names) or len(set(names)) < len(names):
        listed = ", ".join(names) or "none"
        raise DataError(f"{where} has the classes {listed}: give two or more, each with a name of its own.")
    for index, row in enumerate(rows):
        codes = row["corine"].split()
        if not codes:
            raise DataError(f"{where} has no CORINE code for {row['name']!r}: give one or more, or no row.")
        for code in codes:
            if not code.isdigit() or int(code) not in CODINGS["level3"]:
                raise DataError(
                    f"{where} gives {row['name']!r} the CORINE code {code!r}, which is none: expected codes "
                    "of level 3, such as 112, with spaces between them."
                )
            if int(code) in indices:
                raise DataError(
                    f"{where} gives the CORINE code {code} to {names[indices[int(code)]]!r} and to "
                    f"{row['name']!r}: give it to one class."
                )
            indices[int(code)] = index
    try:
        scheme = ClassScheme.numbered("Land cover update", ((row["name"], row["color"]) for row in rows))
    except ParameterError as error:
        raise DataError(f"{where} is not possible: {error}") from None
    return scheme, indices


# Colours: any two differ by 25 or more in CIELAB, for normal, protan and deutan eyes alike.
CLASSES = read_classes(Path(__file__).with_name("landcover.csv"))
"""The study's own table."""

LANDCOVER, CORINE_TO_UPDATE = classes_of(CLASSES)


def from_corine(array: Any, indices: Mapping[int, int] = CORINE_TO_UPDATE) -> np.ndarray:
    """Return the class index of each CORINE pixel.

    Args:
        array: CORINE codes of any shape, level-3 or grid codes (see
            :func:`eolab.data.schemes.corine.recode`).
        indices: Class index of each level-3 code.

    Returns:
        uint8 of the same shape: class index, ``IGNORE`` where no class belongs.
    """
    return lookup(recode(array), indices)


def between(rows: Rows) -> dict[int, int]:
    """Return the class index in another table of each class of :data:`LANDCOVER`.

    A class whose CORINE codes belong to several classes there, or to none, is left out.
    """
    _, indices = classes_of(rows)
    theirs: dict[int, set[int | None]] = {}
    for code, index in CORINE_TO_UPDATE.items():
        theirs.setdefault(index, set()).add(indices.get(code))
    single = {index: next(iter(found)) for index, found in theirs.items() if len(found) == 1}
    return {index: other for index, other in single.items() if other is not None}
