"""Batches of a store: their order, weights and contents, and that Keras sees exactly them."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import store_example
from store_example import BANDS, SAMPLES, TIMES, write

from eolab import tasks
from eolab.core.errors import ParameterError, StoreError
from eolab.data.store import ArraySpec, days, with_day
from eolab.tasks.fitted import _of_rows
from eolab.training import augment
from eolab.training.batches import Batches, StoreSamples


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write(tmp_path_factory.mktemp("batches") / "store")


def batches_of(store, rows=None, batch_size=256, **options) -> Batches:
    reading = ("inputs", "in_memory", "memory_budget", "channels")
    samples = StoreSamples(store, rows, **{name: options.pop(name) for name in reading if name in options})
    return Batches(samples, batch_size, **options)


def seen(batches) -> list[int]:
    """Return the sample numbers of an epoch, read from the images (sample n is normal around n)."""
    everything = batches.samples.store.arrays["image"]
    lookup = {everything[row].tobytes(): row for row in range(len(batches.samples.store))}
    return [lookup[image.tobytes()] for n in range(batches.num_batches) for image in batches[n][0]["image"]]


@pytest.mark.parametrize("in_memory", [True, False])
def test_shuffled_batches_have_one_size_and_pass_after_pass_follows_in_an_order_of_seed_and_epoch(
    store, in_memory
):
    rows = np.arange(SAMPLES)[::-1][:33]

    def order(seed, epoch):
        made = batches_of(store, rows, 8, seed=seed, shuffle=True, in_memory=in_memory)
        return seen(made.at_epoch(epoch))

    first = order(0, 0)
    assert len(first) == 40  # five batches of 8; a last one of 1 would spoil batch normalisation
    together = np.concatenate([order(0, epoch) for epoch in range(33)]).reshape(40, 33)
    assert (np.sort(together) == np.sort(rows)).all()  # each pass has each row once
    assert first == order(0, 0)
    assert sorted(seen(batches_of(store, rows, 64, shuffle=True, in_memory=in_memory))) == sorted(rows)
    assert len({tuple(order(*key)) for key in [(0, 0), (0, 1), (1, 0), (1, 1)]}) == 4
    going = batches_of(store, rows, 8, seed=0, shuffle=True, in_memory=in_memory)
    unbroken = [seen(going.at_epoch(epoch)) for epoch in range(3)]
    assert unbroken == [order(0, epoch) for epoch in range(3)]


def test_on_tensorflow_shuffled_batches_have_axes_of_known_length(store):
    """A graph that does not know how many samples it gets trains an LSTM 5 to 10 % slower."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends read NumPy arrays")
    shapes = [
        batches_of(store, np.arange(33), 8, shuffle=shuffle).stream().element_spec[1].shape[0]
        for shuffle in (True, False)
    ]
    assert shapes == [8, None]


def test_without_shuffling_rows_come_as_given(store):
    rows = [7, 3, 3, 20]
    for epoch in (0, 5):
        assert seen(batches_of(store, rows, 3).at_epoch(epoch)) == rows
    mask = np.arange(SAMPLES) < 3
    assert seen(batches_of(store, mask)) == [0, 1, 2]


def test_a_batch_is_what_models_take(store):
    batches = batches_of(store, batch_size=16)
    assert [len(batches[n][1]) for n in range(batches.num_batches)] == [16, 16, 8]
    inputs, label, weight = batches[0]
    shapes = {name: (values.shape, values.dtype.name) for name, values in inputs.items()}
    assert shapes == {
        "image": ((16, TIMES, BANDS), "float32"),
        "valid": ((16, TIMES), "bool"),
        "day": ((16, TIMES), "float32"),
    }
    assert inputs["day"][3].tolist() == [0, 31, 60, 91, 121]  # 2020 is a leap year
    assert (label.dtype, weight.dtype) == (np.int32, np.float32)
    assert label.tolist() == (store.table["number"][:16] % 2).tolist()
    with pytest.raises(IndexError):
        batches[3]


def test_days_count_from_january_of_the_first_year(tmp_path):
    dates = ["2019-11-01", "2019-12-31", "2020-01-01", "2020-01-02T12:00:00", "2021-01-01"]
    expected = [304, 364, 365, 366.5, 731]
    store = write(tmp_path / "s", metadata={"coords": {"time": dates}})
    assert batches_of(store)[0][0]["day"][0].tolist() == expected
    assert days(store.time).tolist() == days(dates).tolist() == expected


