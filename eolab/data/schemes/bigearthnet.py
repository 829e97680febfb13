"""BigEarthNet's classes: 43 of CORINE's, the 19 they were later joined to, and CORINE's three levels.

Version 1 labels its patches with 43 names of CORINE's level 3, in a spelling of its own; version 2 with the
19 names of Sumbul et al. 2021, BigEarthNet-MM (https://doi.org/10.1109/MGRS.2021.3089174). A label of either
is a set of CORINE codes, and a :class:`ClassSet` says which of its classes the codes belong to.

Example:
    >>> classes = class_set("19")
    >>> classes.names_of(classes.encode(["Olive groves", "Peatbogs", "Burnt areas"]))
    ('Permanent crops', 'Inland wetlands')
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from eolab.core import errors
from eolab.core.errors import DataError, check_known, did_you_mean
from eolab.data.schemes import COLORS, ClassScheme, lookup
from eolab.data.schemes.corine import CORINE
from eolab.data.schemes.corine import scheme as corine_scheme

Name = Literal["43", "19", "level1", "level2", "level3"]

JOINT = "; "
"""Between the names of classes of one's own."""

UNLABELLED = 999
"""Value of the reference maps of version 2 where there is no class."""

PUBLISHED_PATCHES = 590_326
"""Patches of version 1."""

_TABLE = pd.read_csv(Path(__file__).with_name("bigearthnet.csv"), index_col="code")  # all but glaciers, 335
PUBLISHED_BY_CODE: dict[Any, int] = _TABLE["patches"].to_dict()
"""Patches of version 1 that hold a class, by CORINE code (Cavallaro et al. 2019, after Sumbul et al.
2019, https://doi.org/10.1109/IGARSS.2019.8900532)."""

_OFFICIAL_19: dict[str, tuple[int, ...]] = {
    str(name): tuple(part.index.tolist()) for name, part in _TABLE.groupby("class_19", sort=False)
}
_COLOR: dict[Any, str] = CORINE.set_index("code")["color"].to_dict()
_CORINE_NAME: dict[Any, str] = CORINE.set_index("code")["level3_name"].to_dict()

CLASSES_43 = ClassScheme(
    name="BigEarthNet, 43 classes",
    codes=tuple(_TABLE.index.tolist()),
    names=tuple(_TABLE["name"]),
    colors=tuple(_COLOR[code] for code in _TABLE.index),
)
"""The classes of version 1: CORINE's codes in their order, names as published."""

_COLORS_19 = (
    *("#e5014d", "#cc4df2", "#9cb59d", "#d48200", "#c6eb64", "#fbe38d", "#b8ba3c", "#dfbb93", "#79db66"),
    *("#007d00", "#79ff05", "#efff5f", "#b4ffb3", "#90d403", "#edf4f9", "#a1a3ff", "#c8dcff", "#06c4e9"),
    "#0bbc69",
)
CLASSES_19 = ClassScheme.numbered("BigEarthNet, 19 classes", zip(_OFFICIAL_19, _COLORS_19, strict=True))
"""The classes of version 2 in the official order, which is not that of the alphabet; codes are 0 to 18.

The colours begin at those of CORINE, of which several are one to a colour-blind eye, and are moved apart.
"""

_CODES_OF: dict[str, tuple[int, ...]] = {
    **{name: (code,) for code, name in _CORINE_NAME.items()},
    **{name: (code,) for code, name in zip(CLASSES_43.codes, CLASSES_43.names, strict=True)},
    **_OFFICIAL_19,
}


