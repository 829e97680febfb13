"""The ``eolab`` command: run studies and sweeps, build reports, look after data sets.

Imports stay inside the commands, so that ``eolab --help`` answers at once.
"""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from eolab import __version__
from eolab.cli import data, runs, serving, tuning
from eolab.cli.parsing import Parser, add_places, command, one_process, parser_of, positive, say, study_of
from eolab.core.errors import EolabError, ParameterError, RunError, show_sentences_alone, system_error
from eolab.core.numbers import padded

RUN_HELP = """\
Runs a study's notebooks, each in a process of its own and after those that it needs. A finished run is
skipped while all that it was made from is as it was: parameters, upstream runs, data sets, the runs that a
results notebook finds, and code. What changed is said, and only what depends on it runs again; an interrupted
run resumes. Other versions of Keras or of the library below it are said beside a run, which stays as it is
without --force. Run folders and reports land in DIR/STUDY/NOTEBOOK/RUN, the report of the whole study in
DIR/STUDY/report.html."""
RUN_EXAMPLES = """\
examples:
  eolab run landcover --profile smoke
  eolab run landcover --profile smoke --jobs 2          two notebooks at once
  eolab run landcover --set training.epochs=20 --set bands='[B02, B03, B04, B08]'
  eolab run landcover --only 04_train_pixels --set 04_train_pixels.model=tempcnn
  eolab run landcover --profile full --out /mnt/results --timeout 7200

--set takes key=value; the value is read by the type that the notebook declares. A key is set in every
notebook that has the parameter, NOTEBOOK.key in one. Exit status: 0 all done, 1 a notebook failed, 2 bad
input, 130 stopped."""
SWEEP_EXAMPLES = """\
examples:
  eolab sweep landcover models --profile smoke
  eolab sweep landcover models splits --jobs 2          two sweeps, two runs at once
  eolab sweep landcover tiles --on dask                 several tiles: composites, samples, models, maps
  eolab sweep landcover tiles --on dask=tcp://host:8786 --grid 02_preprocess.dataset=my_series \\
                              02_preprocess.tile=32TQM,33TWM
  eolab sweep landcover models --on ray                 on this machine, shared out by Ray
  eolab sweep landcover models --on ray=host:6379       on the cluster of `ray start --head`
  eolab sweep landcover 04_train_pixels --grid model=lstm,tempcnn seed=0,1,2

What several points need runs once; all else goes on side by side, as many runs at once as --jobs says. With
--on ray or --on dask they go on in a cluster (`pip install 'eolab[ray]'` or 'eolab[dask]'), on this machine
or others, which must see the same folders. Each run gets a core and its share of the memory, with Ray a GPU
where there are some. A run that fails or whose worker is lost begins once more. --grid KEY=A,B replaces
values of study.yaml; with a notebook in place of SWEEP it is all of the sweep.

The table is printed and written to DIR/STUDY/sweeps/SWEEP/ as CSV, Markdown and HTML. A failed run stops only
those that need it; start the sweep again to repeat what failed or was stopped."""
REPORT_EXAMPLES = """\
examples:
  eolab report runs/landcover                               the study: one page with all its notebooks
  eolab report runs/landcover/04_train_pixels/smoke-1a2b3c4d   one run"""