@pytest.mark.parametrize("in_memory", [True, False])
def test_samples_with_days_of_their_own_have_those_in_batches_and_predictions(tmp_path, in_memory):
    """Rows of several years have other dates each; the dates of the time axis are of one of them."""
    spec = store_example.ARRAYS | {"day": ArraySpec(("time",), (TIMES,), "int16", nan="forbid")}

    def produce(rows):
        day = 10 * np.arange(TIMES) + rows["number"].to_numpy()[:, None]
        return store_example.produce(rows) | {"day": day.astype(np.int16)}

    store = write(tmp_path / "s", arrays=spec, produce=produce)
    rows = np.array([7, 3, 3, 20])
    expected = 10 * np.arange(TIMES) + store.table["number"].to_numpy()[rows, None]
    inputs, *_ = batches_of(store, rows, in_memory=in_memory)[0]
    read = tasks.read(store, rows)
    network = SimpleNamespace(task=SimpleNamespace(heads=[""]), arrays=["image", "valid"], predict=dict)
    predicted = np.concatenate([found["day"] for _, found in _of_rows(network, store, rows, 3, False)])
    for day in (inputs["day"], read["day"], predicted):
        np.testing.assert_array_equal(day, expected)
        assert day.dtype == np.float32
    assert set(inputs) == set(read) == {"image", "valid", "day"}
    with pytest.raises(StoreError, match="have days of their own: gather the array 'day' too"):
        with_day(store, store.gather(rows, ["image", "valid"]))


def test_weights_follow_class_and_ignored_pixels_weigh_nothing(tmp_path):
    maps = np.array([[[0, 1], [2, 255]], [[255, 255], [1, 1]]], np.uint8)
    store = write(
        tmp_path / "s",
        table=pd.DataFrame({"id": range(2)}),
        arrays={
            "image": ArraySpec(("y", "x", "band"), (2, 2, 1)),
            "label": ArraySpec(("y", "x"), (2, 2), "u1"),
        },
        parts=[slice(0, 2)],
        produce=lambda rows: {"image": np.zeros((2, 2, 2, 1), "f4"), "label": maps},
        metadata={},
    )
    for weights in ([1.0, 3.0, 0.5], {1: 3.0, 2: 0.5}, np.array([1, 3, 0.5])):
        inputs, label, weight = batches_of(store, class_weights=weights, inputs=["image"])[0]
        assert list(inputs) == ["image"]
        assert label.tolist() == [[[0, 1], [2, 0]], [[0, 0], [1, 1]]]
        assert weight.tolist() == [[[1, 3], [0.5, 0]], [[0, 0], [3, 3]]]


@pytest.mark.parametrize(("size", "steps"), [(3, 2), (3, 4), (3, 9), (16, 1), (16, 5)])
def test_epochs_of_some_steps_go_on_through_the_passes_that_epochs_of_one_pass_have(store, size, steps):
    """So trainings of few and of many samples take as many steps an epoch, and miss no sample."""
    rows, options = np.arange(10), {"seed": 3, "shuffle": True}
    short = batches_of(store, rows, size, steps=steps, **options)
    assert short.num_batches == steps
    found = [batch.tolist() for epoch in range(6) for batch in short.at_epoch(epoch).order()]
    whole = batches_of(store, rows, size, **options)
    passes = [batch.tolist() for epoch in range(6 * steps) for batch in whole.at_epoch(epoch).order()]
    assert found == passes[: 6 * steps]
    again = batches_of(store, rows, size, steps=steps, **options).at_epoch(4).order()
    assert [batch.tolist() for batch in again] == found[4 * steps : 5 * steps]


def test_the_weight_of_a_sample_is_multiplied_with_that_of_its_class(store):
    rows, own = np.arange(12), np.linspace(0.1, 1, 12).astype(np.float32)
    batches = batches_of(store, rows, 5, seed=1, shuffle=True, class_weights={1: 3}, sample_weights=own)
    for n in range(batches.num_batches):
        _, label, weight = batches[n]
        np.testing.assert_allclose(weight, np.where(label == 1, 3, 1) * own[batches.order()[n]])
    plain = batches_of(store, rows, 5, seed=1, shuffle=True, class_weights={1: 3})
    assert "sample_weights" not in plain.facts()
    assert batches.facts() != batches_of(store, rows, 5, sample_weights=own[::-1].copy()).facts()


def test_the_weight_of_an_image_is_that_of_all_its_pixels(patches):
    own = np.linspace(1, 2, len(patches)).astype(np.float32)
    reading = {"batch_size": 4, "inputs": ["image"]}
    plain, weighed = (batches_of(patches, **reading, **more)[0][2] for more in ({}, {"sample_weights": own}))
    assert plain.ndim == 3
    np.testing.assert_allclose(weighed, plain * own[:4, None, None])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"sample_weights": np.ones(3)},
            r"sample_weights has the shape \(3,\): expected one a sample, \(40,\)",
        ),
        (
            {"sample_weights": np.ones(40), "ignore": "keep"},
            "leave class_weights out, and sample_weights, or",
        ),
    ],
)
def test_weights_of_samples_that_cannot_be_are_refused(store, options, said):
    with pytest.raises(ParameterError, match=said):
        batches_of(store, **options)


