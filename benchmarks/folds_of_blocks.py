"""Networks of pixel series against a random forest on all ground of a data set: cross-validation over blocks.

    eolab run landcover --only 02_preprocess --set dataset=slovenia_eopatch
    python benchmarks/folds_of_blocks.py runs/landcover/02_preprocess/smoke-…

A single split of a small scene has few test blocks. Here the blocks of a run's samples are dealt to
folds; each fold is test ground once and validation ground once. Training samples keep the buffer of the
run and share no polygon with test ground, but for one that holds more than a quarter of all samples.
Scores are of all test samples together, means over seeds; differences are drawn in pairs over blocks.
What is trained stays in --out, so that a stopped run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from eolab import evaluation, runs, tasks
from eolab.data import schemes, store
from eolab.data.splits.blocks import LARGE, keep_apart
from eolab.tasks.baselines import fit_baselines
from eolab.training import set_up

TASK, FOREST = "series_classification", "random_forest"
TRAINING = {"epochs": 30, "batch_size": 128, "min_steps": 50, "patience": 8}
TRAINING |= {"optimizer": "adamw", "learning_rate": 0.003, "schedule": "one_cycle"}


def fold_column(table: pd.DataFrame, folds: int, fold: int, buffer_m: float) -> pd.Series:
    """Return the split of one fold, with samples drawn per class for training and uniform ones for scores."""
    blocks = np.random.default_rng(0).permutation(table["block"].unique())
    number = table["block"].map(dict(zip(blocks, np.arange(len(blocks)) % folds, strict=True)))
    split = pd.Series("train", table.index).mask(number == fold, "test")
    split = split.mask(number == (fold + 1) % folds, "validation")
    unit = table["group"].astype(int)
    large = unit.map(unit.value_counts(normalize=True)) > LARGE
    apart = keep_apart(table.assign(unit=unit.where(~large)), split, buffer_m, "unit", validation=False)
    return apart.astype(str).mask((apart == "train") != (table["draw"] == "per_class"), "none")


def predict(
    model: str, samples: store.Store, part: dict[str, np.ndarray], folder: Path, seed: int
) -> np.ndarray:
    """Train a model and return its probabilities of the test samples."""
    classes = len(schemes.scheme_of(samples.metadata))
    if model in tasks.baselines.names(TASK):
        options = {"classes": classes, "seed": seed, "options": {FOREST: {"trees": 200}}}
        return fit_baselines(TASK, [model], samples, part, folder=folder, parts=["test"], **options)[model][
            "test"
        ]
    set_up(seed)
    fitted = tasks.fit(
        TASK, model, samples, part, folder=folder, outputs=classes, training=TRAINING, seed=seed
    )
    return tasks.predict(fitted, samples, part["test"], folder / "probabilities", "test")["classes"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a run of 02_preprocess")
    parser.add_argument("--models", nargs="+", default=[FOREST, "tempcnn", "lstm", "transformer", "ltae"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("folds"))
    options = parser.parse_args()
    samples, buffer_m = store.open_store(options.run / "store"), runs.load(options.run).metrics["buffer_m"]
    table, rows = samples.table, {}
    parts = [fold_column(table, options.folds, fold, buffer_m) for fold in range(options.folds)]
    tested = np.concatenate([np.flatnonzero(column == "test") for column in parts])
    label, blocks = table["label"].to_numpy()[tested], table["block"].to_numpy()[tested]
    print(f"{len(tested):,} test samples in {len(np.unique(blocks))} blocks, {buffer_m:.0f} m apart")
    of_samples = {"class_names": schemes.scheme_of(samples.metadata).names, "groups": blocks}
    for model in options.models:
        for seed in options.seeds:
            found = []
            for fold, column in enumerate(parts):
                part = {name: np.flatnonzero(column == name) for name in ("train", "validation", "test")}
                found.append(predict(model, samples, part, options.out / f"{model}-{seed}-{fold}", seed))
            scored = evaluation.score_table({model: np.concatenate(found)}, label, **of_samples)
            rows.setdefault(model, []).append(evaluation.pick(scored, "macro.f1").iloc[0])
        value = np.mean([row["value"] for row in rows[model]])
        gain, verdict = evaluation.mean_gain(rows[model], rows[options.models[0]])
        print(
            f"{model}: macro F1 {value:.3f}, {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) over "
            f"{options.models[0]}, {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
