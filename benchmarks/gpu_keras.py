"""Keras's side of `gpu.py` and `processor.py`: networks as `eolab.tasks.fit` trains them."""

# ruff: noqa: D102 (each method is a way to be measured; the class documents them)

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
from gpu_cases import KEPT, LEARNING_RATE, Case, Way, samples

FROZEN = contextlib.ExitStack()  # in which layers do not learn


class InMemory:
    """Samples in main memory, as `eolab.training.batches` reads them."""

    lengths = None

    def __init__(self, inputs: dict[str, np.ndarray], label: np.ndarray) -> None:
        self.inputs, self.label = inputs, label

    def __len__(self) -> int:
        return len(self.label)

    def read(self, positions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return inputs and labels at some positions."""
        taken = {name: values.take(positions, axis=0) for name, values in self.inputs.items()}
        return taken, self.label[positions]

    def facts(self) -> dict[str, Any]:
        """Return nothing: no training of these is resumed."""
        return {}


class KerasNetwork:
    """A network as `eolab.tasks.fit` trains it, on the backend in force."""

    def __init__(self, case: Case, precision: str) -> None:
        from eolab import models, tasks, training
        from eolab.training import freezing, setup

        setup.keep_memory()
        self.setup, self.case, self.task = training.set_up(0, precision), case, tasks.get(case.task)
        sizes = dict(case.sizes)
        if self.task.reads == "sequences":
            sizes.pop("times")  # any number
        ends = {"head": self.task.heads[0], "activation": self.task.activation}
        self.network = models.build(case.network, outputs=case.outputs, **ends, **sizes)
        if case.frozen:
            FROZEN.enter_context(freezing.phases(self.network, 1, case.frozen, None)[0].frozen())
        self.samples = InMemory(*samples(case, KEPT * case.batch))

    def compiled(self, **how: Any) -> Any:
        """Return it compiled for training; arguments are those of ``compile`` but the optimizer's."""
        from eolab.tasks.engine import METRICS
        from eolab.training import fitting, outputs

        losses = outputs.loss_of(self.network, self.task.loss)
        scores = [METRICS[name](self.case.outputs) for name in self.task.metrics]
        made = outputs.Trained(self.network, losses, losses, outputs.metrics_of(self.network, scores))
        made.compile(optimizer=fitting.build_optimizer("adam", LEARNING_RATE), **how)
        return made

    def ready(self, **how: Any) -> Any:
        """Return it compiled, with all variables."""
        from eolab.training import fitting

        return fitting.compile_once(self.network, self.from_memory(KEPT), [how], lambda: self.compiled(**how))

    def from_memory(self, steps: int) -> Any:
        """Return that many batches of samples in main memory."""
        from eolab.models.heads import targets
        from eolab.training.batches import Batches

        head, named = self.task.heads[0], isinstance(self.network.output, dict)
        ignore: Any = "keep" if named else "weight"
        if self.task.ignore is None or math.isnan(self.task.ignore):
            ignore = "none"
        made = (lambda label: targets(label, head)) if named else None
        given = {"shuffle": True, "steps": steps, "targets": made, "ignore": ignore}
        return Batches(self.samples, self.case.batch, **given)


class OnGpu(KerasNetwork):
    """A network in mixed_bfloat16 on JAX, with batches on the card; predicts as a fitted network does."""

    def __init__(self, case: Case) -> None:
        import jax

        from eolab.prediction.engines import on_batch
        from eolab.training.fastest import compile_options

        super().__init__(case, "bfloat16")
        self.trained = self.ready(**compile_options(case.network))
        source = self.from_memory(KEPT)
        self.batches = jax.device_put([source[index] for index in range(KEPT)])
        self.predict_batch = on_batch(self.network)

    def on_card(self, steps: int) -> Any:
        """Return that many batches that lie on the card."""
        import keras

        class OnCard(keras.utils.PyDataset):
            num_batches = steps

            def __getitem__(self, index: int) -> Any:
                return batches[index % KEPT]

        batches = self.batches
        return OnCard()

    def fit(self, data: Any) -> None:
        import jax

        self.trained.fit(data, verbose=0, shuffle=False)
        jax.block_until_ready([variable.value for variable in self.trained.trainable_variables])

    def predict(self, steps: int) -> None:
        for index in range(steps):
            self.predict_batch(self.batches[index % KEPT][0])

    def predict_step(self, state: Any, data: Any) -> Any:
        found, others = self.network.predict_step(state, data)
        return found, (state[0], others)

    def step_alone(self, function: Any, learns: bool) -> tuple[Way, int]:
        """Return a compiled step without Keras's loop, and the bytes that it takes; it is in the cache."""
        import jax

        which = {"trainable_variables": True, "non_trainable_variables": True}
        which |= {"optimizer_variables": True, "metrics_variables": True} if learns else {}
        model = self.trained if learns else self.network
        state = jax.tree.map(jax.numpy.copy, model._get_jax_state(**which))
        given = self.batches if learns else [(inputs,) for inputs, *_ in self.batches]
        step = jax.jit(function, donate_argnums=0).lower(state, given[0]).compile()

        def run(steps: int) -> None:
            nonlocal state
            for index in range(steps):
                found, state = step(state, given[index % KEPT])
                if not learns:
                    jax.tree.map(np.asarray, found)
            jax.block_until_ready(state)

        taken = step.memory_analysis()
        sizes = taken.argument_size_in_bytes + taken.temp_size_in_bytes + taken.output_size_in_bytes
        return run, int(sizes - taken.alias_size_in_bytes)


def keras_ways(case: Case, parts: bool) -> tuple[dict[str, Way], dict[str, Any]]:
    """Return the ways of Keras by name and action, and facts: weights, bytes of a step, versions."""
    import jax
    import keras

    one = OnGpu(case)
    ways: dict[str, Way] = {
        "train, Keras": lambda steps: one.fit(one.on_card(steps)),
        "train, Keras, from memory": lambda steps: one.fit(one.from_memory(steps)),
        "predict, Keras": one.predict,
    }
    for run in ways.values():
        run(2)
    facts: dict[str, Any] = {"device": one.setup.device}
    facts["weights"] = sum(math.prod(variable.shape) for variable in one.trained.trainable_variables)
    facts["versions"] = f"Keras {keras.__version__}, JAX {jax.__version__}"
    for action, step in (("train", one.trained.train_step), ("predict", one.predict_step)):
        alone, facts[f"{action}, Keras"] = one.step_alone(step, action == "train")
        ways |= {f"{action}, Keras, step alone": alone} if parts else {}
    return ways, facts