MAP_EXAMPLES = """\
examples:
  eolab map RUN S2A_MSIL2A_….SAFE --out map.tif               a Sentinel-2 product
  eolab map RUN scene.tif --out map.tif --stac --polygons     a GeoTIFF whose bands have names
  eolab map RUN my_images --date 2019-08-14 --out degree.tif  one day of a folder of images
  eolab map RUN my_series --date 2020 --out cover.tif         a year, for networks that read series
  eolab map RUN S2A_MSIL1C_….SAFE --dem dem.tif --out map.tif
                                                              a network that reads heights
  eolab --catalog my_catalog.yaml map RUN my_stands --date 2019-08-14 --out degree.tif

RUN is the folder or the name of a run that trained a network. The map is a Cloud-Optimised GeoTIFF. Of
classes band 1 is the likelier, band 2 its probability in percent; of networks that label whole images a pixel
is a patch, and each label has a band with its probability in percent; values have one band. 255 is no data,
NaN in real numbers. A stopped map resumes with the same command. In a notebook it is
eolab.studies.products.map_scene."""
NEW_EXAMPLES = """\
examples:
  eolab new-study crops --task series_classification
  eolab run crops

Tasks: series_classification, image_classification, multilabel_classification, segmentation, regression and
sequence_classification. What to change for data of your own: docs/new_study.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 good, 1 a run failed, 2 bad input, 130 stopped."""
    show_sentences_alone()
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may hold any bytes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.catalog:
        os.environ["EOLAB_CATALOG"] = str(options.catalog.expanduser().absolute())  # notebooks find it too
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        print("Stopped. The same command resumes.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (EolabError, OSError, MemoryError) as error:
        sentence = str(error) if isinstance(error, EolabError) else system_error(error)
        if os.environ.get("EOLAB_DEBUG") or not sentence:
            raise
        print(f"eolab: {sentence}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="eolab", description="Notebook-first research kit for Earth observation.")
    parser.add_argument("--version", action="version", version=f"eolab {__version__}")
    text = "catalogue of your own (default: EOLAB_CATALOG, or the nearest eolab_catalog.yaml)"
    parser.add_argument("--catalog", metavar="FILE", type=Path, help=text)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    shared = _run_options()
    text = "run a study's notebooks in order"
    run = command(commands, _run, text, RUN_EXAMPLES, parents=[shared], description=RUN_HELP)
    run.add_argument(
        "--only", action="extend", nargs="+", default=[], metavar="NOTEBOOK", help="run these notebooks only"
    )
    text = "notebooks at once that do not need each other, which share the cores (default 1)"
    run.add_argument("--jobs", type=positive, default=1, metavar="N", help=text)
    text = "train in so many processes of this machine (docs/distributed.md; default 1)"
    run.add_argument("--processes", type=positive, default=1, metavar="N", help=text)
    text = "run a notebook over a grid of parameters, or several such sweeps"
    sweep = command(commands, _sweep, text, SWEEP_EXAMPLES, parents=[shared])
    text = "name of a sweep in the study's study.yaml, or several in a row: what they share runs once"
    sweep.add_argument("sweeps", nargs="+", metavar="SWEEP", help=text)
    add_places(sweep, "runs")
    text = "values of a parameter instead of those of study.yaml; SWEEP, a single one, may then be a notebook"
    sweep.add_argument("--grid", action="extend", nargs="+", default=[], metavar="KEY=A,B", help=text)
    tuning.add(commands, shared)
    report = command(commands, _report, "build the report of a run or a study", REPORT_EXAMPLES)
    report.add_argument("folder", metavar="DIR", type=Path, help="a run, or a study's folder of runs")
    mapped = command(commands, _map, "map a scene with the network of a run", MAP_EXAMPLES)
    mapped.add_argument(
        "run", metavar="RUN", type=Path, help="a run that trained a network: its folder or name"
    )
    text = "Sentinel-2 product (.SAFE, .zip), GeoTIFF, folder of images, or data set of the catalogue"
    mapped.add_argument("scene", metavar="SCENE", type=Path, help=text)
    text = "heights in metres, a GeoTIFF, for networks that read them"
    mapped.add_argument("--dem", metavar="FILE", type=Path, help=text)
    mapped.add_argument("--out", metavar="FILE", type=Path, required=True, help="GeoTIFF to write")
    mapped.add_argument(
        "--date", default="", help="day of the image where there are several; a year of series"
    )
    mapped.add_argument("--tile", default="", help="tile where there are several")
    mapped.add_argument("--stac", action="store_true", help="write a STAC item beside the map")
    text = "write the areas of classes as polygons beside the map, a GeoPackage"
    mapped.add_argument("--polygons", action="store_true", help=text)
    text = "what computes: keras, auto for the fastest one installed, or another by name"
    mapped.add_argument("--engine", default="keras", help=text)
    serving.add(commands)
    group = parser_of(commands, "runs", "list, compare, name and delete runs", runs.EXAMPLES)
    group.usual = "list"
    runs.add_commands(group.add_subparsers(title="actions", metavar="ACTION", required=True))
    text = "list the studies with their notebooks, profiles and sweeps, or the parameters of one"
    listed = command(commands, _studies, text)
    text = "list the parameters of its notebooks, with defaults and meaning"
    listed.add_argument("name", nargs="?", default="", metavar="STUDY[/NOTEBOOK]", help=text)
    text = "write the notebooks of a study of your own, which run on a twin at once"
    new = command(commands, _new_study, text, NEW_EXAMPLES)
    new.add_argument("name", metavar="NAME", help="name of the study and of its folder in notebooks/")
    text = "what is learned, such as series_classification or segmentation"
    new.add_argument("--task", metavar="TASK", required=True, help=text)
    text = "list, check, make, fetch and add data sets"
    group = parser_of(commands, "data", text, data.EXAMPLES)
    data.add_commands(group.add_subparsers(title="actions", metavar="ACTION", required=True))
    return parser


def _run_options() -> argparse.ArgumentParser:
    """Return the options that ``run`` and ``sweep`` share."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("study", metavar="STUDY", help="folder name of the study in notebooks/")
    shared.add_argument(
        "--profile",
        metavar="NAME",
        help="parameter profile of study.yaml, such as full, or default for the notebooks' own defaults "
        "(without this option: the first one there)",
    )
    shared.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help="set a parameter"
    )
    shared.add_argument("--out", metavar="DIR", type=Path, help="folder of all runs (default: runs/)")
    shared.add_argument(
        "--force", action="store_true", help="run again what is finished, which stays until that is done"
    )
    text = "skip finished runs although the package's code changed since (it is said which files)"
    shared.add_argument("--keep-old-code", action="store_true", help=text)
    shared.add_argument("--timeout", type=positive, metavar="SECONDS", help="longest time for one cell")
    return shared


def _run(options: argparse.Namespace) -> int:
    from eolab.core import ranks
    from eolab.runs import chain, reports, team, tracking

    if not (place := ranks.place()).first:
        return team.follow(place, say)
    chosen, chosen_options = study_of(options)
    name = f"{chosen.name} {chosen_options.profile or next(iter(chosen.profiles), '')}"
    if options.jobs > 1 and options.processes > 1:
        raise ParameterError("--processes gives all cores to one notebook: leave --jobs out.")
    work = partial(chain.run, chosen, chosen_options, options.only, say, options.jobs)
    with team.gathered(options.processes, say):
        good = tracking.under_parent(chosen.name, name, work)
    say(f"Report: {reports.build_study(chosen_options.root / chosen.name)}")
    return 0 if good else 1


def _sweep(options: argparse.Namespace) -> int:
    from eolab.runs import sweep, tracking

    one_process("a sweep")
    names, grid = options.sweeps, options.grid
    if grid and len(names) > 1:
        raise ParameterError(
            f"--grid is of one sweep, and {len(names)} are named: give each its own command."
        )
    chosen, chosen_options = study_of(options, (names[0], grid))
    work = partial(sweep.run, chosen, names, chosen_options, options.jobs, say, options.on)
    return 0 if tracking.under_parent(chosen.name, f"{chosen.name} {' '.join(names)}", work) else 1


def _report(options: argparse.Namespace) -> int:
    from eolab.runs import folders, history, reports

    folder = (options.folder if options.folder.is_dir() else history.find(options.folder)).resolve()
    single = (folder / folders.RECORD).is_file()
    print((reports.build if single else reports.build_study)(folder))
    return 0


def _map(options: argparse.Namespace) -> int:
    from eolab.prediction import silence
    from eolab.runs import history

    silence.start_backend()
    from eolab.studies import products

    names = ("date", "tile", "dem", "engine", "stac", "polygons")
    given = {name: getattr(options, name) for name in names}
    path = products.map_scene(history.find(options.run), options.scene, options.out, **given)
    print(products.said(path))
    return 0


def _studies(options: argparse.Namespace) -> int:
    from eolab.runs import study

    if options.name:
        one, _, only = options.name.partition("/")
        found = study.load(one)
        for book in [found.notebook(only)] if only else found.notebooks.values():
            single = [known for known in book.known.values() if not known.keys]
            rows = padded([(known.name, repr(known.default), known.help) for known in single])
            print(f"{one}/{book.name}", *(f"  {'  '.join(row)}".rstrip() for row in rows), sep="\n")
        return 0
    for name in study.names():
        one = study.load(name)
        print(f"{name}  {one.title}")
        print(f"  notebooks  {', '.join(one.notebooks)}")
        print(f"  profiles   {', '.join(one.profiles) or 'none'}")
        print(f"  sweeps     {', '.join(one.sweeps) or 'none'}")
        print(f"  searches   {', '.join(one.searches) or 'none'}")
    return 0


def _new_study(options: argparse.Namespace) -> int:
    from eolab.studies import new

    print("\n".join(str(file) for file in new.write(options.name, options.task)))
    print(f"Run it on its simulated data: eolab run {options.name}")
    print("Lines with # Replace: in its notebooks say where your own data and functions go.")
    return 0