def test_memory_is_used_where_the_rows_fit(store):
    rows = np.arange(10)
    size = 10 * (TIMES * BANDS * 4 + TIMES + 1)
    assert batches_of(store, rows, memory_budget=size).samples.data is not None
    assert batches_of(store, rows, memory_budget=size - 1).samples.data is None


def test_no_samples_is_an_error(store):
    with pytest.raises(ParameterError, match="got 0 and 8"):
        batches_of(store, [], 8)


# === Patches and masks ===


def write_patches(folder):
    """Twelve patches whose second channel is the mask; 255 occurs."""
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 1, 255], np.uint8), (12, 8, 8), p=[0.7, 0.2, 0.1])
    images = np.stack([rng.normal(size=masks.shape), masks], axis=-1).astype("f4")
    return write(
        folder,
        table=pd.DataFrame({"id": range(12)}),
        arrays={
            "image": ArraySpec(("y", "x", "band"), (8, 8, 2)),
            "label": ArraySpec(("y", "x"), (8, 8), "u1"),
        },
        parts=[slice(0, 12)],
        produce=lambda rows: {"image": images[rows["id"]], "label": masks[rows["id"]]},
        metadata={},
    )


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return write_patches(tmp_path_factory.mktemp("patches") / "store")


def augmented(store, **options):
    change = augment.build(["rotate", "flip", "cutmix"])
    given = {"seed": 2, "shuffle": True, "inputs": ["image"], "augment": change, "ignore": "keep"} | options
    return batches_of(store, None, 5, **given)


def epochs_of(batches, epochs) -> list[np.ndarray]:
    """Images and masks of some epochs, batch after batch."""
    found = []
    for epoch in epochs:
        batches.at_epoch(epoch)
        for n in range(batches.num_batches):
            inputs, label = batches[n]
            found += [inputs["image"], label]
    return found


@pytest.mark.parametrize("in_memory", [True, False])
def test_augmented_batches_are_the_same_after_a_resume_and_new_in_each_epoch(patches, in_memory):
    unbroken = epochs_of(augmented(patches, in_memory=in_memory), range(4))
    resumed = epochs_of(augmented(patches, in_memory=in_memory), range(2, 4))
    for a, b in zip(unbroken[len(resumed) :], resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    backwards = augmented(patches, in_memory=in_memory).at_epoch(3)
    np.testing.assert_array_equal(backwards[2][0]["image"], unbroken[-2])  # whatever was drawn before
    contents = {image.tobytes() for image in unbroken[::2]}
    assert len(contents) == len(unbroken) // 2
    other = epochs_of(augmented(patches, in_memory=in_memory, seed=3, shuffle=False), [0])
    alike = epochs_of(augmented(patches, in_memory=in_memory, seed=2, shuffle=False), [0])
    assert not np.array_equal(other[0], alike[0])


@pytest.mark.parametrize("in_memory", [True, False])
def test_augmentation_moves_image_and_mask_and_leaves_the_store_as_it_is(patches, in_memory):
    before = patches.gather(np.arange(12))
    batches = augmented(patches, in_memory=in_memory)
    found = epochs_of(batches, range(3))
    for image, label in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_array_equal(image[..., 1], label)
    after = patches.gather(np.arange(12))
    held = batches.samples.data if in_memory else after
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])
        np.testing.assert_array_equal(held[name], before[name])


def test_a_batch_is_prepared_before_it_is_augmented(patches):
    seen_by_augment = []

    def watch(inputs, label, rng):
        seen_by_augment.append(inputs["image"].shape)
        return inputs, label

    class First:
        name = "first"

        def assemble(self, image):
            return image[..., :1]

    options = {"inputs": ["image"], "channels": {"image": First()}, "augment": watch}
    batches = batches_of(patches, None, 12, **options)
    assert batches.facts()["prepare"] == "image: first"
    assert batches[0][0]["image"].shape == (12, 8, 8, 1)
    assert seen_by_augment == [(12, 8, 8, 1)]


def halves(label):
    return {"mask": label, "patch": label[:, 0, 0]}


def test_targets_by_output_have_weights_or_keep_the_ignored_label(patches):
    masks = patches.gather(np.arange(12), ["label"])["label"]
    options = {"inputs": ["image"], "targets": halves}
    _, labels = batches_of(patches, None, 12, ignore="keep", **options)[0]
    np.testing.assert_array_equal(labels["mask"], masks)
    np.testing.assert_array_equal(labels["patch"], masks[:, 0, 0])
    assert {values.dtype.name for values in labels.values()} == {"int32"}
    _, labels, weights = batches_of(patches, None, 12, class_weights=[1, 4], **options)[0]
    expected = np.where(masks == 255, 0, np.where(masks == 1, 4, 1))
    np.testing.assert_array_equal(weights["mask"], expected)
    np.testing.assert_array_equal(weights["patch"], expected[:, 0, 0])
    np.testing.assert_array_equal(labels["mask"], np.where(masks == 255, 0, masks))