@dataclass(frozen=True)
class ClassSet:
    """A way to group CORINE's 44 classes.

    Attributes:
        name: ``43``, ``19``, ``level1``, ``level2`` or ``level3``.
        scheme: Its classes.
        members: CORINE's level-3 codes of each class.
    """

    name: str
    scheme: ClassScheme
    members: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.scheme)

    @cached_property
    def index_of_code(self) -> dict[int, int]:
        """Class index of each CORINE code that belongs to a class."""
        return {code: index for index, codes in enumerate(self.members) for code in codes}

    def encode(self, labels: Iterable[str | int]) -> np.ndarray:
        """Return which classes some labels name.

        Args:
            labels: Names as published in either version, in CORINE's spelling too, or CORINE codes.

        Returns:
            uint8 (class,), 1 where a label belongs to the class; all 0 where every label is dropped.

        Raises:
            DataError: If a label is unknown, or joins CORINE classes that this set keeps apart.
        """
        found = np.zeros(len(self), np.uint8)
        found[[index for label in labels for index in self._indices(label)]] = 1
        return found

    def encode_all(self, rows: Iterable[Sequence[str | int]], warn: bool = True) -> np.ndarray:
        """Return the classes of many patches, uint8 (patch, class).

        Args:
            rows: Labels of each patch.
            warn: Whether a warning counts the patches without a class of the set.

        Raises:
            DataError: If :meth:`encode` refuses a label.
        """
        encoded = [self.encode(labels) for labels in rows]
        table = np.stack(encoded) if encoded else np.zeros((0, len(self)), np.uint8)
        empty = int((~table.any(axis=1)).sum())
        if empty and warn:
            errors.warn(
                f"{empty:,} of {len(table):,} patches have no label among {self.scheme.name}: their rows are "
                "all 0."
            )
        return table

    def names_of(self, encoded: np.ndarray) -> tuple[str, ...]:
        """Return the names of the classes of one patch; `encoded` is (class,), anything but 0 counts."""
        return tuple(self.scheme.names[index] for index in np.flatnonzero(encoded))

    @cached_property
    def _known(self) -> dict[str | int, tuple[int, ...]]:
        return {}

    def _indices(self, label: str | int) -> tuple[int, ...]:
        """Return the class of a label, none where it is dropped."""
        if label not in self._known:
            codes = codes_of(label)
            found = {self.index_of_code.get(code) for code in codes}
            if len(found) > 1:
                joined = ", ".join(str(code) for code in codes)
                raise DataError(
                    f"The label {label!r} joins the CORINE classes {joined}, which {self.scheme.name} keeps "
                    "apart: take the 19 classes or level1."
                )
            self._known[label] = tuple(index for index in found if index is not None)
        return self._known[label]


@dataclass(frozen=True)
class OwnSet(ClassSet):
    """Classes of one's own, whose labels are their names."""

    def _indices(self, label: str | int) -> tuple[int, ...]:
        check_known(str(label), self.scheme.names, f"There is no class {label!r}", DataError)
        return (self.scheme.names.index(str(label)),)


def codes_of(label: str | int) -> tuple[int, ...]:
    """Return the CORINE codes of a label: one, or those that a class of the 19 joins.

    Raises:
        DataError: If it is no name of BigEarthNet or CORINE and no level-3 code.
    """
    text = str(label).strip()
    if text.isdecimal() and int(text) in _COLOR:
        return (int(text),)
    if text in _CODES_OF:
        return _CODES_OF[text]
    raise DataError(f"{label!r} is no class name of BigEarthNet: {did_you_mean(text, _CODES_OF, most=3)}")


@lru_cache(maxsize=8)
def class_set(name: str) -> ClassSet:
    """Return a set of classes.

    Args:
        name: ``43``, the classes of version 1; ``19``, those of version 2; ``level1``, ``level2`` or
            ``level3``, CORINE's 5, 15 or 44 classes in CORINE's names; or the names of classes of one's own,
            joined by "; ".

    Raises:
        ParameterError: If the name is another.
    """
    name = str(name)
    if JOINT in name:
        own = ClassScheme.numbered(
            "classes of one's own", zip(name.split(JOINT), cycle(COLORS), strict=False)
        )
        return OwnSet(name, own, tuple((code,) for code in own.codes))
    check_known(name, get_args(Name), f"There is no set of classes {name!r}")
    if name == "43":
        return ClassSet(name, CLASSES_43, tuple((code,) for code in CLASSES_43.codes))
    if name == "19":
        return ClassSet(name, CLASSES_19, tuple(_OFFICIAL_19.values()))
    classes = corine_scheme(int(name[-1]))
    members = tuple(tuple(CORINE["code"][CORINE[name] == code].tolist()) for code in classes.codes)
    return ClassSet(name, classes, members)


def indices(reference_codes: Any, classes: ClassSet | str) -> np.ndarray:
    """Return the class of each pixel of a reference map of version 2.

    Args:
        reference_codes: CORINE level-3 codes of any shape and number type; :data:`UNLABELLED` and every other
            number that is no code means nothing.
        classes: A set of classes, or its name.

    Returns:
        uint8 of the same shape: class index, :data:`~eolab.data.schemes.IGNORE` where no class belongs.
    """
    chosen = classes if isinstance(classes, ClassSet) else class_set(classes)
    return lookup(reference_codes, chosen.index_of_code)
