"""What tiles and years of Sentinel-2 cost, planned from a catalogue before anything is downloaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import pandas as pd

from eolab.core.errors import ParameterError, check_known

TILE_PIXELS = 10_980**2
COLUMNS = ("products", "download_gb", "store_gb", "download_h", "composites_h", "prediction_h", "memory_gb")


@dataclass(frozen=True)
class Rates:
    """How fast a machine is, and what is made of the images.

    The defaults of composites, prediction and memory are measured by ``benchmarks/tile_rates.py`` on two
    cores: on simulated products, decoded from JPEG 2000 at 10 m, with the LSTM of the study in the fastest
    engine. The download rate is no measurement. Times of one run are meant; where several tiles go on side
    by side, each has its share of the cores.

    Attributes:
        download: MB a second.
        product: GB of a product whose size the catalogue does not state: the mean of 554 that were measured
            (559.19 GB, ten tiles of the Netherlands in three years).
        composites: Million values (pixels · images · bands) read and made composites a second.
        passes: How often all images are read: for the samples and for the map.
        prediction: Pixels a second.
        memory: GB of a process that makes composites and maps in windows of 480 pixels; it does not grow with
            the tile, nor measurably from 10 to 20 images.
        samples: Rows of the store of a tile and year, those of the profile ``full``.
        steps: Composites of a year.
        bands: Bands that are read.
    """

    download: float = 20.0
    product: float = 1.009
    composites: float = 18.0
    passes: float = 2.0
    prediction: float = 66_000.0
    memory: float = 2.0
    samples: float = 340_000.0
    steps: float = 12.0
    bands: float = 12.0


def rates(texts: Sequence[str]) -> Rates:
    """Return rates with those of ``name=number`` texts.

    Raises:
        ParameterError: If a text is none, or a number is not above 0.
    """
    known = [one.name for one in fields(Rates)]
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        check_known(name, known, f"--rates {text}: there is no rate {name!r}")
        if not re.fullmatch(r"\d+(\.\d*)?(e\d+)?", number) or not float(number):
            raise ParameterError(f"--rates {text}: give a number above 0, as in --rates download=20.")
        found[name] = float(number)
    return replace(Rates(), **found)


def plan(items: pd.DataFrame, machine: Rates | None = None) -> pd.DataFrame:
    """Plan downloads, composites, samples and maps of all tiles and years of a search.

    Args:
        items: Result of :func:`eolab.data.retrieval.search`, of several tiles too.
        machine: Rates of the machine.

    Returns:
        A row a tile and year, then a row for each year and one for all (tile ``all``, year 0): products, GB
        to download and of the sample store, hours of downloading, of making composites and of predicting the
        map, and GB of memory, the largest of a group in its row.
    """
    machine = machine or Rates()
    table = items.assign(year=pd.to_datetime(items["time"]).dt.year)
    table["gigabytes"] = table["gigabytes"].fillna(machine.product)
    groups = table.groupby(["tile", "year"])["gigabytes"].agg(["size", "sum"]).reset_index()
    found = groups.set_axis(["tile", "year", "products", "download_gb"], axis=1)
    values = machine.samples * machine.steps * (machine.bands * 4 + 1 + 2)  # with mask and day
    found["store_gb"] = values / 1e9
    found["download_h"] = found["download_gb"] * 1e3 / machine.download / 3600
    read = found["products"] * TILE_PIXELS * machine.bands * machine.passes
    found["composites_h"] = read / (machine.composites * 1e6) / 3600
    found["prediction_h"] = TILE_PIXELS / machine.prediction / 3600
    found["memory_gb"] = machine.memory
    how = dict.fromkeys(COLUMNS, "sum") | {"memory_gb": "max"}
    years = found.groupby("year").agg(how).reset_index()
    whole = found.assign(year=0).groupby("year").agg(how).reset_index()
    totals = [one.assign(tile="all") for one in (years, whole)]
    return pd.concat([found, *totals], ignore_index=True)[["tile", "year", *COLUMNS]]
