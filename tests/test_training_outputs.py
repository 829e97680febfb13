"""Training of models with outputs by name: losses, metrics, the names of columns, labels and weights."""

import keras
import numpy as np
import pandas as pd
import pytest
import training_example as example

from eolab import training
from eolab.core.errors import ParameterError, RunError
from eolab.training import batches, losses, outputs

pytestmark = pytest.mark.slow  # trains networks

F1 = {"mask": [losses.PooledScore("f1")]}


def expected(net, data, output, loss):
    """Loss and F1 of an output, from the predictions."""
    p = keras.ops.convert_to_numpy(net(data[0], training=False)[output])
    score = losses.PooledScore("f1")
    score.update_state(data[1][output], p)
    return float(losses.build(loss)(data[1][output], p)), float(score.result())


@pytest.mark.usefixtures("eager")
def test_columns_are_called_by_output_and_hold_its_values(tmp_path):
    by_output = {"mask": {"focal": 0.5, "iou": 0.5}, "patch": "ce", "fine": "log_cosh"}
    scores = {"mask": losses.PooledScore("f1"), "fine": [losses.PooledScore("f1"), losses.PooledScore("iou")]}
    net, history = example.fit_masks(
        tmp_path, *by_output, loss=by_output, metrics=scores, epochs=1, batch_size=24, monitor="val_mask_f1"
    )
    row, data = history.iloc[-1], example.masks(1)
    assert {c for c in history if c.startswith("val_")} == {
        *("val_loss", "val_mask_loss", "val_patch_loss", "val_fine_loss"),
        *("val_mask_f1", "val_fine_f1", "val_fine_iou"),
    }
    for output, loss in by_output.items():
        found = expected(net, data, output, loss)
        assert row[f"val_{output}_loss"] == pytest.approx(found[0], rel=1e-4)
        if output in scores:
            assert row[f"val_{output}_f1"] == pytest.approx(found[1], rel=1e-5)
    assert row["val_loss"] == pytest.approx(sum(row[f"val_{output}_loss"] for output in by_output), rel=1e-5)


