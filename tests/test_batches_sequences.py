"""Batches of image sequences: what is in them, their order, padding that counts nothing."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
import training_example

from eolab import tasks
from eolab.core.errors import ParameterError
from eolab.data import sequences
from eolab.data.store import ArraySpec, write_store
from eolab.training import augment
from eolab.training.batches import Batches, SequenceSamples

LENGTHS = {"a": (4, 2), "b": (1, 3), "c": (6, 0), "d": (2, 2), "e": (5, 1)}
H, W = 4, 6


def sensor_table(sensor: int) -> pd.DataFrame:
    rows = [
        (sequence, pd.Timestamp("2018-12-31") + pd.Timedelta(days=6 * k + sensor), k >= 2)
        for sequence, counts in LENGTHS.items()
        for k in range(counts[sensor])
    ]
    table = pd.DataFrame(rows, columns=["sequence", "date", "flooded"])
    table.insert(0, "id", np.arange(len(table)))
    return table


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores whose images hold their own row number."""
    found = {}
    for number, sensor in enumerate(("S1", "S2")):
        arrays = {
            "image": ArraySpec(("y", "x", "band"), (H, W, 1 + number), "float32", {}, "allow"),
            "label": ArraySpec((), (), "uint8"),
        }

        def produce(rows, bands=1 + number):
            image = np.broadcast_to(rows["id"].to_numpy()[:, None, None, None], (len(rows), H, W, bands))
            image = image + np.arange(W)[:, None] / 100  # tells left from right
            return {"image": image.astype("float32"), "label": rows["flooded"].to_numpy("uint8")}

        folder = tmp_path_factory.mktemp(sensor) / "store"
        metadata = {"coords": {"band": [f"c{k}" for k in range(1 + number)]}}
        found[sensor] = write_store(
            folder, sensor_table(number), arrays, "sequence", produce, {}, metadata, progress=False
        )
    return found


def make(stores, fusion="union", batch_size=2, sensors=("S1", "S2"), pad=None, **options):
    used = {sensor: stores[sensor] for sensor in sensors}
    tables = {sensor: store.table for sensor, store in used.items()}
    made = sequences.make(tables, fusion, place="sequence", label="flooded")
    channels = {sensor: tasks.select(store, range(len(store))) for sensor, store in used.items()}
    return Batches(SequenceSamples(used, made, channels, length=pad), batch_size, **options)


def length_of(batches, index):
    return batches[index][1].shape[1]


def test_the_parts_of_a_batch_are_as_long_as_the_longest_of_the_whole(stores):
    """Processes that train together could not put their parts into one batch."""
    batches = make(stores, "union", 4)
    whole = keras.tree.flatten(batches[0])
    parts = [keras.tree.flatten(batches.part(0, rank, 2, 2)) for rank in range(2)]
    for ours, theirs in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(ours), theirs)


def test_a_batch_holds_the_images_of_its_sequences(stores):
    batches = make(stores, "union", 2)
    inputs, labels, weights = batches[0]  # sequences a and b
    a, b = batches.samples.sequences[:2]
    length = length_of(batches, 0)
    assert length >= max(a.length, b.length)
    assert inputs["s1"].shape == (2, length, H, W, 1)
    assert inputs["s2"].shape == (2, length, H, W, 2)
    for sensor in ("S1", "S2"):
        key = sensor.lower()
        for place, line in enumerate((a, b)):
            for step in range(length):
                row = line.rows[sensor][step] if step < line.length else -1
                assert inputs[f"{key}_valid"][place, step] == (row >= 0)
                assert inputs[key][place, step, 0, 0, 0] == max(row, 0)
    assert labels.dtype == np.int32
    assert (labels[0, : a.length] == a.labels).all()
    assert weights.tolist() == [[1] * one.length + [0] * (length - one.length) for one in (a, b)]


def test_late_series_are_as_long_as_they_are(stores):
    inputs, labels, _ = make(stores, "late", 5)[0]
    assert inputs["s1"].shape[1] == 6
    assert inputs["s2"].shape[1] == 3
    assert labels.tolist() == [[1], [1], [1], [0], [1]]
    assert inputs["s2_valid"][2].sum() == 0  # sequence c has no optical image


def test_every_sequence_comes_once_an_epoch_with_others_of_its_length(stores):
    batches, again = (make(stores, "union", 2, seed=3, shuffle=True) for _ in range(2))
    orders = []
    for epoch in range(4):
        order = batches.at_epoch(epoch).order()
        assert sorted(np.concatenate(order)) == list(range(5))
        spread = [np.ptp(batches.samples.lengths[places]) for places in order]
        assert max(spread) <= 2
        orders.append([places.tolist() for places in order])
    assert orders[0] != orders[1]
    assert orders[2] == [places.tolist() for places in again.at_epoch(2).order()]


