"""The sample store: what is written is read, described, refused when stale and named when damaged."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pandas as pd
import pytest
from store_example import (
    ARRAYS,
    FINGERPRINT,
    METADATA,
    PARTS,
    SAMPLES,
    contents,
    produce,
    sample,
    table,
    write,
)

from eolab.core import files as disk
from eolab.core.errors import ParameterError, StoreError
from eolab.data.store import ArraySpec, digests, open_store, required_bytes, writing


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "store")


def never(rows):
    raise AssertionError("produce was called again")


def test_each_sample_reads_back_beside_its_row(store):
    assert store.table["part"].tolist() == sorted(table()["part"])
    data = store.gather(range(len(store)))
    for row, number in enumerate(store.table["number"]):
        for name, expected in sample(number).items():
            np.testing.assert_array_equal(data[name][row], expected)


def test_files_are_plain_npy_and_parquet(store):
    assert np.load(store.path / "image.npy").shape == (SAMPLES, 5, 3)
    assert pd.read_parquet(store.path / "samples.parquet")["id"].is_unique
    assert {p.name for p in store.path.iterdir()} == {
        "image.npy", "valid.npy", "label.npy", "samples.parquet", "store.json", ".eolab-store.lock",
    }  # fmt: skip


@pytest.mark.parametrize("row_shape", [(4, 3), (80, 80, 14)])  # below and above a large row
def test_gather_keeps_the_order_asked_for_with_repeats_and_masks(tmp_path, row_shape):
    dims = ("time", "band") if len(row_shape) == 2 else ("y", "x", "band")
    everything = np.random.default_rng(0).normal(size=(9, *row_shape)).astype("f4")
    store = write(
        tmp_path / "s",
        table=pd.DataFrame({"id": range(9)}),
        arrays={"image": ArraySpec(dims, row_shape)},
        parts=[slice(0, 4), slice(4, 9)],
        produce=lambda rows: {"image": everything[rows["id"]]},
        metadata={},
    )
    rows = np.random.default_rng(1).integers(0, 9, 50)
    np.testing.assert_array_equal(store.gather(rows)["image"], everything[rows])
    mask = np.arange(9) % 2 == 0
    np.testing.assert_array_equal(store.gather(mask, ["image"])["image"], everything[mask])


@pytest.mark.parametrize("size", [1, 7, SAMPLES, SAMPLES + 1, 0])
def test_batches_are_a_walk_over_all_rows_in_their_order(tmp_path, size):
    store = write(tmp_path / "s")
    rows = np.random.default_rng(0).permutation(SAMPLES)
    parts = list(store.batches(rows, ["image"], size))
    assert [n for part, _ in parts for n in range(SAMPLES)[part]] == list(range(SAMPLES))
    assert all(set(data) == {"image"} for _, data in parts)
    np.testing.assert_array_equal(
        np.concatenate([data["image"] for _, data in parts]), store.arrays["image"][rows]
    )
    assert len(parts) == (-(-SAMPLES // size) if size else 1)


def test_batches_take_a_mask_or_all_samples(tmp_path):
    store = write(tmp_path / "s")
    mask = np.arange(SAMPLES) % 3 == 0
    (found,) = store.batches(mask)
    assert found[0] == slice(0, mask.sum())
    np.testing.assert_array_equal(found[1]["image"], store.arrays["image"][mask])
    (found,) = store.batches()
    assert set(found[1]) == set(store.arrays_spec)
    assert not list(store.batches([]))
    with pytest.raises(StoreError, match="no array 'imge'"):
        next(store.batches(names=["imge"]))


@pytest.mark.parametrize("rows", [[-1], [0, SAMPLES]])
def test_gather_refuses_rows_that_do_not_exist(store, rows):
    with pytest.raises(StoreError, match="rows 0 to 39: got rows"):
        store.gather(rows)


def test_unknown_names_get_a_suggestion(store):
    with pytest.raises(StoreError, match="did you mean 'image'"):
        store.gather([0], ["images"])
    with pytest.raises(StoreError, match="did you mean 'validation'"):
        store.indices("validatoin")


def test_indices_are_the_rows_of_a_split(store):
    expected = [row for row, split in enumerate(store.table["split"]) if split == "test"]
    assert store.indices("test").tolist() == expected
    both = store.indices(["test", "train"])
    assert both.tolist() == [r for r, s in enumerate(store.table["split"]) if s in ("test", "train")]


def reference_statistics(numbers) -> pd.DataFrame:
    values = np.concatenate([sample(n)["image"][sample(n)["valid"]] for n in numbers]).astype(float)
    moments = [np.full(3, len(values)), values.mean(0), values.std(0), values.min(0), values.max(0)]
    return pd.DataFrame(np.transpose(moments), columns=["count", "mean", "std", "min", "max"])


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_statistics_are_those_of_valid_training_values(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr("eolab.data.store.statistics.CHUNK_BYTES", chunk_bytes)
    store = write(tmp_path / "store")
    numbers = table().query("split == 'train'")["number"]
    np.testing.assert_allclose(store.statistics, reference_statistics(numbers), rtol=1e-12)
    assert store.statistics.index.tolist() == ["B02", "B03", "B04"]


def test_statistics_ignore_finite_values_that_are_not_valid(tmp_path):
    def filled(rows):
        data = produce(rows)
        return data | {"image": np.where(data["valid"][..., None], data["image"], np.float32(1e6))}

    numbers = table().query("split == 'train'")["number"]
    found = write(tmp_path / "s", produce=filled).statistics
    np.testing.assert_allclose(found, reference_statistics(numbers), rtol=1e-12)


def test_a_new_split_column_moves_the_statistics_and_no_array(store):
    before = contents(store.path)
    split = np.where(store.table["number"] < 10, "train", "test")
    store.update({"split": split})
    again = open_store(store.path)
    assert again.table["split"].tolist() == split.tolist()
    for shown in (store.statistics, again.statistics):
        np.testing.assert_allclose(shown, reference_statistics(range(10)), rtol=1e-12)
    after = contents(store.path)
    assert all(after[f"{name}.npy"] == before[f"{name}.npy"] for name in ARRAYS)


@pytest.mark.parametrize("writes", [1, 2])
def test_a_store_opens_after_a_kill_between_split_and_statistics(store, monkeypatch, writes):
    """Written are the description with both digests, the table, the description with the new statistics."""
    write_file, done = disk.write_atomically, []

    def write_some(path, content):
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(path.name)
        write_file(path, content)

    before = store.table["split"].tolist()
    split = np.where(store.table["number"] < 5, "train", "test").tolist()
    monkeypatch.setattr(disk, "write_atomically", write_some)
    with pytest.raises(KeyboardInterrupt):
        store.update({"split": split})
    assert done == ["store.json", "samples.parquet"][:writes]
    again = open_store(store.path)
    assert again.table["split"].tolist() == (split if writes == 2 else before)
    train = again.table.query("split == 'train'")["number"]
    np.testing.assert_allclose(again.statistics, reference_statistics(train), rtol=1e-12)


def edit(folder, change):
    """Change the description of a store as someone would by hand."""
    info = json.loads((folder / "store.json").read_text())
    change(info)
    (folder / "store.json").write_text(json.dumps(info, indent=1))


def reorder(folder, order):
    frame = pd.read_parquet(folder / "samples.parquet")
    order(frame).to_parquet(folder / "samples.parquet", index=False)


def without_digests(folder):
    """Make a store that of an older version."""
    edit(folder, lambda info: info.pop("digests"))


CHANGES = {
    "sorted table": lambda f: reorder(f, lambda t: t.sort_values("number", ascending=False)),
    "edited label": lambda f: reorder(f, lambda t: t.assign(label=t["label"].where(t["number"] != 3, 0))),
    "edited split": lambda f: reorder(f, lambda t: t.assign(split=t["split"].iloc[::-1].to_numpy())),
    "swapped bands": lambda f: edit(f, lambda i: i["metadata"]["coords"]["band"].reverse()),
    "edited statistics": lambda f: edit(f, lambda i: i["statistics"]["mean"].__setitem__(0, 0.5)),
    "edited specification": lambda f: edit(f, lambda i: i["arrays"]["image"]["attrs"].update(units="dB")),
    "no arrays": lambda f: edit(f, lambda i: i.pop("arrays")),
    "no digests": lambda f: edit(f, lambda i: i.update(digests=None)),
    "digests of another kind": lambda f: edit(f, lambda i: i.update(digests=["table"])),
    "block size in words": lambda f: edit(f, lambda i: i["digests"].update(block_bytes="4 MiB")),
    "block size of 0": lambda f: edit(f, lambda i: i["digests"].update(block_bytes=0)),
    "no fingerprint": lambda f: edit(f, lambda i: i["identity"].pop("fingerprint")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_or_description_that_was_edited_is_refused(store, change):
    CHANGES[change](store.path)
    with pytest.raises(StoreError, match=r"(samples.parquet|store.json) is not what was written.*--force"):
        open_store(store.path)


@pytest.mark.filterwarnings("ignore:.*no digests")
@pytest.mark.parametrize("key", ["arrays", "samples", "identity", "metadata"])
def test_a_description_of_before_with_a_key_missing_is_one_sentence(store, key):
    edit(store.path, lambda info: [info.pop(name) for name in ("digests", key)])
    with pytest.raises(StoreError, match=r"store.json is incomplete \(KeyError"):
        open_store(store.path)


def test_a_store_of_before_opens_with_a_line_said_and_its_table_compared(store):
    without_digests(store.path)
    with pytest.warns(UserWarning, match="no digests of its arrays"):
        old = open_store(store.path)
    np.testing.assert_array_equal(old.gather([7])["image"][0], sample(old.table["number"][7])["image"])
    with pytest.raises(StoreError, match="no digests of its arrays"):
        old.verify()
    reorder(store.path, lambda t: t.sort_values("number", ascending=False))
    with pytest.raises(StoreError, match=r"samples.parquet is not what was written"):
        open_store(store.path)


def flip(file, place):
    """Flip one bit of a file."""
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("array", ARRAYS)
def test_a_flipped_bit_of_an_array_is_found_where_it_is_read(store, array):
    flip(store.path / f"{array}.npy", -1)
    again = open_store(store.path)
    with pytest.raises(StoreError, match=rf"{array}.npy \(from sample 0 on\) is not what was written"):
        again.gather([39], [array])
    with pytest.raises(StoreError, match=rf"{array}.npy"):
        open_store(store.path).verify()


def test_blocks_of_other_samples_are_not_read(tmp_path, monkeypatch):
    """Rows of 60 bytes in blocks of 256: row 39 lies in bytes 2340 to 2400, which begin in block 9."""
    monkeypatch.setattr(digests, "BLOCK", 256)
    monkeypatch.setattr(digests, "WHOLE", 100)
    store = write(tmp_path / "store")
    flip(store.path / "image.npy", 128 + 2350)
    again = open_store(store.path)
    right = again.gather(np.arange(38), ["image"])["image"]
    np.testing.assert_array_equal(right, np.stack([sample(n)["image"] for n in again.table["number"][:38]]))
    with pytest.raises(StoreError, match=r"image.npy \(from sample 38 on\)"):
        again.gather([0, 39], ["image"])


def test_a_store_that_is_overwritten_while_it_is_read_is_noticed(store):
    store.gather([0, 1])
    write(
        store.path, overwrite=True, produce=lambda rows: produce(rows) | {"label": 1 - produce(rows)["label"]}
    )
    with pytest.raises(StoreError, match="was written again or removed since it was opened"):
        store.gather([0, 1])


def test_an_array_that_is_changed_while_it_is_read_is_noticed(store):
    store.gather([0, 1])
    flip(store.path / "image.npy", 128)
    with pytest.raises(StoreError, match=r"image.npy \(from sample 0 on\) is not what was written"):
        store.gather([0, 1])


@pytest.mark.parametrize("array", ["image", "valid"])
def test_statistics_of_the_same_rows_are_computed_once_and_a_changed_array_is_noticed(
    store, monkeypatch, array
):
    first = store.statistics_over([0, 1, 2])
    np.testing.assert_allclose(first, reference_statistics(store.table["number"][:3]), rtol=1e-12)
    with monkeypatch.context() as patch:
        patch.setattr("eolab.data.store.statistics.compute", None)
        pd.testing.assert_frame_equal(store.statistics_over([2, 1, 0]), first)
    flip(store.path / f"{array}.npy", 128)
    with pytest.raises(StoreError, match=rf"{array}.npy \(from sample 0 on\) is not what was written"):
        store.statistics_over([0, 1, 2])


def test_a_copy_of_the_same_content_goes_on(store):
    before = store.gather([5])["image"]
    for file in store.path.iterdir():
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    np.testing.assert_array_equal(store.gather([5])["image"], before)


def test_columns_that_arrays_depend_on_cannot_change(store):
    with pytest.raises(StoreError, match=r"'number'.*cannot change"):
        store.update({"number": np.zeros(SAMPLES)})
    with pytest.raises(StoreError, match="needs 40 values: got 3"):
        store.update({"fold": [1, 2, 3]})


def test_dataset_is_labelled_and_stays_on_disk(store):
    dataset = store.dataset
    assert dataset["image"].dims == ("sample", "time", "band")
    assert dataset["image"].attrs == {"units": "reflectance"}
    assert np.shares_memory(dataset["image"].data, store.arrays["image"])
    assert dataset["time"].values[1] == np.datetime64("2020-02-01")
    assert dataset["band"].values.tolist() == ["B02", "B03", "B04"]
    assert dataset["id"].values.tolist() == store.table["id"].tolist()
    assert dataset["sample_label"].dims == ("sample",)  # the array is called label as well
    assert json.loads(dataset.attrs["class_scheme"]) == {"names": ["a", "b"]}
    by_id = dataset.set_xindex("id").sel(id="s07")
    np.testing.assert_array_equal(by_id["image"], sample(7)["image"])


def test_a_pickled_store_maps_its_files_again(store):
    content = pickle.dumps(store)
    assert len(content) < 1000
    np.testing.assert_array_equal(pickle.loads(content).gather([3])["image"], store.gather([3])["image"])


def test_the_same_call_opens_what_is_there(store):
    before = contents(store.path)
    again = write(store.path, produce=never)
    assert contents(again.path) == before


def test_the_same_call_brings_split_and_metadata_up_to_date(store):
    split = np.where(table()["number"] < 10, "train", "test")
    again = write(
        store.path, produce=never, table=table().assign(split=split), metadata=METADATA | {"simulated": False}
    )
    assert again.table.query("split == 'train'")["number"].max() == 9
    assert open_store(store.path).metadata["simulated"] is False
    np.testing.assert_allclose(again.statistics, reference_statistics(range(10)), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"fingerprint": FINGERPRINT | {"inputs": {"scene": "abd"}}},
            r"fingerprint.inputs.scene: 'abc' → 'abd'",
        ),
        ({"fingerprint": FINGERPRINT | {"more": 1}}, r"fingerprint.more: \(nothing\) → 1"),
        ({"table": table().assign(label=0)}, r"table.label"),
        ({"table": table().iloc[:-1]}, r"table.rows: 40 → 39"),
        ({"arrays": ARRAYS | {"label": ArraySpec((), (), "int16")}}, r"arrays.label.dtype: '\|u1' → '<i2'"),
        ({"metadata": {}}, r"coords.band"),
    ],
)
def test_a_stale_store_is_refused_and_left_alone(store, change, named):
    before = contents(store.path)
    with pytest.raises(StoreError, match=named) as caught:
        write(store.path, produce=never, **change)
    assert "overwrite=True" in str(caught.value)
    assert contents(store.path) == before


def test_overwrite_replaces_a_stale_store(store, tmp_path):
    few = {name: spec for name, spec in ARRAYS.items() if name != "valid"} | {"image": ArraySpec((), ())}
    new = {
        "arrays": few,
        "produce": lambda rows: {
            "image": rows["number"].to_numpy("f4"),
            "label": rows["label"].to_numpy("u1"),
        },
        "metadata": {},
    }
    write(store.path, overwrite=True, **new)
    assert contents(store.path) == contents(write(tmp_path / "fresh", **new).path)


def test_a_folder_of_other_files_is_never_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not empty and holds no sample store"):
        write(tmp_path, overwrite=True)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}


def test_overwriting_removes_the_files_of_the_store_and_no_other(store):
    (store.path / "mine.npy").write_bytes(b"mine")
    (store.path / "store.json").write_text("broken")
    write(store.path, overwrite=True)
    assert (store.path / "mine.npy").read_bytes() == b"mine"


def changed(name, value):
    return lambda rows: produce(rows) | {name: value(produce(rows)[name])}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (changed("image", lambda a: a[:, :4]), r"'scene0'.*'image' of shape \(10, 5, 3\).*got \(10, 4, 3\)"),
        (changed("image", lambda a: a.astype("f8")), r"'image'.*type float32: got \(10, 5, 3\) and float64"),
        (changed("image", lambda a: a * np.float32(np.nan)), r"NaN in array 'image'.*nan='invalid'"),
        (changed("image", lambda a: np.full_like(a, np.inf)), r"infinite values in array 'image'"),
        (lambda rows: {"image": produce(rows)["image"]}, r"needs the arrays \['image', 'label', 'valid'\]"),
    ],
)
def test_what_a_part_promises_is_checked(tmp_path, wrong, sentence):
    with pytest.raises(StoreError, match=sentence):
        write(tmp_path / "store", produce=wrong)


@pytest.mark.parametrize(("rule", "accepted"), [("allow", True), ("forbid", False), ("invalid", True)])
def test_rules_for_nan(tmp_path, rule, accepted):
    arrays = ARRAYS | {"image": ArraySpec(("time", "band"), (5, 3), nan=rule)}
    if accepted:
        assert np.isnan(write(tmp_path / "s", arrays=arrays).arrays["image"]).any()
    else:
        with pytest.raises(StoreError, match="nan='forbid'"):
            write(tmp_path / "s", arrays=arrays)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"table": table().iloc[:0]}, "would be empty"),
        ({"table": table().assign(id="same")}, "'same' occurs more than once"),
        ({"parts": "prat"}, "no column 'prat': did you mean 'part'"),
        ({"parts": [slice(0, 4), slice(5, 40)]}, "must follow each other"),
        ({"metadata": {"coords": {"band": ["B02"]}}}, "'image'.*has 3 along 'band': its coordinate has 1"),
        ({"table": table().assign(mixed=[*"ab", *range(38)])}, "cannot be written as Parquet"),
    ],
)
def test_what_the_caller_gives_is_checked(tmp_path, change, sentence):
    with pytest.raises(StoreError, match=sentence):
        write(tmp_path / "store", **change)


def test_array_specification_is_checked():
    with pytest.raises(StoreError, match="one positive length"):
        ArraySpec(("time",), (5, 3))
    with pytest.raises(StoreError, match="numbers"):
        ArraySpec((), (), object)


DAMAGE = {
    "missing array": (lambda f: (f / "image.npy").unlink(), r"image.npy is missing"),
    "truncated array": (
        lambda f: (f / "image.npy").open("r+b").truncate(1000),
        r"1,000 bytes where 2,528 were expected",
    ),
    "other shape": (
        lambda f: np.save(f / "image.npy", np.zeros((40, 4, 3), "f4")),
        r"found shape \(40, 4, 3\)",
    ),
    "other type": (lambda f: np.save(f / "image.npy", np.zeros((40, 5, 3))), r"type float64"),
    "no array": (lambda f: (f / "image.npy").write_bytes(b"x" * 2528), r"found no .npy header"),
    "missing json": (lambda f: (f / "store.json").unlink(), r"No sample store in"),
    "half a json": (lambda f: (f / "store.json").write_text('{"format"'), r"store.json cannot be read"),
    "other json": (lambda f: (f / "store.json").write_text("[]"), r"not the description of a sample store"),
    "missing table": (lambda f: (f / "samples.parquet").unlink(), r"samples.parquet cannot be read"),
    "broken table": (
        lambda f: (f / "samples.parquet").write_bytes(b"PAR1"),
        r"samples.parquet cannot be read",
    ),
    "short table": (
        lambda f: table().iloc[:9].to_parquet(f / "samples.parquet"),
        r"9 rows where 40 were expected",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_named(store, damage):
    act, sentence = DAMAGE[damage]
    act(store.path)
    with pytest.raises(StoreError, match=sentence):
        open_store(store.path)


def test_size_is_told_beforehand(store):
    told = required_bytes(table(), ARRAYS)
    arrays = sum((store.path / f"{name}.npy").stat().st_size for name in ARRAYS)
    whole = sum(p.stat().st_size for p in store.path.iterdir())
    assert arrays == 40 * (5 * 3 * 4 + 5 + 1) + 3 * 128
    assert whole <= told <= arrays + 200_000


def test_memory_holds_one_part_at_a_time(tmp_path):
    rows, row_bytes = 96, 1 << 20  # 96 MiB in parts of 2 MiB
    tracemalloc.start()
    try:
        write(
            tmp_path / "store",
            table=pd.DataFrame({"id": range(rows), "part": np.arange(rows) // 2}),
            arrays={"image": ArraySpec(("y", "band"), (row_bytes // 16, 4))},
            produce=lambda part: {"image": np.ones((len(part), row_bytes // 16, 4), "f4")},
            metadata={},
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize("workers", [2, 3, 9])
@pytest.mark.parametrize("processes", [False, True])
def test_several_workers_write_the_bytes_of_one(tmp_path, workers, processes):
    one = contents(write(tmp_path / "one").path)
    assert contents(write(tmp_path / "several", workers=workers, processes=processes).path) == one


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_processes_make_all_parts_where_they_are_asked_for(tmp_path):
    """Two threads converted BigEarthNet no faster than one: reading small files keeps Python's lock."""
    log = tmp_path / "log"

    def noted(rows):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return produce(rows)

    write(tmp_path / "store", produce=noted, workers=2, processes=True)
    made = log.read_text().split()
    assert len(made) == PARTS
    assert str(os.getpid()) not in made


