"""How long imports take, each in fresh processes: eolab's rooms beside TensorFlow.

The time of an empty process is taken off. The first run of each warms the disk cache and is left out.

Usage: python benchmarks/import_time.py [--repeat 5] [module ...]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

MODULES = (
    "eolab",
    "eolab.cli",
    "eolab.data.catalog",
    "eolab.data.layouts.sentinel2",
    "eolab.data.store",
    "tensorflow",
)


def process_s(code: str) -> float:
    """Return how long a fresh Python takes to run a line."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def median_s(code: str, repeat: int) -> float:
    process_s(code)
    return statistics.median(process_s(code) for _ in range(repeat))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", default=MODULES, help=f"default: {' '.join(MODULES)}")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    empty_s = median_s("pass", options.repeat)
    print(f"{'(empty process)':26s} {empty_s:6.2f} s")
    for module in options.modules:
        print(f"{module:26s} {max(median_s(f'import {module}', options.repeat) - empty_s, 0):6.2f} s")


if __name__ == "__main__":
    main()