@pytest.mark.usefixtures("eager")
def test_the_validation_is_the_same_whatever_the_batches_and_the_padding(stores, tmp_path):
    """Each step that counts weighs the same: 0.4 at batch 1 was 0.08 with the padding to 80 steps."""
    image = keras.Input((None, H, W, 1), name="s1")
    start = keras.initializers.GlorotUniform(0)
    logits = keras.layers.Dense(2, kernel_initializer=start)(image[:, :, 0, 0] / 10)
    unread = {name: keras.Input((None,), name=name) for name in ("s1_valid", "s1_day")}
    net = keras.Model({"s1": image, **unread}, keras.layers.Activation("softmax")(logits))
    batches = [make(stores, "union", size, ("S1",), pad) for size, pad in ((1, None), (2, None), (7, 80))]
    found = [training_example.evaluate(net, one) for one in batches]
    costs, right = [], []
    for one in batches[0].samples.sequences:
        images = np.ones((1, one.length, H, W, 1), "float32") * one.rows["S1"][:, None, None, None]
        other = np.ones((1, one.length), "float32")
        p = keras.ops.convert_to_numpy(net({"s1": images, "s1_valid": other, "s1_day": other}))[0]
        costs += list(-np.log(p[np.arange(len(p)), one.labels]))
        right += list(p.argmax(-1) == one.labels)
    for one in found:
        assert one["loss"] == pytest.approx(np.mean(costs), rel=1e-5)
        assert one["accuracy"] == pytest.approx(np.mean(right))


@pytest.mark.slow
def test_a_batch_is_as_long_as_its_longest_sequence_also_where_the_first_two_are_alike(stores):
    """Keras on TensorFlow would take the shapes of all batches from the first two."""
    alike = 0
    for fusion in ("union", "pad", "late"):
        for seed in range(6):
            batches = make(stores, fusion, 2, seed=seed, shuffle=True)
            steps = [batches.samples.lengths[places].max() for places in batches.order()]
            alike += steps[0] == steps[1] != steps[2]
            if fusion == "union":
                assert [length_of(batches, index) for index in range(batches.num_batches)] == steps
            given = [(inputs["s1"].shape, labels.shape) for inputs, labels, _ in batches.stream()]
            own = [batches[index] for index in range(batches.num_batches)]
            assert given == [(inputs["s1"].shape, labels.shape) for inputs, labels, _ in own]
    assert alike
    single = make(stores, "union", 5)
    assert length_of(single, 0) == single.samples.lengths.max()


def test_a_fixed_length_pads_with_weight_nothing(stores):
    inputs, labels, weights = make(stores, "pad", 1, pad=9)[3]
    assert inputs["s1"].shape[1] == labels.shape[1] == weights.shape[1] == 9
    assert weights.sum() == 2
    assert inputs["s1_valid"].sum() == 2


def test_class_weights_count_where_there_is_a_step(stores):
    batches = make(stores, "union", 5, class_weights={0: 1.0, 1: 3.0})
    _, labels, weights = batches[0]
    steps = np.concatenate([line.labels for line in batches.samples.sequences])
    assert weights.sum() == (steps == 0).sum() + 3 * (steps == 1).sum()
    assert set(weights[labels == 1]) == {3.0}


def test_all_images_of_a_sequence_turn_alike(stores):
    plain, turned = (
        make(stores, batch_size=5),
        make(stores, batch_size=5, augment=augment.build(["d4"]), seed=1),
    )
    one, other = plain[0][0]["s1"], turned[0][0]["s1"]
    assert not np.array_equal(one, other)
    mirrored = [np.allclose(one[k, :, :, ::-1], other[k]) for k in range(5)]
    same = [np.allclose(one[k], other[k]) for k in range(5)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert any(mirrored)
    np.testing.assert_array_equal(turned[0][0]["s1"], other)  # the draw belongs to seed, epoch and batch


def test_one_sensor_alone(stores):
    inputs, _, _ = make(stores, sensors=("S2",))[0]
    assert set(inputs) == {"s2", "s2_valid", "s2_day"}


def test_nothing_to_batch_is_refused(stores):
    with pytest.raises(ParameterError, match="got 0 and 1"):
        Batches(SequenceSamples(stores, [], {}), 1)
    with pytest.raises(IndexError):
        make(stores)[9]