def test_parts_are_written_in_their_order_whichever_is_made_first(tmp_path, monkeypatch):
    made, written = [], []
    late = threading.Event()

    def produce_late(rows):
        part = rows["part"].iloc[0]
        if part == "scene0":
            assert late.wait(timeout=30)  # until the second part is made
        made.append(part)
        if part == "scene1":
            late.set()
        return produce(rows)

    write_rows = writing._write_rows

    def recorded(plan, name, spec, start, values):
        written.append((start, name))
        write_rows(plan, name, spec, start, values)

    monkeypatch.setattr(writing, "_write_rows", recorded)
    write(tmp_path / "store", produce=produce_late, workers=2)
    assert made.index("scene1") < made.index("scene0")
    assert written == [(start, name) for start in (0, 10, 20, 30) for name in ARRAYS]


def test_no_worker_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ParameterError, match="workers is 0: expected 1 or more"):
        write(tmp_path / "store", workers=0)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_memory_holds_a_part_a_worker_and_one_that_is_written(tmp_path, workers):
    """Counted are arrays that are alive: being made, waiting, or being written."""
    alive, most, counting = 0, 0, threading.Lock()

    def count(change):
        nonlocal alive, most
        with counting:
            alive += change
            most = max(most, alive)

    def produce_counted(rows):
        image = np.ones((len(rows), 4), "f4")
        count(1)
        weakref.finalize(image, count, -1)
        time.sleep(0.002)
        return {"image": image}

    write(
        tmp_path / "store",
        table=pd.DataFrame({"id": range(60), "part": np.arange(60) // 2}),
        arrays={"image": ArraySpec(("band",), (4,))},
        produce=produce_counted,
        metadata={},
        workers=workers,
    )
    assert alive == 0
    assert workers <= most <= workers + 1


RESIDENT = """
import resource, sys
import numpy as np, pandas as pd
from eolab.data.store import ArraySpec, write_store
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_store(
    sys.argv[1],
    pd.DataFrame({"id": range(100), "part": np.arange(100) // 2}),
    {"image": ArraySpec(("y", "band"), (1 << 18, 4))},
    "part",
    lambda part: {"image": np.ones((len(part), 1 << 18, 4), "f4")},
    {},
    progress=False,
)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.slow
def test_writing_400_mb_keeps_the_process_small(tmp_path):
    command = [sys.executable, "-c", RESIDENT, tmp_path / "store"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) < 150  # MiB
