"""Each study's main network on a GPU: Keras on JAX in bfloat16 beside the same network in PyTorch.

    PYTHONPATH=<folder of Keras> python benchmarks/gpu.py --out results
    PYTHONPATH=<folder of PyTorch> python benchmarks/gpu.py --small --only lstm unet

It needs JAX and PyTorch, Keras as a wheel beside them, and no TensorFlow. Keras trains as `eolab.tasks.fit`
does, with loss, scores and optimizer of the task in mixed_bfloat16, and predicts batch by batch as a fitted
network does. PyTorch is measured as a careful user writes it (bfloat16 autocast, channels last, a fused Adam,
the fastest convolutions searched), eager and with torch.compile. Batches lie on the card; "from memory" they
lie in main memory as float32, and go through eolab's batches on one side, a plain loop on the other.

Each network has a process a library. Networks compile first, a few at a time; then one after the other is
measured, its ways in turns, nothing else at work. Rates are samples a second, medians of rounds. Memory is
that of one step: weights, optimizer, batch and all between; what XLA plans, what PyTorch has taken at most.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # processes share the card

from gpu_cases import CASES, PLACE, Case, Way, small

AT_ONCE = {"keras": 3, "torch": 5} if (os.cpu_count() or 1) >= 8 else {"keras": 1, "torch": 1}  # that compile


Made = tuple[dict[str, Way], dict[str, Any]]  # ways by name, and facts


def ways_of(library: str, case: Case, parts: bool) -> Made:
    """Return the ways of a library for a network, compiled."""
    os.environ["KERAS_BACKEND"] = "jax"
    if library == "keras":
        from gpu_keras import keras_ways

        return keras_ways(case, parts)
    from gpu_torch import torch_ways

    return torch_ways(case)


def work(make: Callable[[], Made], connection: Connection) -> None:
    """Compile a network's ways, say what is known of them, then take rounds of them as they are asked for."""
    sys.path.insert(0, str(Path(__file__).parent))
    start = time.perf_counter()
    ways, facts = make()
    connection.send((list(ways), {**facts, "seconds": time.perf_counter() - start}))
    while True:
        name, steps = connection.recv()
        start = time.perf_counter()
        ways[name](steps)
        connection.send(time.perf_counter() - start)


class Worker:
    """A process of one library for one network."""

    def __init__(self, library: str, name: str, make: Callable[[], Made]) -> None:
        self.library, self.name = library, name
        self.connection, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=work, args=(make, other), daemon=True)
        self.process.start()
        other.close()

    def ready(self) -> None:
        """Receive the ways and facts; none where the process has ended with an error."""
        try:
            self.ways, self.facts = self.connection.recv()
        except EOFError:
            self.ways, self.facts = [], {}
        seconds = self.facts.get("seconds", math.nan)
        print(f"ready after {seconds:5.1f} s: {self.name}, {self.library}", flush=True)

    def seconds(self, way: str, steps: int) -> float:
        """Return how long some steps take."""
        self.connection.send((way, steps))
        return float(self.connection.recv())

    def end(self) -> None:
        """End the process, which would take its time to take leave of the card."""
        self.process.kill()


def compiled(
    cases: dict[str, Case], libraries: list[str], parts: bool, limit: float
) -> dict[str, list[Worker]]:
    """Start all processes, a few of a library at a time; return by network those ready in `limit` seconds."""
    end = time.perf_counter() + limit
    order = sorted(cases, key=lambda name: PLACE[0] not in cases[name].sizes)  # the longest first
    waiting = {library: list(order) for library in libraries}
    found: dict[str, list[Worker]] = {name: [] for name in cases}
    at_work: list[Worker] = []
    while at_work or any(waiting.values()):
        for library, names in waiting.items():
            while names and sum(one.library == library for one in at_work) < AT_ONCE[library]:
                name = names.pop(0)
                at_work.append(Worker(library, name, partial(ways_of, library, cases[name], parts)))
        ready = wait([one.connection for one in at_work], max(0.0, end - time.perf_counter()))
        if not ready:
            break
        for worker in [one for one in at_work if one.connection in ready]:
            worker.ready()
            at_work.remove(worker)
            found[worker.name].append(worker)
    for worker in at_work:
        print(f"not ready after {limit:.0f} s, left out: {worker.name}, {worker.library}", flush=True)
        worker.process.terminate()
    return found