def test_ignore_is_weight_keep_or_none(patches):
    with pytest.raises(ParameterError, match="'kept': did you mean 'keep'"):
        batches_of(patches, inputs=["image"], ignore="kept")
    for ignore in ("keep", "none"):
        with pytest.raises(ParameterError, match=f"'{ignore}' have no weights: leave class_weights out"):
            batches_of(patches, inputs=["image"], ignore=ignore, class_weights=[1, 2])


@pytest.mark.parametrize("in_memory", [True, False])
def test_labels_that_are_no_indices_are_given_as_they_are(patches, in_memory):
    held = patches.gather(np.arange(12), ["label"])["label"][:, 0]  # (12, 8) of 0, 1 and 255
    options = {"inputs": ["image"], "ignore": "none", "in_memory": in_memory}
    _, labels = batches_of(patches, None, 12, targets=lambda label: label[:, 0], **options)[0]
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, held)
    half = batches_of(
        patches, None, 12, augment=lambda inputs, label, rng: (inputs, np.float32(label) / 2), **options
    )
    assert half[0][1].dtype == np.float32
    np.testing.assert_array_equal(half[0][1][:, 0], held / 2)


# === Keras ===


class Recorder(keras.layers.Layer):
    """Sums all images it is trained on, weighted by their order, so that a changed order changes the sum."""

    def build(self, shape):
        self.sum = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, image):
        mean = keras.ops.mean(keras.ops.nan_to_num(image))
        self.sum.assign(0.9 * self.sum + mean)
        return keras.ops.nan_to_num(image)[:, 0, :1]


def recorder() -> keras.Model:
    inputs = {
        "image": keras.Input((TIMES, BANDS), name="image"),
        "valid": keras.Input((TIMES,), name="valid", dtype="bool"),
        "day": keras.Input((TIMES,), name="day"),
    }
    output = keras.layers.Dense(2, activation="softmax")(Recorder(name="recorder")(inputs["image"]))
    model = keras.Model(inputs, output)
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    return model


def expected_sum(store, epochs) -> float:
    total = 0.0
    batches = batches_of(store, batch_size=16, seed=3, shuffle=True)
    for epoch in epochs:
        batches.at_epoch(epoch)
        for n in range(batches.num_batches):
            total = 0.9 * total + np.nan_to_num(batches[n][0]["image"]).mean()
    return total


@pytest.mark.parametrize("epochs", [range(0, 3), range(2, 4)])
def test_fit_sees_each_epoch_in_its_order(store, epochs):
    batches = batches_of(store, batch_size=16, seed=3, shuffle=True)
    model = recorder()
    epoch = {"initial_epoch": epochs.start, "epochs": epochs.stop}
    model.fit(batches.stream(), **epoch, callbacks=[batches.callback], shuffle=False, verbose=0)
    found = float(keras.ops.convert_to_numpy(model.get_layer("recorder").sum))
    assert found == pytest.approx(expected_sum(store, epochs), rel=1e-5)
    assert found != pytest.approx(expected_sum(store, [0] * len(epochs)), rel=1e-5)


class Lengths:
    """Series that get longer."""

    lengths = np.array([2, 2, 3, 5])

    def __len__(self):
        return len(self.lengths)

    def read(self, positions):
        steps = self.lengths[positions].max()
        return {"s1": np.zeros((len(positions), steps, 4), "float32")}, np.ones((len(positions), steps), int)


def test_longer_series_may_follow_those_of_the_first_batches():
    found = [(inputs["s1"].shape, labels.shape) for inputs, labels, _ in Batches(Lengths(), 1).stream()]
    assert found == [((1, steps, 4), (1, steps)) for steps in Lengths.lengths]


def test_a_pass_is_not_tuned_and_so_ends_without_a_wait(store):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow's tuning")
    data = batches_of(store, batch_size=16).stream()
    assert data.options().autotune.enabled is False
    assert int(data.cardinality()) == 3


def test_batches_enter_tensorflow_in_the_types_of_the_first(store):
    """Regression: an augmentation that gave other types in some batches ended the training."""

    def augment(inputs, label, rng):
        return (inputs if rng.random() < 0.5 else {k: v.astype(float) for k, v in inputs.items()}), label

    data = batches_of(store, batch_size=2, augment=augment)
    assert len({inputs["image"].dtype for inputs, *_ in (data[k] for k in range(data.num_batches))}) == 2
    first = data[0][0]["image"].dtype.name
    assert {inputs["image"].dtype.name for inputs, *_ in data.stream()} == {first}
