"""Each study's main network on a processor: Keras in each way to compile it, beside PyTorch.

    PYTHONPATH=<folder of PyTorch> python benchmarks/processor.py --only lstm unet
    PYTHONPATH=<folder of PyTorch> python benchmarks/processor.py --keep

Keras trains as `eolab.tasks.fit` does, from batches in main memory, with loss, scores and optimizer of the
task, on TensorFlow and on JAX; it predicts by each engine of `eolab.prediction`. The same network in PyTorch
is measured as written (float32, channels first) and at its best (bfloat16 autocast where the processor has
instructions for it, channels last, a fused Adam); that both predict and learn alike with the same weights
(`torch_weights.py`) is a test. PyTorch is no dependency: without it Keras is measured alone. Each library has
a process, XLA on TensorFlow one of its own, and all take turns, a few steps each; nothing else is at work in
a turn. Rates are samples a second of wall time, medians of rounds.

With ``--keep`` the fastest way to compile each network is written into the table that `eolab.training` reads,
``eolab/training/fastest.csv``, for this kind of processor.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpu import Made, Worker, measured
from gpu_cases import CASES, Case, Way

SMALLER: dict[str, tuple[int, dict[str, Any]]] = {  # samples a step, and sizes, of what takes long here
    "convlstm": (1, {}),
    "unet": (16, {"width_multiplier": 0.25}),
    "rau_net": (16, {"width_multiplier": 0.25}),
    "resnet50": (16, {}),
    "lstm": (256, {}),
    "tempcnn": (256, {}),
    "ltae": (256, {}),
    "transformer": (256, {}),
    "utae": (4, {}),
    "transfer": (16, {}),
    "deeplabv3": (8, {}),
}
ENGINES = (("keras", "float32"), ("onnx", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
XLA = {"tensorflow": (False, True), "jax": (True,)}  # each in a process, which slows down once XLA was used
SERIES_PREDICTED = 1024  # at once


def cases(names: list[str]) -> dict[str, Case]:
    """Return the networks with sizes for a processor."""
    transformer = CASES["ltae"]._replace(network="transformer")
    found = {name: {**CASES, "transformer": transformer}[name] for name in names}
    for name, case in found.items():
        batch, sizes = SMALLER[name]
        found[name] = case._replace(batch=batch, sizes={**case.sizes, **sizes})
    return found


def ways_to_compile(case: Case, *kinds: bool) -> Iterator[dict[str, Any]]:
    """Return the arguments of ``compile`` that are tried, of kinds with or without XLA."""
    several = (1, 16) if "height" not in case.sizes else (1,)
    for steps in several:
        for xla in kinds:
            yield {"jit_compile": xla, "steps_per_execution": steps}


def name_of(backend: str, how: dict[str, Any], precision: str = "float32") -> str:
    xla = ", XLA" if how["jit_compile"] and backend == "tensorflow" else ""
    low = f", {precision}" if precision != "float32" else ""
    return f"{backend}{low}{xla}, {how['steps_per_execution']} steps at once"


def keras_ways(case: Case, backend: str, precision: str, xla: bool) -> Made:
    import keras
    from gpu_keras import KerasNetwork

    from eolab import prediction
    from eolab.core.errors import ParameterError
    from eolab.training import fitting

    one, ways, facts = KerasNetwork(case, precision), {}, {}

    def fit(trained: Any, steps: int) -> None:
        trained.fit(one.from_memory(steps).stream(), verbose=0, shuffle=False)
        np.asarray(trained.trainable_variables[0])

    for how in ways_to_compile(case, xla):
        start, trained = time.perf_counter(), one.ready(**how)
        fitting.forget(one.network)  # so that the next way has a graph of its own
        fit(trained, 2 * how["steps_per_execution"])
        way = name_of(backend, how, precision)
        print(f"compiled in {time.perf_counter() - start:.0f} s: {case.network}, {way}")
        ways[f"train, {way}"] = partial(fit, trained)
    facts["weights"] = sum(math.prod(variable.shape) for variable in one.network.trainable_variables)
    facts["versions"] = f"Keras {keras.__version__} on {one.setup.backend}"
    facts["device"] = one.setup.device
    if (xla and backend == "tensorflow") or precision != "float32":  # engines have a precision of their own
        return ways, facts
    inputs, series = one.samples.inputs, "height" not in case.sizes
    if series:  # they are small
        repeated = SERIES_PREDICTED // len(one.samples)
        inputs = {name: np.concatenate([values] * repeated) for name, values in inputs.items()}
    given: dict[str, Any] = {"batch_size": SERIES_PREDICTED if series else case.batch}
    if isinstance(one.network.output, dict):
        given["output"] = one.task.heads[0]

    def predict(predictor: Any, steps: int) -> None:
        count = steps * case.batch
        while count > 0:
            predictor({name: values[:count] for name, values in inputs.items()})
            count -= len(next(iter(inputs.values())))

    for engine, kind in ENGINES if backend == "tensorflow" else ENGINES[:1]:
        try:
            predictor = prediction.load(one.network, engine, precision=kind, **given)
            predictor(inputs)
        except ParameterError as error:
            print(f"left out: {engine} of {case.network}: {error}")
            continue
        label = f"Keras on {backend}" if engine == "keras" else f"{engine}, {kind}"
        ways[f"predict, {label}"] = partial(predict, predictor)
    return ways, facts


def torch_ways(case: Case) -> Made:
    import torch
    from gpu_torch import TorchNetwork

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    ways: dict[str, Way] = {}
    for name, best in (("PyTorch", False), ("PyTorch at its best", True)):
        one = TorchNetwork(case, False, best)
        if "height" not in case.sizes:  # series are small
            one.card = [one.to_card(torch.arange(len(one.label)))]

        def predict(steps: int, one: Any = one) -> None:
            one.predict(math.ceil(steps * case.batch / len(one.card[0][1])))

        ways |= {f"train, {name}": one.from_memory, f"predict, {name}": predict}
    learnt = [(key, weight) for key, weight in one.network.named_parameters() if weight.requires_grad]
    weights = sum(weight.numel() for key, weight in learnt if "bias_hh" not in key)
    return ways, {"weights": weights, "versions": f"PyTorch {torch.__version__}"}


def ways_of(library: str, case: Case, precision: str, xla: bool) -> Made:
    """Return the ways of a backend of Keras, or of PyTorch."""
    if library == "torch":
        return torch_ways(case)
    os.environ["KERAS_BACKEND"] = library
    return keras_ways(case, library, precision, xla)


def rows(name: str, case: Case, result: dict[str, Any]) -> Iterator[str]:
    """Return a row for each way of Keras: its rate, and its ratios to PyTorch."""
    rates = result["rates"]
    for action in ("train", "predict"):
        others = [rates.get(f"{action}, {who}", float("nan")) for who in ("PyTorch", "PyTorch at its best")]
        for way, rate in rates.items():
            if way.startswith(action):
                ratios = " | ".join(f"{rate / other:.2f}" for other in others)
                yield f"| {case.study} | {name} | {way} | {rate:,.1f} | {ratios} |"


def best_rate(rates: dict[str, float], start: str, precision: str = "float32") -> float:
    """Return the best rate of a precision among the ways that begin so; NaN without one."""
    low = precision == "bfloat16"
    of = [rate for way, rate in rates.items() if way.startswith(start) and ("bfloat16" in way) == low]
    return max(of, default=math.nan)


def summary(cases: dict[str, Case], found: dict[str, Any]) -> Iterator[str]:
    """Return a table in Markdown with the fastest ways of Keras, as parts of the rates of PyTorch."""
    columns = ["train, TensorFlow × PyTorch", "train, JAX × PyTorch", "train, fastest × best"]
    columns += ["train, bfloat16 × best", "predict, fastest engine", "predict × PyTorch", "predict × best"]
    yield "| study | network | batch | " + " | ".join(columns) + " |"
    yield "|---|---|---:|---:|---:|---:|---:|---|---:|---:|"
    for name, result in found.items():
        ways = {way: rate for way, rate in result["rates"].items() if "PyTorch" not in way}
        written, best = (
            {action: result["rates"].get(f"{action}, {who}", math.nan) for action in ("train", "predict")}
            for who in ("PyTorch", "PyTorch at its best")
        )
        learnt = {backend: best_rate(ways, f"train, {backend}") for backend in ("tensorflow", "jax")}
        low = best_rate(ways, "train, ", "bfloat16")
        engine = max((way for way in ways if way.startswith("predict")), key=lambda way: ways[way])
        cells = [f"{rate / written['train']:.2f}" for rate in learnt.values()]
        cells += [f"{rate / best['train']:.2f}" for rate in (np.nanmax(list(learnt.values())), low)]
        cells += [engine.removeprefix("predict, ")]
        cells += [f"{ways[engine] / other['predict']:.2f}" for other in (written, best)]
        yield f"| {cases[name].study} | {name} | {cases[name].batch} | {' | '.join(cells)} |"


def keep(case: Case, backends: list[str], rates: dict[str, float]) -> None:
    """Write the fastest way of each backend to train a network into the table that `eolab.training` reads."""
    import pandas as pd

    from eolab.core.machine import instructions
    from eolab.training import fastest

    for backend in backends:
        by_way = {
            name_of(backend, how): (rates[f"train, {name_of(backend, how)}"], how)
            for how in ways_to_compile(case, *XLA[backend])
        }
        usual = fastest.usual(case.network)
        usual["jit_compile"] = backend == "jax" if usual["jit_compile"] == "auto" else usual["jit_compile"]
        before = by_way[name_of(backend, usual)]
        best = max(by_way.values(), key=lambda one: one[0])
        best = best if best[0] > fastest.GAIN * before[0] else before
        key = {"backend": backend, "processor": instructions(), "network": case.network}
        row = key | best[1] | {"samples_per_s": round(best[0], 2), "gain": round(best[0] / before[0], 3)}
        fastest.keep(pd.DataFrame([row]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(SMALLER), choices=list(SMALLER))
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    parser.add_argument("--bfloat16", action="store_true", help="train images on TensorFlow in it as well")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, about")
    parser.add_argument("--out", type=Path, help="file for the results, JSON")
    parser.add_argument("--keep", action="store_true", help="write the table of the fastest ways")
    options = parser.parse_args()
    multiprocessing.set_start_method("spawn")
    found = {}
    print("| study | network | way | samples/s | × PyTorch | × at its best |\n|---|---|---|---:|---:|---:|")
    for name, case in cases(options.only).items():
        workers = []
        kinds = [(library, "float32", xla) for library in options.backends for xla in XLA[library]]
        kinds.append(("torch", "float32", False))
        if options.bfloat16 and "height" in case.sizes and "tensorflow" in options.backends:
            kinds.append(("tensorflow", "bfloat16", False))
        for library, *kind in kinds:  # one compiles after the other
            title = f"{library}, {kind[0]}, XLA" if kind[1] else f"{library}, {kind[0]}"
            workers.append(Worker(title, name, partial(ways_of, library, case, *kind)))
            workers[-1].ready()
        least = 16 if "height" not in case.sizes else 1
        there = [one for one in workers if one.ways]
        found[name] = measured(there, case, options.rounds, options.seconds, least)
        print("\n".join(rows(name, case, found[name])), flush=True)
        for worker in workers:
            worker.end()
        if options.keep and not case.frozen:  # the table is of networks that learn as a whole
            keep(case, options.backends, found[name]["rates"])
        if options.out:
            options.out.write_text(json.dumps(found, indent=1))
    print("\n".join(summary(cases(options.only), found)))


if __name__ == "__main__":
    sys.exit(main())