def measured(
    workers: list[Worker], case: Case, rounds: int, seconds: float, least: int = 4
) -> dict[str, Any]:
    """Return samples a second of each way, medians of rounds in which all take turns, and facts.

    A turn takes about some seconds, and a multiple of `least` steps.
    """
    ways = [(worker, way) for worker in workers for way in worker.ways]
    steps = {}
    for worker, way in ways:
        each = worker.seconds(way, least) / least
        each = min(each, worker.seconds(way, least) / least)
        steps[way] = least * math.ceil(seconds / each / least)
    taken: dict[str, list[float]] = {way: [] for _, way in ways}
    for turn in range(rounds):
        for worker, way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            taken[way].append(case.batch * steps[way] / worker.seconds(way, steps[way]))
    weights = {worker.facts["weights"] for worker in workers if worker.facts}
    if len(weights) > 1:
        print(f"The networks are not the same: {sorted(weights)} weights.", flush=True)
    facts = {key: value for worker in workers for key, value in worker.facts.items()}
    return {
        "weights": max(weights, default=0),
        "rates": {way: statistics.median(rates) for way, rates in taken.items()},
        "spread": {way: (max(rates) - min(rates)) / statistics.median(rates) for way, rates in taken.items()},
        "gb": {way: facts[way] / 1e9 for _, way in ways if facts.get(way)},
        "seconds": {worker.library: worker.facts.get("seconds") for worker in workers},
    }


def rows(cases: dict[str, Case], found: dict[str, Any]) -> Iterator[str]:
    """Return the table in Markdown: rates of Keras as parts of those of PyTorch, and GB of a step."""
    others = ("PyTorch", "PyTorch compiled")
    yield "| study | network | weights | batch | | Keras/s | × eager | × compiled | GB | eager | compiled |"
    yield "|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|"
    for name, result in found.items():
        case, rates, memory = cases[name], result["rates"], result["gb"]
        for action, suffix in (("train", ""), ("train", ", from memory"), ("predict", "")):
            ours = rates.get(f"{action}, Keras{suffix}", math.nan)
            ratios = [ours / rates.get(f"{action}, {other}{suffix}", math.nan) for other in others]
            held = [memory.get(f"{action}, {who}", math.nan) for who in ("Keras", *others)]
            columns = [*(f"{ratio:.2f}" for ratio in ratios), *(f"{gb:.2f}" for gb in held if not suffix)]
            shown = ["–" if column == "nan" else column for column in columns] + ["", "", ""] * bool(suffix)
            yield (
                f"| {case.study} | {name} | {result['weights']:,} | {case.batch} | {action}{suffix} | "
                f"{ours:,.0f} | {' | '.join(shown)} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--libraries", nargs="+", default=["keras", "torch"], choices=["keras", "torch"])
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--seconds", type=float, default=0.25, help="of a round, about")
    parser.add_argument("--limit", type=float, default=280, help="seconds in which networks may compile")
    parser.add_argument("--parts", action="store_true", help="also steps of Keras alone, without its loop")
    parser.add_argument("--small", action="store_true", help="few small samples, to see that it works")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    options = parser.parse_args()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    multiprocessing.set_start_method("spawn")
    kept = tempfile.TemporaryDirectory()  # of compiled steps: their memory is asked of a second copy
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": kept.name, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    start = time.perf_counter()
    cases = {name: small(CASES[name]) if options.small else CASES[name] for name in options.only}
    workers = compiled(cases, options.libraries, options.parts, options.limit)
    print(f"all compiled after {time.perf_counter() - start:.0f} s", flush=True)
    found: dict[str, Any] = {}
    for name, those in workers.items():
        found[name] = measured(those, cases[name], options.rounds, options.seconds)
        print(name, {way: round(rate) for way, rate in found[name]["rates"].items()}, flush=True)
        for worker in those:
            worker.end()
    facts = [worker.facts for those in workers.values() for worker in those if worker.facts]
    head = {key: sorted({one[key] for one in facts if key in one}) for key in ("device", "versions")}
    head |= {"processors": os.cpu_count(), "seconds": round(time.perf_counter() - start)}
    text = "\n".join([json.dumps(head), *rows(cases, found)])
    print(text)
    if options.out:
        (options.out / "gpu.md").write_text(text + "\n")
        (options.out / "gpu.json").write_text(json.dumps({"machine": head, "networks": found}, indent=1))


if __name__ == "__main__":
    main()
