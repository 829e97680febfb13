"""Seconds and memory of the notebooks' stages at the published sizes: does any grow faster than the data?

    python benchmarks/full_size.py [--only scenes_v1 flood] [--shares 0.1 1] [--folder DIR]

Data sets are laid out as published: BigEarthNet's 590,326 and 549,488 patches, 3,799 training patches of
Landslide4Sense, 335 sequences of SEN12-FLOOD. A twin of few samples is written, and its files are linked
under new names to as many as published; images of sequences are written, of 48 x 48 pixels. BigEarthNet's
store has the published size and no pixels: it is a sparse file. What reading, resampling and statistics of
pixels cost is measured by `patch_loading.py`; of a tile of Sentinel-2 only the map is made up, as its images
are read window by window (`tile_rates.py`, `mapping_memory.py`).

Each study and size runs in a process of its own, stage by stage as in the notebooks, whose numbers they
bear. Memory is the highest that a stage has as its own, without pages of mapped files, above that of its
start. "files" counts how often the stage opens files of the data set. "growth" is that of processor time
and of memory from the first share to the last, divided by that of the data: 1 is as the data, more is
faster. A time below a second and memory below 50 MB say nothing.

It reads Linux's /proc and needs 10 GB of disk, for a while. Eight million links take long on most disks: in a
tmpfs (`mount -t tmpfs -o nr_inodes=16m,size=9G tmpfs DIR`) they take minutes and 3 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["EOLAB_HEADLESS"] = "1"

import h5py
import numpy as np
import pandas as pd
import rasterio
from sequence_preprocessing import peaks

from eolab import evaluation
from eolab.core import files
from eolab.data import catalog, fingerprints, leakage, splits, store
from eolab.data.layouts import sen12flood
from eolab.data.store import digests, statistics, writing
from eolab.studies import flood, landcover, landslide, scenes

Stages = dict[str, Callable[[], Any]]
SIDE = 90  # patches along a side of a product
SIZES = {"scenes_v1": 590_326, "scenes_v2": 549_488, "landslide": 3_799, "flood": 335, "landcover": 10_980**2}
LAYOUTS = {"scenes_v1": "bigearthnet_v1", "scenes_v2": "bigearthnet_v2"}
LAYOUTS |= {"landslide": "landslide4sense", "flood": "sen12flood", "landcover": "sentinel2_corine"}
SAYING_S, SAYING_MB = 1.0, 50.0  # less is noise


# === Data sets of any size ===


def link(source: Path, target: Path) -> None:
    """Link the files of a folder into a new one; what begins with the folder's name gets the new one's."""
    target.mkdir(parents=True)
    for entry in os.scandir(source):
        os.link(entry.path, target / entry.name.replace(source.name, target.name))


def place(number: int) -> tuple[str, str, int]:
    """Return day, column and row, and number of the product of a patch."""
    product, inside = divmod(number, SIDE * SIDE)
    day = pd.Timestamp("2017-06-01") + pd.Timedelta(product, "D")
    return f"{day:%Y%m%d}T101031", f"{inside // SIDE}_{inside % SIDE}", product


def lay_scenes_v1(folder: Path, count: int, twin: Path) -> None:
    from eolab.synthetic import bigearthnet

    bigearthnet.write(twin, version=1, patches=300, radar=False, faults=0, progress=False)
    sources = sorted((twin / "BigEarthNet-v1.0").iterdir())
    names = []
    for number in range(count):
        day, inside, _ = place(number)
        names.append(f"S2A_MSIL2A_{day}_{inside}")
        link(sources[number % len(sources)], folder / "BigEarthNet-v1.0" / names[-1])
    parts = np.random.default_rng(0).choice(["train", "val", "test"], count, p=[0.5, 0.25, 0.25])
    for part in ("train", "val", "test"):
        listed = [name for name, own in zip(names, parts, strict=True) if own == part]
        (folder / f"{part}.csv").write_text("\n".join(listed))


def lay_scenes_v2(folder: Path, count: int, twin: Path) -> None:
    from eolab.synthetic import bigearthnet

    bigearthnet.write(twin, version=2, patches=300, radar=False, faults=0, progress=False)
    table = pd.read_parquet(twin / "metadata.parquet").head(300)
    rows = table.iloc[np.arange(count) % len(table)].reset_index(drop=True)
    ids = []
    for number, old in enumerate(rows["patch_id"]):
        day, inside, product = place(number)
        column, row = inside.split("_")
        name = f"S2A_MSIL2A_{day}_N9999_R022_T{product // 8 + 30}U{chr(65 + product % 8)}P"
        ids.append(f"{name}_{column.zfill(2)}_{row.zfill(2)}")
        for tree in ("BigEarthNet-S2", "Reference_Maps"):
            link(twin / tree / old.rsplit("_", 2)[0] / old, folder / tree / name / ids[-1])
    rows["split"] = np.random.default_rng(0).choice(
        ["train", "validation", "test"], count, p=[0.5, 0.25, 0.25]
    )
    rows.assign(patch_id=ids, s2v1_name=ids).to_parquet(folder / "metadata.parquet")


def lay_landslide(folder: Path, count: int, twin: Path) -> None:
    from eolab.synthetic import landslide4sense

    landslide4sense.write(twin, train=60, validation=0, test=0, progress=False)
    for kind in ("img", "mask"):
        sources = sorted((twin / "TrainData" / kind).iterdir())
        (folder / "TrainData" / kind).mkdir(parents=True)
        for number in range(count):
            name = f"{sources[0].stem.rpartition('_')[0]}_{number + 1}.h5"
            os.link(sources[number % len(sources)], folder / "TrainData" / kind / name)


def lay_flood(folder: Path, count: int, twin: Path) -> None:
    from eolab.synthetic import sen12flood

    test = count * 100 // SIZES["flood"]
    sen12flood.write(folder, train=count - test, test=test, size=48, progress=False)


def lay_landcover(folder: Path, count: int, twin: Path) -> None:
    """A map of squares of 500 m, as large as a tile; no image of it is read."""
    folder.mkdir()
    side = round(count**0.5)
    cells = np.random.default_rng(0).integers(0, 12, (side // 50 + 1, side // 50 + 1), np.uint8)
    np.save(folder / "label.npy", cells.repeat(50, 0).repeat(50, 1)[:side, :side])


# === Stages ===


def common(entry: catalog.DataEntry, found: dict[str, Any], index: Callable[[], Any]) -> Stages:
    """Return what every first notebook does, a first time and again."""
    return {
        "index": lambda: found.update(index=index()),
        "index, remembered": index,
        "fingerprint": lambda: fingerprints.take(entry.path),
        "fingerprint, remembered": lambda: fingerprints.take(entry.path),
    }


def scenes_stages(entry: catalog.DataEntry, place: Path) -> Stages:
    from eolab import tasks
    from eolab.evaluation import postprocess
    from eolab.tasks.baselines import fit_baselines
    from eolab.training.batches import Batches, StoreSamples

    found: dict[str, Any] = {}

    def count() -> None:
        patches = found["index"]
        classes = scenes.explore.own_classes(entry, patches)
        scenes.explore.facts(patches)
        scenes.explore.frequencies(patches, classes)
        scenes.explore.seasons(patches)
        sets = scenes.explore.class_sets(classes, scenes.explore.joined_classes(patches))
        labels = {title: one.encode_all(patches["labels"], warn=False) for title, one in sets.items()}
        joined = scenes.explore.joined_classes(patches)
        evaluation.co_occurrence(labels[f"{len(joined)} classes"], joined.scheme.names)
        found["classes"] = classes

    def draw() -> None:
        scenes.explore.examples(found["index"], found["classes"], 12)
        scenes.explore.spectra(found["index"], found["classes"], 7, 12)

    def table() -> None:
        made = scenes.sample_table(found["index"], entry.path)
        scenes.samples.subset(made, "19", 0.1)
        found["table"] = made.assign(split=scenes.samples.split_column(made))
        scenes.samples.split_column(made, "tile")
        scenes.samples.split_column(made, "random")
        split = found["table"].set_index("patch")["split"].astype(str)
        scenes.samples.neighbours(found["index"], split)

    def write() -> None:
        with without_pixels():
            store.write_store(
                place / "store",
                found["table"],
                scenes.store_arrays(),
                "part",
                lambda rows: {
                    "image": np.zeros((len(rows), 120, 120, 12), np.uint16),
                    "label": scenes.samples.encode(rows, "19"),
                },
                {"data": store.fingerprint_files(entry.path)},
                scenes.store_metadata(entry, "nearest"),
                progress=False,
            )

    def opened() -> None:
        samples = scenes.samples.with_classes(store.open_store(place / "store"), "")
        rows = scenes.samples.split_rows(samples)
        scenes.samples.leave_out_damaged(samples, entry.path)
        truth = {part: samples.gather(own, ["label"])["label"] for part, own in rows.items()}
        scenes.samples.counted_classes(samples, 10)
        found.update(samples=samples, rows=rows, truth=truth)

    def similar() -> None:
        rows, features = scenes.explore.image_features(found["samples"], 4000)
        part = found["samples"].table.iloc[rows].reset_index(drop=True)
        part["level1"] = scenes.explore.coarse_labels(part["labels"], "19")
        leakage.leakage(features, part, label="level1")

    def epoch() -> None:
        samples, rows = found["samples"], found["rows"]["train"]
        read = StoreSamples(samples, rows, inputs=("image",), channels={"image": tasks.select(samples, rows)})
        batches = Batches(read, 256, shuffle=True, ignore="none")
        batches.at_epoch(1)
        for number in range(min(20, batches.num_batches)):
            batches[number]

    def score() -> None:
        samples, rows, truth = found["samples"], found["rows"]["test"], found["truth"]
        kept = fit_baselines(
            "multilabel_classification",
            ["majority"],
            samples,
            found["rows"],
            folder=place / "baselines",
            classes=19,
        )
        rng = np.random.default_rng(0)
        drawn = {part: rng.random((len(own), 19), np.float32) for part, own in truth.items()}
        kept["network"] = {part: (drawn[part] + truth[part]) / 2 for part in ("validation", "test")}
        names = samples.metadata["coords"]["class"]
        thresholds = {
            name: postprocess.choose_threshold(
                one["validation"], truth["validation"], by_label=True, default=0.5
            )
            for name, one in kept.items()
        }
        how = {"groups": samples.table["tile"].to_numpy()[rows], "replicates": 300, "baselines": ["majority"]}
        how |= {"class_names": names, "thresholds": thresholds}
        test = {name: one["test"] for name, one in kept.items()}
        evaluation.score_table(test, truth["test"], **how)
        evaluation.paired_gains(
            test, truth["test"], model="network", statistics=["macro.average_precision"], **how
        )
        postprocess.fit_temperature(kept["network"]["validation"], truth["validation"], by_label=True)
        postprocess.label_calibration(test["network"], truth["test"], names)
        evaluation.label_confusion(test["network"] > 0.5, truth["test"], names)

    return common(entry, found, lambda: scenes.explore.index(entry, progress=False)) | {
        "01 counts": count,
        "01 examples and spectra": draw,
        "02 sample table, splits, neighbours": table,
        "02 store, without pixels": write,
        "03 store opened, labels": opened,
        "02 leakage of 4,000": similar,
        "03 an epoch's order, 20 batches": epoch,
        "03 scores": score,
    }


@contextmanager
def without_pixels() -> Iterator[None]:
    """Write a store whose images are a hole in their file: nothing of them is written, summed or digested."""
    rows_of, crcs_of = writing._write_rows, digests._crcs

    def allocate(path: Path, header: bytes, size: int) -> None:
        with path.open("wb") as file:
            file.write(header)
            file.truncate(size)

    def write_rows(plan: Any, name: str, *given: Any) -> None:
        if name != "image":
            rows_of(plan, name, *given)

    def crcs(path: Path, start: int, blocks: Any) -> str:
        if path.stem != "image":
            return crcs_of(path, start, blocks)
        left = path.stat().st_size - start
        sizes = [min(digests.BLOCK, left - number * digests.BLOCK) for number in blocks]
        return "".join(f"{zeros(size):08x}" for size in sizes)

    def made_up(samples: Any, rows: np.ndarray) -> dict[str, Any]:
        values = {"count": len(rows), "mean": 1000.0, "std": 500.0, "min": 0.0, "max": 9000.0}
        return {"rows": statistics.digest(rows), **{name: [value] * 12 for name, value in values.items()}}

    changes = [
        (writing, "_write_rows", write_rows),
        (digests, "_crcs", crcs),
        (statistics, "compute", made_up),
        (files, "allocate", allocate),
        (files, "free_bytes", lambda folder: 1 << 60),
        (files, "sync", lambda handle: None),
    ]
    with ExitStack() as patches:
        for module, name, new in changes:
            patches.enter_context(mock.patch.object(module, name, new))
        yield


@cache
def zeros(size: int) -> int:
    return zlib.crc32(bytes(size))


def landslide_stages(entry: catalog.DataEntry, place: Path) -> Stages:
    found: dict[str, Any] = {}

    def table() -> None:
        found["report"] = entry.check(progress=False)
        usable = landslide.explore.usable(found["index"], found["report"].files, entry.path)
        found["table"] = landslide.sample_table(usable, entry.path, source=found["source"])

    def explore() -> None:
        train = found["table"]
        landslide.explore.facts(train, found["source"])
        landslide.explore.component_sizes(train, entry.path, found["source"])

    def draw() -> None:
        train, source = found["table"], found["source"]
        some = train.sample(min(100, len(train)), random_state=0)
        landslide.explore.draw_pixels(some, entry.path, 200, 0, source)
        landslide.explore.along_numbers(train, entry.path, max(1, len(train) // 100), source)

    def write() -> None:
        source = found["source"]
        found["samples"] = store.write_store(
            place / "store",
            found["table"],
            landslide.store_arrays(source),
            "part",
            produce=landslide.sample_producer(entry.path, "", source),
            fingerprint={"data": store.fingerprint_files(entry.path)},
            metadata=landslide.store_metadata(entry, "", source),
            progress=False,
        )

    def similar() -> None:
        features = landslide.explore.patch_features(found["samples"])
        split = landslide.samples.split_column(found["table"], "contiguous", 1, 0.2, 0)
        leakage.leakage(features, found["table"].assign(split=split), label="landslide")

    def index() -> Any:
        made, found["source"] = landslide.source.of_entry(entry)
        return made

    return common(entry, found, index) | {
        "01 check, sample table": table,
        "01 sizes of landslides": explore,
        "01 spectra, along numbers": draw,
        "02 store of all channels": write,
        "02 leakage": similar,
    }


def flood_stages(entry: catalog.DataEntry, place: Path) -> Stages:
    found: dict[str, Any] = {}
    size = (48, 48)

    def table() -> None:
        images = found["index"]
        files = entry.check(progress=False).files
        sensors = {"S1": flood.samples.Radar(("VH",)), "S2": flood.samples.Optical(("B04", "B03", "B02"))}
        tables = {name: flood.sample_table(images, files, entry.path, one) for name, one in sensors.items()}
        found.update(sensors=sensors, tables=tables, sequences=sen12flood.sequences(entry.path, images))
        flood.explore.facts(images)
        flood.explore.regions(found["sequences"])

    def split() -> None:
        shares = ("published", 0.2, 0.2, 0)
        splits = flood.samples.possible_splits([*found["tables"].values()], found["sequences"], *shares)
        parts = {
            name: one.assign(split=one["sequence"].map(splits["published"]))
            for name, one in found["tables"].items()
        }
        flood.explore.split_counts(parts)
        flood.baselines.without_pixels(parts, splits, 0)
        flood.samples.nearest_training(found["sequences"], splits["published"])
        found["tables"] = parts

    def write() -> None:
        found["stores"] = {
            name: store.write_store(
                place / name,
                found["tables"][name],
                flood.store_arrays(sensor, size),
                "sequence",
                produce=flood.sample_producer(entry.path, found["index"], sensor, size),
                fingerprint={"data": store.fingerprint_files(entry.path), "channels": repr(sensor)},
                metadata=flood.store_metadata(entry, sensor),
                progress=False,
            )
            for name, sensor in found["sensors"].items()
        }

    def numbers() -> None:
        for one in found["stores"].values():
            made = flood.samples.image_table(one, progress=False).assign(split=one.table["split"])
            leakage.leakage(flood.samples.features(made), made, label="flooded")

    return common(entry, found, lambda: flood.source.index(entry)) | {
        "01 check, sample tables": table,
        "02 splits, neighbours": split,
        "02 stores": write,
        "02 numbers of images, leakage": numbers,
    }


def landcover_stages(entry: catalog.DataEntry, place: Path) -> Stages:
    import xarray as xr
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_coords

    label = np.load(entry.path / "label.npy")
    grid = GeoBox(label.shape, Affine(10, 0, 300_000, 0, -10, 5_000_000), "EPSG:32631")
    series = xr.Dataset({"label": (("y", "x"), label)}, coords=xr_coords(grid))
    samples, found = landcover.samples, dict[str, Any]()
    block_m = samples.default_block_m(series)

    def draw() -> None:
        table = landcover.sample_table(series, 400, 3000, 512)
        found["table"] = table.assign(block=splits.block_numbers(table, block_m))

    def polygons() -> None:
        groups = samples.connected_groups(series)
        found["table"]["group"] = groups[found["table"]["row"], found["table"]["col"]]
        found["polygon_m"] = samples.default_buffer_m(series, groups)

    def borders() -> None:
        samples.border_m(series, found["table"]["row"], found["table"]["col"])

    def divide() -> None:
        share = {"validation": 0.2, "test": 0.3, "seed": 0}
        splits.apart_blocks(found["table"], block_m, found["polygon_m"], **share)
        splits.by_group(found["table"], label="label", **share)
        splits.random(found["table"], **share)

    return {
        "02 samples drawn": draw,
        "02 polygons": polygons,
        "02 distances to borders": borders,
        "02 splits": divide,
    }


# === Measuring ===


class Opened:
    """Counts how often files below a folder are opened, by Python, rasterio and h5py."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = f"{folder}/", 0
        sys.addaudithook(self._heard)
        for module, name in ((rasterio, "open"), (h5py, "File")):
            setattr(module, name, self._counting(getattr(module, name)))

    def _heard(self, event: str, given: tuple[Any, ...]) -> None:
        """Count a file; where an `opener` opens one, Python says so twice, once without a mode."""
        mode = given[1] if event == "open" else None
        if mode is not None and isinstance(given[0], str) and given[0].startswith(self.folder):
            self.count += 1

    def _counting(self, function: Any) -> Any:
        @wraps(function, updated=())
        def counted(name: Any, *given: Any, **more: Any) -> Any:
            self._heard("open", (str(name), "r"))
            return function(name, *given, **more)

        return counted


