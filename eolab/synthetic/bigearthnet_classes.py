"""The 43 classes of the scenes twin: how frequent each is, where it occurs, and with which others.

Frequencies are the published numbers of patches (report of the Jülich hackathon, after Sumbul et al. 2019,
https://doi.org/10.1109/IGARSS.2019.8900532). Where classes occur is assumed, by hand.
"""

from __future__ import annotations

from dataclasses import dataclass

BIOMES = ("boreal", "baltic", "atlantic", "alpine", "continental", "iberian")
THEMES = ("urban", "farm", "wood", "open", "marsh", "coast", "lake")
PUBLISHED = 590_326
"""Patches of the published data set."""


@dataclass(frozen=True)
class Kind:
    """A class of the twin.

    Attributes:
        code: CORINE level-3 code.
        images: Published patches that hold it.
        biomes: How common it is in each of :data:`BIOMES`, 0 to 9.
        themes: Classes of a theme occur together; initials of :data:`THEMES`, capital C for sea shores alone.
    """

    code: int
    images: int
    biomes: tuple[int, ...]
    themes: str

    @property
    def coastal(self) -> bool:
        """Whether the class occurs on sea shores alone."""
        return "C" in self.themes


_ROWS = (
    (111, 10_784, "124359", "u"),
    (112, 69_872, "357886", "u"),
    (121, 12_895, "335555", "u"),
    (122, 3_384, "225645", "u"),
    (123, 509, "334114", "uC"),
    (124, 979, "324334", "u"),
    (131, 4_618, "425556", "uo"),
    (132, 959, "323344", "u"),
    (133, 1_174, "223347", "u"),
    (141, 1_786, "325554", "u"),
    (142, 5_353, "427644", "u"),
    (211, 196_695, "378697", "f"),
    (212, 13_589, "000019", "f"),
    (213, 3_793, "000009", "fm"),
    (221, 9_567, "000449", "f"),
    (222, 4_754, "023368", "f"),
    (223, 12_538, "000019", "f"),
    (231, 103_554, "159743", "f"),
    (241, 7_022, "000029", "f"),
    (242, 107_786, "366799", "fu"),
    (243, 147_095, "565689", "fw"),
    (244, 30_674, "000009", "fw"),
    (311, 150_944, "454699", "w"),
    (312, 211_703, "974922", "w"),
    (313, 217_119, "973832", "w"),
    (321, 12_835, "114786", "o"),
    (322, 5_890, "437516", "o"),
    (323, 11_241, "000029", "ow"),
    (324, 173_506, "854479", "w"),
    (331, 1_578, "434228", "C"),
    (332, 3_277, "513924", "o"),
    (333, 1_563, "312936", "o"),
    (334, 328, "000129", "ow"),
    (411, 6_236, "575253", "m"),
    (412, 23_207, "969310", "m"),
    (421, 1_562, "128008", "mC"),
    (422, 424, "001009", "C"),
    (423, 1_003, "009004", "C"),
    (511, 10_572, "545554", "l"),
    (512, 83_811, "965546", "l"),
    (521, 1_498, "233008", "C"),
    (522, 1_086, "216006", "C"),
    (523, 81_612, "739007", "C"),
)
KINDS: tuple[Kind, ...] = tuple(
    Kind(code, images, tuple(int(digit) for digit in biomes), themes)
    for code, images, biomes, themes in _ROWS
)
"""One a class, in the order of the codes."""

CODES: tuple[int, ...] = tuple(kind.code for kind in KINDS)
