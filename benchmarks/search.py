"""What `eolab tune` finds against random search, for the same number of epochs.

The space is that of the search `lstm` of the land-cover study. Each trial trains the study's LSTM on the
samples of a preprocessing run; its value is the lowest validation loss of its epochs. Three contestants have
the same budget of epochs: random search and the tree-structured Parzen estimator, each trial to its end, and
the estimator with successive halving, as `eolab tune` does. Trials that are given up are trained to their end
here and counted up to the epoch at which they would have been given up, which is the same.

    python benchmarks/search.py runs/landcover/02_preprocess/RUN --trials 20 --seeds 3

Prints the lowest validation loss by seed and contestant, and the mean over the seeds with its interval.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import optuna
import pandas as pd

from eolab import tasks
from eolab.data import store
from eolab.prediction import silence
from eolab.runs import lines, search, study

CONTESTANTS = {"random": ("random", False), "tpe": ("tpe", False), "tpe, halving": ("tpe", True)}


def history(samples, part, classes, point, epochs, seed):
    """Train and return the validation loss of each epoch."""
    training = {key.removeprefix("training."): v for key, v in point.items() if key != "options"}
    training |= {"epochs": epochs, "patience": epochs, "monitor": "val_loss"}
    with tempfile.TemporaryDirectory() as folder:
        fitted = tasks.fit(
            "series_classification",
            "lstm",
            samples,
            part,
            folder=Path(folder),
            outputs=classes,
            options=point["options"],
            training=training,
            seed=seed,
        )
    return fitted.history["val_loss"].to_numpy()


def best(one, train, how, budget, epochs, seed):
    """Search until the budget of epochs is used up; return the lowest loss and the trials."""
    name, prune = CONTESTANTS[how]
    with warnings.catch_warnings(action="ignore"):
        pruner = search.pruner(epochs) if prune else optuna.pruners.NopPruner()
        found = optuna.create_study(sampler=search.sampler(name, seed), pruner=pruner)
    used = 0
    while used < budget:
        trial = found.ask()
        with warnings.catch_warnings(action="ignore"):
            losses = train(one.point(trial))
        state = optuna.trial.TrialState.COMPLETE
        for epoch, loss in enumerate(losses, 1):
            trial.report(float(loss), epoch)
            used += 1
            if prune and search.is_behind(trial):
                state = optuna.trial.TrialState.PRUNED
                break
        done = state == optuna.trial.TrialState.COMPLETE
        found.tell(trial, float(losses.min()) if done else None, state=state)
    return found.best_value, len(found.trials)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run of landcover/02_preprocess")
    parser.add_argument("--trials", type=int, default=20, help="trials to their end that the budget allows")
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    silence.start_backend()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samples = store.open_store(given.run / "store")
    split = samples.table["split_buffered"]
    part = {name: np.flatnonzero(split == name) for name in ("train", "validation")}
    classes = int(samples.table["label"][split.isin(part)].max()) + 1
    one = study.load("landcover").search("lstm")
    rows = []
    for seed in range(given.seeds):
        for how in CONTESTANTS:

            def train(point, seed=seed):
                return history(samples, part, classes, point, given.epochs, seed)

            loss, count = best(one, train, how, given.trials * given.epochs, given.epochs, seed)
            rows.append({"seed": seed, "search": how, "val_loss": loss, "trials": count})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    wide = table.pivot_table(index="seed", columns="search", values="val_loss")
    for how in CONTESTANTS:
        gain = wide["random"] - wide[how]
        low, high = lines.interval(gain)
        trials = table.loc[table["search"] == how, "trials"].mean()
        print(
            f"{how}: {wide[how].mean():.4f}, {trials:.0f} trials; lower than random by {gain.mean():.4f} "
            f"({low:.4f} to {high:.4f})"
        )


if __name__ == "__main__":
    main()