def measure(study: str, root: Path, place: Path) -> None:
    """Run the stages of a study; print a line of JSON for each."""
    entry = catalog.DataEntry(study, str(root), LAYOUTS[study], root / "entry.yaml", root.parent)
    makers = {"landslide": landslide_stages, "flood": flood_stages, "landcover": landcover_stages}
    stages = makers.get(study, scenes_stages)(entry, place)
    opened = Opened(root)
    for name, stage in stages.items():
        before = opened.count
        with peaks() as memory:
            start, used = time.perf_counter(), time.process_time()
            stage()
            seconds, used = time.perf_counter() - start, time.process_time() - used
        facts = {"stage": name, "seconds": seconds, "processor": used, "mb": memory["own_mb"]}
        print(json.dumps(facts | {"files": opened.count - before}), flush=True)


def of_size(study: str, count: int, folder: Path) -> pd.DataFrame:
    """Lay a data set out, measure it in a process of its own, and remove it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root, place = Path(name) / "data", Path(name) / "work"
        place.mkdir()
        start = time.perf_counter()
        globals()[f"lay_{study}"](root, count, Path(name) / "twin")
        print(
            f"{study}: {count:,} laid out in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True
        )
        time.sleep(2.1)  # files that have just changed are read again
        command = [sys.executable, __file__, "--measure", study, str(root), str(place)]
        environment = os.environ | {"EOLAB_CACHE": f"{name}/cache"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        return pd.DataFrame([json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])


def report(study: str, tables: dict[int, pd.DataFrame]) -> None:
    """Print the rows of a study as Markdown."""
    (few, first), (many, last) = (list(tables.items())[which] for which in (0, -1))
    more = many / few
    for one, other in zip(first.itertuples(), last.itertuples(), strict=True):
        growth = [
            f"{b / max(a, 1e-9) / more:.2f}" if b > saying else "–"
            for a, b, saying in ((one.processor, other.processor, SAYING_S), (one.mb, other.mb, SAYING_MB))
        ]
        time_of = f"{other.seconds:,.1f} | {one.processor:,.1f} | {other.processor:,.1f} | {growth[0]}"
        memory_of = f"{one.mb:,.0f} | {other.mb:,.0f} | {growth[1]}"
        print(f"| {study} | {one.stage} | {time_of} | {memory_of} | {other.files:,} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=list(SIZES), help="studies")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 1.0], help="of the published sizes")
    parser.add_argument("--folder", type=Path, help="where data sets go for a while")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        study, root, place = options.measure
        measure(study, Path(root), Path(place))
        return
    print("| data | stage | s | CPU s, few | CPU s, all | growth | MB, few | MB, all | growth | files |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for study in options.only:
        counts = [round(SIZES[study] * share) for share in options.shares]
        report(f"{study}, {counts[-1]:,}", {n: of_size(study, n, options.folder) for n in counts})
    print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
