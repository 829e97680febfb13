"""The table work of the study scenes on an index as long as BigEarthNet: seconds of each stage, and memory.

    python benchmarks/full_index.py [--patches 549488]

An index of version 2 is made up: as many patches as published, in 115 images of tiles, some of the 19 classes
each, no files. What notebooks 01 and 02 do with the index, before and after pixels are read, is timed by
stage: each is silent, so none may take a minute. Reading and listing of files are measured by
``patch_loading.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sequence_preprocessing import peaks

from eolab import evaluation
from eolab.data.schemes.bigearthnet import class_set
from eolab.studies import scenes

LONGEST_S = 60.0
IMAGES, SIDE = 115, 90  # images of the published data, patches along a side of one


def made_up(patches: int) -> pd.DataFrame:
    """Return an index of version 2 without files."""
    rng = np.random.default_rng(0)
    classes = class_set("19")
    chance = np.geomspace(0.003, 0.4, len(classes))
    held = rng.random((patches, len(classes))) < chance
    held[~held.any(axis=1), -1] = True
    names = np.array(classes.scheme.names)
    image, place = np.arange(patches) % IMAGES, np.arange(patches) // IMAGES
    products = [
        f"S2A_MSIL2A_20170613T101031_N9999_R022_T{k // 8 + 30}U{chr(65 + k % 8)}P" for k in range(IMAGES)
    ]
    ids = [f"{products[i]}_{p // SIDE:02d}_{p % SIDE:02d}" for i, p in zip(image, place, strict=True)]
    table = pd.DataFrame({"id": ids, "s2": ids, "s1": "", "reference": ""})
    table["labels"] = [tuple(names[row]) for row in held]
    table["split"] = rng.choice(["train", "validation", "test"], patches, p=[0.5, 0.25, 0.25])
    table["tile"] = np.array(products)[image]
    table = table.assign(country="Austria", date=pd.Timestamp("2017-06-13"), projection="EPSG:32633")
    table = table.assign(snow=rng.random(patches) < 0.1, cloud=False, x=np.nan, y=np.nan, v1=ids)
    table["s2"] = "/data/" + table["s2"]
    return table


def stages(index: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """Return the stages of the notebooks by name."""
    own, found = class_set("19"), dict[str, Any]()

    def keep(name: str, value: Any) -> None:
        found[name] = value

    return {
        "01 facts": lambda: scenes.explore.facts(index),
        "01 frequencies": lambda: scenes.explore.frequencies(index, own),
        "01 labels": lambda: keep("labels", own.encode_all(index["labels"], warn=False)),
        "01 co-occurrence": lambda: evaluation.co_occurrence(found["labels"], own.scheme.names),
        "01 seasons": lambda: scenes.explore.seasons(index),
        "02 sample table": lambda: keep("table", scenes.sample_table(index, "/data", snow_and_clouds=True)),
        "02 a tenth": lambda: scenes.samples.subset(found["table"], "19", 0.1),
        "02 official split": lambda: keep("split", scenes.samples.split_column(found["table"])),
        "02 split by tile": lambda: scenes.samples.split_column(found["table"], "tile"),
        "02 random split": lambda: scenes.samples.split_column(found["table"], "random"),
        "02 neighbours": lambda: scenes.samples.neighbours(
            index, found["table"].set_index("patch")["published"]
        ),
        "02 classes": lambda: scenes.explore.class_frequencies(found["labels"], own.scheme, index["split"]),
    }


def main() -> None:
    """Time the stages and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=scenes.samples.PUBLISHED["version 2"])
    patches = parser.parse_args().patches
    slow = []
    with peaks() as memory:
        index = made_up(patches)
        for name, stage in stages(index).items():
            start = time.perf_counter()
            stage()
            seconds = time.perf_counter() - start
            print(f"{name:<20} {seconds:7.1f} s", flush=True)
            slow += [name] if seconds > LONGEST_S else []
    print(f"{patches:,} patches; slower than {LONGEST_S:.0f} s: {', '.join(slow) or 'none'}")
    print(f"peak memory {memory['peak_mb']:,.0f} MB")


if __name__ == "__main__":
    main()
