"""Places and passes of the scenes twin: real tiles and dates of BigEarthNet, with an assumed climate each.

Countries, tiles and days are those of the published patches; which tile is held out, which has a sea shore,
and how its spectra differ, are the twin's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from eolab.synthetic.bigearthnet_classes import BIOMES

PATCH_M = 1200
_SQUARE_M, _CYCLE_M, _STEP_M = 100_000, 2_000_000, 60
_COLUMNS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")  # by zone modulo 3
_ROWS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_M = {"S": 3_540_000, "T": 4_430_000, "U": 5_320_000, "V": 6_210_000, "W": 7_100_000}
_LATE_S = 3  # that the date in the JSON lies before the name's time


@dataclass(frozen=True)
class Product:
    """One acquisition of a tile.

    Attributes:
        mission: ``S2A`` or ``S2B``.
        start: Start of the datatake, as in names of version 2, for example ``20170613T101031``.
        orbit: Relative orbit.
        late: Seconds that names of version 1 add, without a carry.
        snow: Share of its patches under seasonal snow.
    """

    mission: str
    start: str
    orbit: int
    late: int = 0
    snow: float = 0.0

    @property
    def time(self) -> datetime:
        """Time of acquisition."""
        return datetime.strptime(self.start, "%Y%m%dT%H%M%S") - timedelta(seconds=_LATE_S * (self.late > 0))

    @property
    def name_v1(self) -> str:
        """Begin of names in version 1: no leading zero of the hour, and seconds that may exceed 59."""
        day, time = self.start.split("T")
        return f"{self.mission}_MSIL2A_{day}T{int(time) + self.late}"

    def name_v2(self, tile: str) -> str:
        """Name of the product in version 2."""
        return f"{self.mission}_MSIL2A_{self.start}_N9999_R{self.orbit:03d}_T{tile}"

    def source(self, tile: str) -> str:
        """Name of the Level-1C product that version 1 names."""
        baseline = "N0206" if self.start >= "20171101" else "N0205"
        begin = self.name_v1.replace("MSIL2A", "MSIL1C")
        made = f"{self.time + timedelta(minutes=6):%Y%m%dT%H%M%S}"
        return f"{begin}_{baseline}_R{self.orbit:03d}_T{tile}_{made}.SAFE"


@dataclass(frozen=True)
class Tile:
    """A Sentinel-2 tile.

    Attributes:
        name: Zone, band and square, for example ``33UUP``.
        country: As in the metadata of version 2.
        biome: One of :data:`eolab.synthetic.bigearthnet_classes.BIOMES`.
        split: ``train``, ``validation`` or ``test``, for all its patches.
        weight: Of its number of patches.
        coast: Whether it has a sea shore.
        products: Its acquisitions.
    """

    name: str
    country: str
    biome: str
    split: str
    weight: float
    coast: bool
    products: tuple[Product, ...]

    @property
    def zone(self) -> int:
        """UTM zone, all on the northern half."""
        return int(self.name[:2])

    @property
    def epsg(self) -> int:
        """EPSG code of its projection."""
        return 32600 + self.zone

    @property
    def biome_index(self) -> int:
        """Place of its biome in the list of biomes."""
        return BIOMES.index(self.biome)

    @property
    def origin(self) -> tuple[int, int]:
        """Upper left corner in metres, on the 60 m grid of the products."""
        square = self.name[3:]
        east = (_COLUMNS[self.zone % 3].index(square[0]) + 1) * _SQUARE_M
        offset = 5 if self.zone % 2 == 0 else 0
        north = (_ROWS.index(square[1]) - offset) % 20 * _SQUARE_M
        while north < _BAND_M[self.name[2]] - _SQUARE_M:
            north += _CYCLE_M
        top = north + _SQUARE_M
        return east // _STEP_M * _STEP_M, -(-top // _STEP_M) * _STEP_M

    def corner(self, column: int, row: int) -> tuple[int, int]:
        """Upper left corner in metres of the patch that its name places at a column and a row."""
        left, top = self.origin
        return left + PATCH_M * column, top - PATCH_M * row


def _tile(text: str, *products: tuple[str, int] | tuple[str, int, int] | tuple[str, int, int, float]) -> Tile:
    """Return a tile from "name country biome split weight coast" and its products, S2A on odd days."""
    name, country, biome, split, weight, coast = text.split()
    found = tuple(Product("S2A" if int(p[0][7]) % 2 else "S2B", *p) for p in products)
    return Tile(name, country, biome, split, float(weight), coast == "shore", found)


TILES: tuple[Tile, ...] = (
    _tile("35VPK Finland boreal train 7 inland",
          ("20170701T093031", 136, 1), ("20170924T093019", 136, 2), ("20180204T094159", 36, 2, 0.9)),
    _tile("35VNL Finland boreal train 6 inland",
          ("20170709T094029", 36, 1), ("20170905T095031", 79), ("20180525T094029", 36, 2)),
    _tile("35VLG Finland boreal train 5 shore", ("20180413T095031", 79, 0, 0.5), ("20170805T095029", 79)),
    _tile("35VNJ Finland boreal validation 7 inland",
          ("20171101T094131", 36, 1), ("20180204T094159", 36, 1, 0.95), ("20180515T094029", 36, 1)),
    _tile("34WFU Finland boreal validation 3 shore", ("20180526T100031", 122), ("20170826T100031", 122)),
    _tile("34VDM Finland boreal test 6 shore", ("20171016T101009", 22), ("20180511T100029", 122)),
    _tile("34WFS Finland boreal test 6 inland",
          ("20170817T101019", 22), ("20180228T101021", 22, 0, 0.9), ("20180521T100029", 122)),
    _tile("35ULA Lithuania baltic train 4 inland", ("20170808T094029", 36, 1), ("20180410T094031", 36, 1)),
    _tile("34UEG Lithuania baltic test 3 inland", ("20170930T095019", 79), ("20180413T095031", 79)),
    _tile("35UMB Lithuania baltic validation 2.5 inland",
          ("20170924T093019", 136, 1), ("20180318T093031", 136, 1, 0.5)),
    _tile("29UPU Ireland atlantic train 6 shore",
          ("20170617T113321", 80), ("20171112T114339", 123), ("20180421T114349", 123)),
    _tile("29UNB Ireland atlantic validation 2 shore", ("20180529T115401", 23), ("20170909T115359", 23)),
    _tile("29UPV Ireland atlantic test 3 shore", ("20170717T113321", 80), ("20180220T114339", 123)),
    _tile("31UER Belgium atlantic train 1.4 inland",
          ("20170829T105019", 51), ("20171107T105229", 51), ("20180506T105029", 51)),
    _tile("31UGS Belgium atlantic validation 0.8 inland", ("20171015T104009", 8), ("20180508T104031", 8)),
    _tile("31UGR Luxembourg atlantic test 1 inland", ("20171015T104009", 8, 0), ("20180508T104031", 8)),
    _tile("33TWN Austria alpine train 3 inland",
          ("20171219T095409", 79, 0, 0.5), ("20180421T100029", 122), ("20170824T100019", 122)),
    _tile("33UXP Austria continental train 2 inland", ("20170831T095029", 79), ("20171015T095031", 79)),
    _tile("33TWM Austria alpine validation 1.6 inland", ("20170923T100019", 122), ("20180421T100029", 122)),
    _tile("33UUP Austria continental test 1.6 inland", ("20170613T101031", 22), ("20171009T101009", 22)),
    _tile("32TMT Switzerland alpine train 1.2 inland", ("20170818T103021", 108), ("20180415T103021", 108)),
    _tile("34TEP Serbia continental train 5 inland",
          ("20170914T093029", 136, 1), ("20180201T093219", 136, 1, 0.5), ("20180502T093039", 136, 1)),
    _tile("34TEN Kosovo continental train 1.2 inland", ("20171208T093351", 136, 1), ("20170825T093029", 136)),
    _tile("34TCR Serbia continental validation 3 inland",
          ("20170803T094031", 36, 1), ("20171002T094031", 36, 1), ("20180430T094031", 36)),
    _tile("34TEQ Serbia continental test 3 inland", ("20170825T093029", 136, 2), ("20180422T093029", 136)),
    _tile("29SNB Portugal iberian train 6 shore",
          ("20171002T112111", 37), ("20171201T112431", 37), ("20180326T112109", 37)),
    _tile("29SNC Portugal iberian validation 4 shore", ("20170813T112121", 37), ("20180515T112109", 37)),
    _tile("29SND Portugal iberian test 4 shore",
          ("20170704T112111", 37), ("20171221T112501", 37), ("20180515T112109", 37)),
)  # fmt: skip
"""All tiles; one in Austria and those of Finland hold the most patches, as in the published data."""


def radar_product(tile: Tile, product: Product) -> str:
    """Return the name of the Sentinel-1 product that goes with one of Sentinel-2."""
    time = radar_time(tile, product)
    return f"S1{'AB'[time.second % 2]}_IW_GRDH_1SDV_{time:%Y%m%dT%H%M%S}"


def radar_time(tile: Tile, product: Product) -> datetime:
    """Return when Sentinel-1 saw what Sentinel-2 saw: a day apart at most."""
    shift = (sum(map(ord, tile.name)) + int(product.start[:8])) % 3 - 1
    hour = {29: 6, 31: 5, 32: 5, 33: 16, 34: 16, 35: 4}[tile.zone]
    seconds = (sum(map(ord, tile.name)) * 37 + int(product.start[4:8])) % 3600
    day = product.time.replace(hour=hour, minute=0, second=0) + timedelta(days=shift)
    return day + timedelta(seconds=seconds)