def test_a_single_output_is_called_like_one_of_several(tmp_path):
    score = losses.PooledScore("f1")
    net, history = example.fit_masks(
        tmp_path, loss="iou", metrics=[score], epochs=12, monitor="val_mask_f1", learning_rate=0.05
    )
    assert list(history.columns[1:5]) == ["loss", "mask_f1", "val_loss", "val_mask_f1"]
    assert score.name == "f1"  # the caller's own is left alone
    assert history.attrs["best_epoch"] == history["val_mask_f1"].argmax() + 1
    assert history["val_mask_f1"].max() > 0.5  # it learns
    found = expected(net, example.masks(1), "mask", "iou")[1]
    assert found == pytest.approx(history["val_mask_f1"].max(), abs=1e-6)
    net.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert expected(again, example.masks(1), "mask", "iou")[1] == pytest.approx(found, abs=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_one_loss_and_the_default_hold_for_every_output(tmp_path):
    defaults = example.fit_masks(tmp_path / "a", "mask", "patch", epochs=1)[1]
    named = example.fit_masks(tmp_path / "b", "mask", "patch", epochs=1, loss="ce")[1]
    assert {"val_mask_accuracy", "val_patch_accuracy", "val_mask_loss"} <= set(defaults)
    columns = [column for column in defaults if column != "seconds"]
    pd.testing.assert_frame_equal(defaults[columns], named[columns], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_weights_by_output_leave_out_what_label_255_leaves_out(tmp_path):
    samples = example.ArraySamples(*example.labels(example.masks(), "mask", "patch"))
    rows = []
    for ignore in ("keep", "weight"):
        data = batches.Batches(samples, 24, ignore=ignore)
        net = example.mask_model("mask", "patch")
        history = training.fit(
            net, data, data, folder=tmp_path / ignore, epochs=2, loss="ce", metrics=F1, progress=False
        )
        rows.append(history.drop(columns="seconds"))
    pd.testing.assert_frame_equal(*rows, rtol=1e-4)


def test_a_plain_output_takes_a_text_and_plain_labels_with_weights(tmp_path):
    options = {
        "loss": {"focal": {"gamma": 1}},
        "metrics": [losses.PooledScore("f1", class_index=2)],
        "epochs": 3,
    }
    _, history = example.fit(tmp_path, **options, monitor="val_f1")
    assert {"f1", "val_f1", "loss"} <= set(history)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_part_without_loss_is_no_part(tmp_path):
    net, history = example.fit_masks(tmp_path, "mask", "patch", loss={"mask": "ce"}, metrics=F1, epochs=1)
    found = expected(net, example.masks(1), "mask", "ce")[0]
    assert history["val_loss"].iloc[-1] == pytest.approx(found, rel=0.05)  # a mean over batches


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adagrad", "nadam", "sgd", "rmsprop", "lamb"])
@pytest.mark.usefixtures("eager")
def test_every_optimizer_of_the_studies_learns(tmp_path, name):
    image = keras.Input((8, 8, 3), name="image")
    net = keras.Model({"image": image}, {"mask": keras.layers.Dense(2, activation="softmax")(image)})
    _, history = example.fit_masks(
        tmp_path, net=net, optimizer=name, learning_rate=0.05, clipnorm=1.0, epochs=2
    )
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"maks": "ce"}}, "no output 'maks' for a loss: did you mean 'mask'"),
        ({"metrics": {"pach": []}}, "no output 'pach' for a metric"),
        ({"loss": "focl"}, "did you mean 'focal'"),
        ({"ema": 1.0}, "ema must be between 0 and 1, such as 0.99"),
        (
            {"monitor": "val_mask_f2", "loss": "ce"},
            "no 'val_mask_f2' to monitor: .*val_mask_accuracy",
        ),
    ],
)
@pytest.mark.usefixtures("eager")
def test_impossible_parameters_are_refused(tmp_path, options, message):
    with pytest.raises(ParameterError, match=message):
        example.fit_masks(tmp_path, epochs=1, **options)


@pytest.mark.usefixtures("eager")
def test_a_checkpoint_of_another_loss_or_augmentation_is_refused(tmp_path):
    example.fit_masks(tmp_path, epochs=1, loss="ce")
    with pytest.raises(RunError, match=r"begun with loss ce\(\) \(now focal\(gamma=2, alpha=0.25\)\)"):
        example.fit_masks(tmp_path, epochs=1, loss="focal")
    with pytest.raises(RunError, match=r"begun with ema None \(now 0.5\)"):
        example.fit_masks(tmp_path, epochs=1, loss="ce", ema=0.5)
    assert outputs.described({"a": losses.build("iou"), "b": "ce"}) == {
        "a": "iou(form=log, smooth=1, background=False)",
        "b": "ce()",
    }
    assert (
        outputs.described({"ce": 1, "iou": 0.5}) == "1*ce() + 0.5*iou(form=log, smooth=1, background=False)"
    )
    sparse = keras.losses.SparseCategoricalCrossentropy
    assert outputs.described(sparse()) != outputs.described(sparse(from_logits=True))


def test_the_facts_of_the_data_name_its_functions():
    from functools import partial

    class Rotate:
        name = "rotate+flip"

    def half(label, head="mask"):
        return label

    samples = example.ArraySamples({"image": np.zeros((6, 2))}, np.zeros(6))
    plain = batches.Batches(samples, 2).facts()
    change = batches.Batches(samples, 2, augment=Rotate(), targets=partial(half, head="multi"))
    found = change.facts()
    assert found["augment"] == "rotate+flip"
    assert found["targets"].endswith("half(head=multi)")
    assert not {"augment", "targets", "prepare"} & set(plain)
    assert plain["batches"] == 3
