"""What a run costs beyond its work: papermill alone, `eolab sweep`, dask, Ray; two workers on two cores.

A notebook keeps one core busy for a given time and does nothing else. Its points are run

- with papermill alone, each in a command of its own, as one would by hand,
- as a sweep, one at a time and two at a time, in processes, on dask and on Ray.

The same sweep again, all of it done before, is what starting a place costs. Of the rest, the time of a point
beyond its work is the overhead, and the speed-up of two workers is the time of one over the time of two; its
limit is what two processes of the same work reach side by side without anything around them.

Usage: python benchmarks/run_overhead.py [--points 6] [--work 10]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd

BUSY = """\
import time
end = time.process_time() + {work}
while time.process_time() < end:
    sum(range(10_000))"""
STUDY = """
title: Busy
notebooks: {01_busy: {}}
sweeps:
  points:
    notebook: 01_busy
    grid: {point: [%s]}
"""


def notebook(work):
    """Return a notebook that keeps a core busy for some seconds."""
    cells = [
        nbformat.v4.new_markdown_cell("# 01 · Busy"),
        nbformat.v4.new_code_cell("point: int = 0  # number", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("from eolab import runs\nrun = runs.start('busy/01_busy', globals())"),
        nbformat.v4.new_code_cell(BUSY.format(work=work)),
        nbformat.v4.new_code_cell("run.finish(point=point)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def project(folder, points, work):
    """Write a study with a sweep of some points."""
    study = folder / "notebooks/busy"
    study.mkdir(parents=True)
    (folder / "data_catalog.yaml").write_text("{}")
    (study / "study.yaml").write_text(STUDY % ", ".join(map(str, range(points))))
    nbformat.write(notebook(work), study / "01_busy.ipynb")
    return folder


def seconds(*commands):
    """Run commands side by side and return how long they took."""
    begun = time.perf_counter()
    going = [subprocess.Popen(one, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for one in commands]
    for one in going:
        _, said = one.communicate()
        if one.returncode:
            raise RuntimeError(said.decode()[-2000:])
    return time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--work", type=float, default=10.0, help="seconds of a core in each point")
    given = parser.parse_args()
    bare = [sys.executable, "-c", BUSY.format(work=given.work)]
    alone, beside = seconds(bare), seconds(bare, bare)
    print(f"two processes of the work side by side do {2 * alone / beside:.2f} times the work of one")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = project(Path(name), given.points, given.work)
        os.environ |= {"EOLAB_ROOT": str(folder), "EOLAB_RUNS": str(folder / "runs")}
        book = str(folder / "notebooks/busy/01_busy.ipynb")
        papermill = [sys.executable, "-m", "papermill", book, str(folder / "out.ipynb"), "-p", "point"]
        taken = sum(seconds([*papermill, str(n)]) for n in range(given.points))
        rows.append({"place": "papermill, a command each", "at once": 1, "seconds": taken, "start": 0.0})
        for on in ("", "dask", "ray"):
            for jobs in (1, 2):
                out = ["--out", str(folder / f"runs_{on}_{jobs}"), "--jobs", str(jobs), "--on", on]
                sweep = [sys.executable, "-m", "eolab.cli", "sweep", "busy", "points", *out]
                taken, start = seconds(sweep), seconds(sweep)
                rows.append({"place": on or "processes", "at once": jobs, "seconds": taken, "start": start})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    work = given.work * given.points / table["at once"]
    spent = table["seconds"] - table["start"]
    table["overhead of a point"] = (spent - work) / given.points * table["at once"]
    table["speed-up"] = (
        table["place"].map(spent[table["at once"] == 1].set_axis(table["place"].unique())) / spent
    )
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
