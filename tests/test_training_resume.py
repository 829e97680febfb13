"""A training that is killed goes on to the same end."""

import numpy as np
import pandas as pd
import pytest
import training_example as example

from eolab.core.errors import RunError, Stopped
from eolab.training import fitting, live
from eolab.training.checkpoint import Checkpoint, Progress

pytestmark = pytest.mark.slow  # trains networks

SECONDS = "seconds"


def interrupt():
    raise KeyboardInterrupt


def variables(net):
    return [np.array(variable) for variable in net.variables]


def history_of(folder):
    return pd.read_csv(folder / "history.csv").drop(columns=SECONDS)


def assert_same(folder, whole):
    pd.testing.assert_frame_equal(history_of(folder), history_of(whole), rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    net, _ = example.fit(folder)
    return folder, variables(net)


def test_interrupted_training_ends_as_the_unbroken_one(tmp_path, whole, monkeypatch, capsys):
    """In a batch an epoch is a line, in a notebook a table goes on."""
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    for epoch in (0, 2, 4):  # the second one is interrupted again
        said = f"epochs 1 to {epoch} of 5 are kept.*goes on" if epoch else "to begin anew"
        with pytest.raises(Stopped, match=f"^Training was stopped.*{said}"):
            example.fit(tmp_path, callbacks=[example.StopAt(epoch, 5, interrupt)])
        assert not (tmp_path / "history.csv").exists() or len(history_of(tmp_path)) == epoch
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", ")[0] for line in lines] == [f"epoch {n}/5" for n in (1, 2, 3, 4)]
    assert all("val_loss" in line for line in lines)
    monkeypatch.setattr(fitting, "in_notebook", lambda: True)
    monkeypatch.setattr(fitting, "headless", lambda: False)
    shown: list[str] = []
    monkeypatch.setattr(live.InPlace, "show", lambda _, text, markup="": shown.append(text + markup))
    net, history = example.fit(tmp_path)
    assert history.attrs["resumed_at"] == 4
    assert shown[0].startswith("epoch 5 of 5, step 1 of ")
    assert shown[-1].startswith("epoch 5 of 5, loss 1.")
    assert ["<svg" in text for text in (shown[0], shown[-1])] == [True, False]
    assert_same(tmp_path, whole[0])
    for ours, theirs in zip(variables(net), whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_finished_training_is_not_repeated(tmp_path, whole):
    _, first = example.fit(tmp_path, epochs=2)
    net, again = example.fit(tmp_path, epochs=2, callbacks=[example.StopAt(0, 0, interrupt)])
    pd.testing.assert_frame_equal(first, again)
    assert again.attrs["resumed_at"] == 2
    best = np.load(next((tmp_path / "checkpoint").glob("best-*.npz")))
    np.testing.assert_array_equal(best["model/00000"], np.array(net.variables[0]))


def test_checkpoint_of_other_parameters_is_refused(tmp_path):
    example.fit(tmp_path, epochs=2)
    with pytest.raises(
        RunError, match=r"epochs 2 \(now 3\), learning_rate 0\.005 \(now 0\.1\).*resume=False"
    ):
        example.fit(tmp_path, epochs=3, learning_rate=0.1)
    _, history = example.fit(tmp_path, epochs=2, learning_rate=0.1, resume=False)
    assert len(history) == 2


def test_a_checkpoint_of_another_network_with_the_same_shapes_is_refused(tmp_path):
    """A dense layer went on with the weights of another kind of layer."""
    small_state(tmp_path, 3, settings={"layers": ["InputLayer", "LSTM"] * 99, "model": [[3]]})
    same = {"layers": ["InputLayer", "LSTM"] * 99, "model": [[3]]}
    assert Checkpoint(tmp_path).load(same)
    with pytest.raises(
        RunError, match=r"begun with layers .{200}… \(now .{9,99}LSTM.*: start anew"
    ) as refused:
        Checkpoint(tmp_path).load(same | {"layers": ["InputLayer", "GRU", "LSTM"]})
    assert len(str(refused.value)) < 700
    small_state(tmp_path / "before", 3, settings={"model": [[3]]})
    assert Checkpoint(tmp_path / "before").load(same)


def test_a_damaged_checkpoint_is_set_aside_and_training_goes_on_from_the_one_before(tmp_path, whole, capsys):
    """It was a BadZipFile, on every repeat."""
    with pytest.raises(KeyboardInterrupt):
        example.fit(tmp_path, callbacks=[example.StopAt(3, 4, interrupt)])
    state = tmp_path / "checkpoint" / "state.npz"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    net, history = example.fit(tmp_path)
    assert history.attrs["resumed_at"] == 2
    assert "cannot be read" in capsys.readouterr().out
    assert (tmp_path / "checkpoint" / "state.npz.damaged").exists()
    assert_same(tmp_path, whole[0])
    for ours, theirs in zip(variables(net), whole[1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def small_state(folder, epochs, finished=False, settings=None):
    """Save states of a training by hand, of two weights each; return their checkpoint."""
    found = Checkpoint(folder)
    for epoch in range(1, epochs + 1):
        progress = Progress({"epochs": epochs} | (settings or {}), [{"epoch": float(epoch)}] * epoch, epoch)
        progress.finished = finished and epoch == epochs
        arrays = {"model": [np.full(1000, epoch)], "optimizer": [np.full(2000, epoch)]}
        found.save(progress, arrays, [np.full(1000, epoch)])
    return found


@pytest.mark.parametrize("damage", ["nothing", "cut", "flipped", "text", "best"])
def test_a_checkpoint_damaged_in_any_way_gives_way_to_the_one_before(tmp_path, damage):
    found = small_state(tmp_path, 3)
    file = tmp_path / ("best-00003.npz" if damage == "best" else "state.npz")
    content = bytearray(file.read_bytes())
    content[5000] ^= 255
    damaged = {"nothing": b"", "cut": content[:4000], "text": b"PK damaged"}
    file.write_bytes(damaged.get(damage, content))
    progress, arrays = found.load({"epochs": 3})
    assert (len(progress.history), arrays["optimizer"][0][0]) == (2, 2)
    assert found.best(progress)[0][0] == 2
    for file in tmp_path.glob("state*.npz"):
        file.write_bytes(b"")
    assert found.load({"epochs": 3}) is None, "training starts anew"


def test_a_finished_training_keeps_its_best_weights_alone(tmp_path):
    """The optimizer's variables stayed, 687 MB of a large network."""
    small_state(tmp_path / "half", 3)
    found = small_state(tmp_path / "whole", 3, finished=True)
    assert sorted(p.name for p in found.folder.iterdir()) == ["best-00003.npz", "state.npz"]
    assert (found.folder / "state.npz").stat().st_size < 2000
    assert (tmp_path / "half" / "state.npz").stat().st_size > 24_000
    progress, arrays = Checkpoint(found.folder).load({"epochs": 3})
    assert progress.finished
    assert arrays["model"][0][0] == 3


def test_a_finished_training_takes_the_disk_of_its_weights_alone(whole):
    folder, weights = whole
    files = [file.stat().st_size for file in (folder / "checkpoint").iterdir()]
    headers = 500 * len(weights) + 5_000  # one for each array, and the settings
    assert sum(files) < sum(values.nbytes for values in weights) + headers


def test_kill_between_best_weights_and_state_keeps_a_pair(tmp_path, monkeypatch):
    """The best weights of epoch 2 are on disk, its state is not: epoch 1's pair must still be whole."""
    from eolab.training import checkpoint

    write, states = checkpoint.write_atomically, []

    def stops(path, content):
        if path.name == checkpoint.STATE_FILE:
            states.append(path)
            if len(states) == 2:
                raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", stops)
    with pytest.raises(KeyboardInterrupt):
        example.fit(tmp_path, epochs=2)
    found = Checkpoint(tmp_path / "checkpoint")
    names = sorted(p.name for p in found.folder.glob("best-*"))
    assert names == ["best-00001.npz", "best-00002.npz"]
    progress, _ = found.load({})
    assert progress.best_epoch == 1
    assert len(found.best(progress)) > 5


def test_stopped_training_with_averages_on_a_store_resumes(tmp_path, monkeypatch, capsys):
    """Stopped within an epoch; killed in a process of its own: test_study_flood."""
    from eolab.data.store import ArraySpec, write_store

    inputs, label = example.arrays()
    content = {**inputs, "label": label}
    specs = {
        "image": ArraySpec(("time", "band"), (example.TIMES, example.BANDS), "float32", {}),
        "valid": ArraySpec(("time",), (example.TIMES,), "bool", {}),
        "label": ArraySpec((), (), "uint8", {}),
    }
    table = pd.DataFrame({"id": range(example.SAMPLES), "part": 0})
    write_store(
        tmp_path / "store",
        table,
        specs,
        "part",
        lambda rows: {name: values[rows["id"]] for name, values in content.items()},
        fingerprint={},
        metadata={},
        progress=False,
    )
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    with pytest.raises(KeyboardInterrupt):
        example.fit_stored(tmp_path / "stopped", tmp_path / "store", 0.9, [example.StopAt(3, 4, interrupt)])
    assert len(history_of(tmp_path / "stopped")) == 3
    for folder, left in {"whole": 5, "stopped": 2}.items():
        capsys.readouterr()
        example.fit_stored(tmp_path / folder, tmp_path / "store", 0.9)
        lines = capsys.readouterr().out.splitlines()
        assert [line[:6] for line in lines] == ["epoch "] * left  # nothing but a line an epoch
    assert_same(tmp_path / "stopped", tmp_path / "whole")
    checkpoints = [Checkpoint(tmp_path / f / "checkpoint") for f in ("whole", "stopped")]
    ends = [checkpoint.load({}) for checkpoint in checkpoints]
    best = [checkpoint.best(end[0]) for checkpoint, end in zip(checkpoints, ends, strict=True)]
    for whole, stopped in [[end[1]["model"] for end in ends], best]:
        for ours, theirs in zip(whole, stopped, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
