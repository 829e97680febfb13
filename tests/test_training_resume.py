"""A training that is killed goes on to the same end."""

import numpy as np
import pandas as pd
import pytest
import training_example as example

from eolab.core.errors import RunError
from eolab.training.checkpoint import Checkpoint

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


def test_interrupted_training_ends_as_the_unbroken_one(tmp_path, whole):
    for epoch in (0, 2, 4):  # the second one is interrupted again
        with pytest.raises(KeyboardInterrupt):
            example.fit(tmp_path, callbacks=[example.StopAt(epoch, 5, interrupt)])
        assert not (tmp_path / "history.csv").exists() or len(history_of(tmp_path)) == epoch
    net, history = example.fit(tmp_path)
    assert history.attrs["resumed_at"] == 4
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


def test_damaged_checkpoint_is_one_sentence(tmp_path):
    example.fit(tmp_path, epochs=2)
    (tmp_path / "checkpoint" / "state.npz").write_bytes(b"PK damaged")
    with pytest.raises(RunError, match=r"cannot be read .*resume=False"):
        example.fit(tmp_path, epochs=2)


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
    pairs = [(ends[0][1][group], ends[1][1][group]) for group in ("model", "optimizer")]
    for whole, stopped in [*pairs, best]:
        for ours, theirs in zip(whole, stopped, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
