"""Networks that learn on, period after period, by name of the strategy.

========= ================================================================================================
first     learns the first period and is never changed
naive     goes on from its last weights with the samples of the new period
replay    the same, joined by a few samples kept of the periods before (Rolnick et al. 2019,
          https://arxiv.org/abs/1811.11682), as many of each class and period
ewc       the same as naive, its weights held by elastic weight consolidation, see
          :mod:`eolab.training.consolidation`
decay     goes on with the samples of all periods so far, which weigh less by a factor a period of age
scratch   new weights, with the samples of all periods so far
========= ================================================================================================

All take as many steps an epoch, and are the same network after the first period.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import training as trainer
from eolab.core.errors import ParameterError, check_known
from eolab.data.splits.balance import even_draw
from eolab.data.store import Store
from eolab.tasks.channels import select_all
from eolab.tasks.engine import Networks, batch_of, build, fit
from eolab.tasks.fitted import Fitted, predict
from eolab.tasks.task import get
from eolab.training.batches import StoreSamples
from eolab.training.consolidation import consolidate, fisher

STRATEGIES = ("first", "naive", "replay", "ewc", "decay", "scratch")
KEEP_ALL = ("decay", "scratch")  # strategies that learn from the samples of all periods so far
Periods = Mapping[Any, Mapping[str, np.ndarray]]
"""Rows of a store for "train", "validation" and "test" of each period, in order."""
Found = dict[Any, dict[Any, np.ndarray]]
"""Predictions (N, K) by the last period learned and the period predicted."""


@dataclass(frozen=True)
class Memory:
    """What strategies keep of the periods before.

    Attributes:
        replay: Samples that "replay" keeps, 1 or more.
        strength: Factor of the penalty of "ewc", 0 or more.
        decay: Factor that a sample of "decay" weighs less for each period of age, above 0, at most 1.
        fisher_samples: Samples of a period in which "ewc" reads how much each weight matters, 1 or more.
    """

    replay: int = 500
    strength: float = 100.0
    decay: float = 0.5
    fisher_samples: int = 200

    def __post_init__(self) -> None:
        right = self.replay >= 1 and self.strength >= 0 and 0 < self.decay <= 1 and self.fisher_samples >= 1
        if not right:
            raise ParameterError(
                f"{self}: expected 1 or more samples, a strength of 0 or more, and a decay above 0 and not "
                "above 1."
            )

    def place(self, strategy: str) -> str:
        """Return the name of the folder of a strategy: a checkpoint does not tell the penalty of "ewc"."""
        if strategy == "ewc":
            return f"ewc_{self.strength:g}_{self.fisher_samples}"
        return strategy


def learn(
    task: str,
    model: str,
    store: Store,
    periods: Periods,
    strategy: str,
    *,
    folder: str | Path,
    training: Mapping[str, Any],
    memory: Memory | None = None,
    seed: int = 0,
    networks: Networks | None = None,
    **building: Any,
) -> tuple[Found, pd.DataFrame]:
    """Train a network on one period after the other, and predict the test samples of all of them after each.

    Each training has a folder of its own, and one that is finished is not repeated. The first period is
    learned once for all strategies with one `folder`. The best epoch of each has the highest accuracy on
    validation samples of the periods that the strategy learns from, as the loss of "ewc" has its penalty.

    Args:
        task: What is learned.
        model: Name of the architecture.
        store: The samples.
        periods: Rows by part, of each period.
        strategy: One of :data:`STRATEGIES`.
        folder: Where the trainings and predictions go.
        training: Options of the training, see :func:`eolab.tasks.fit`; ``steps``, the steps of an epoch in
            every period, are a pass over the first period unless told, in batches that ``min_steps`` may
            make smaller.
        memory: What is kept of the periods before.
        seed: Seed of the weights, the order and what is drawn.
        networks: Compiled networks shared by several calls; predictions are written before the next training.
        **building: Further arguments of :func:`eolab.tasks.fit`: channels, outputs, options.

    Returns:
        Predictions, and what each period has cost, a row a period: strategy, period, seconds, steps,
        samples_seen (in all steps), samples_kept (training samples of the periods before).

    Raises:
        ParameterError: If there is no such strategy, or there are fewer than two periods.
    """
    check_known(strategy, STRATEGIES, f"There is no strategy {strategy!r}")
    if len(periods) < 2:
        raise ParameterError(f"Learning on needs two periods or more, found {len(periods)}: add one.")
    memory, networks = memory or Memory(), networks or Networks()
    first = next(iter(periods))
    usual, count = int(training.get("batch_size") or get(task).batch_size), len(periods[first]["train"])
    size = batch_of(usual, count, int(training.get("min_steps") or 0))
    steps = int(training.get("steps") or -(-count // size))
    settings = {"monitor": "val_accuracy", **training, "batch_size": size, "steps": steps, "min_steps": 0}
    age = {int(row): number for number, rows in enumerate(periods.values()) for row in rows["train"]}
    found: Found = {}
    costs, kept, validated = [], np.empty(0, np.int64), np.empty(0, np.int64)
    last: Any = None
    importance: Any = None
    for number, (period, own) in enumerate(periods.items()):
        cost = {"strategy": strategy, "period": period, "samples_kept": len(kept)}
        if number and strategy == "first":
            found[period] = found[first]
            costs.append(cost | {"seconds": 0.0, "steps": 0, "samples_seen": 0})
            continue
        rows = {"train": np.concatenate([kept, own["train"]])}
        rows["validation"] = np.concatenate([validated, own["validation"]])
        begun = None if strategy == "scratch" else last
        into = Path(folder) / (memory.place(strategy) if number else "first") / str(period)
        ages = number - np.array([age[int(row)] for row in rows["train"]])
        fitted = fit(
            task,
            model,
            store,
            rows,
            folder=into,
            training=settings,
            sample_weights=memory.decay**ages if number and strategy == "decay" else None,
            seed=seed,
            make=partial(_begin, networks, begun, importance, memory.strength),
            **building,
        )
        last = [np.array(variable) for variable in fitted.network.variables]
        found[period] = _predicted(fitted, store, periods, into)
        taken, seconds = steps * len(fitted.history), float(fitted.history["seconds"].sum())
        seen = taken * min(size, len(rows["train"]))
        if strategy in KEEP_ALL:
            kept, validated = rows["train"], rows["validation"]
        elif strategy == "replay":
            groups = np.stack([ages, _labels(store, rows["train"])], axis=1)
            kept = _drawn(rows["train"], groups, memory.replay, seed)
        elif strategy == "ewc" and number + 1 < len(periods):
            start = time.perf_counter()
            new = _importance(fitted, store, own["train"], memory.fisher_samples, seed)
            importance = [sum(parts) for parts in zip(new, *([importance] if number else []), strict=True)]
            seconds += time.perf_counter() - start
        costs.append(cost | {"seconds": seconds, "steps": taken, "samples_seen": seen})
    columns = ["strategy", "period", "seconds", "steps", "samples_seen", "samples_kept"]
    return found, pd.DataFrame(costs, columns=columns)


def untrained(
    task: str,
    model: str,
    store: Store,
    periods: Periods,
    *,
    folder: str | Path,
    seed: int = 0,
    networks: Networks | None = None,
    channels: Any = None,
    **building: Any,
) -> dict[Any, np.ndarray]:
    """Predict the test samples of all periods by a network with its first weights; see :func:`learn`."""
    first = next(iter(periods.values()))["train"]
    read, make = select_all(store, first, channels), (networks or Networks()).build
    network = build(task, model, store, read, seed=seed, make=make, **building)
    return _predicted(Fitted(get(task), model, network, read), store, periods, Path(folder) / "untrained")


def _begin(
    networks: Networks, values: Any, importance: Any, strength: float, name: str, **options: Any
) -> Any:
    """Return a network with given weights, held there where their importance is given; else a new one."""
    network = networks.build(name, "" if importance is None else "held", **options)
    if values is not None:
        trainer.assign(network.variables, values)
    return network if importance is None else consolidate(network, importance, strength)


def _predicted(fitted: Fitted, store: Store, periods: Periods, folder: Path) -> dict[Any, np.ndarray]:
    """Return the predictions (N, K) of the test samples of each period, which are written to the folder."""
    return {
        name: predict(fitted, store, rows["test"], folder, f"test_{name}", progress=False)[fitted.task.output]
        for name, rows in periods.items()
    }


def _importance(fitted: Fitted, store: Store, rows: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Return what each weight matters for some training samples, drawn evenly from the classes."""
    chosen = _drawn(rows, _labels(store, rows)[:, None], count, seed)
    samples = StoreSamples(store, chosen, inputs=fitted.arrays, channels=fitted.channels)
    inputs, _ = samples.read(np.arange(len(chosen)))
    names = fitted.network.input
    return fisher(fitted.network, {name: inputs[name] for name in names}, seed=seed)


def _drawn(rows: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return some of the rows (N,), as many of each group (N, …) as far as it has them."""
    group = np.unique(groups, axis=0, return_inverse=True)[1].ravel()
    return rows[even_draw(np.zeros(len(rows), int), group, count, seed)]


def _labels(store: Store, rows: np.ndarray) -> np.ndarray:
    """Return the labels of some rows."""
    return np.asarray(store.gather(rows, ["label"])["label"])
