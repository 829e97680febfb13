"""The commands `eolab data …`: list, check, make, fetch and add data sets."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from eolab.cli.parsing import command
from eolab.core.errors import EolabError, ParameterError
from eolab.core.numbers import padded

EXAMPLES = """\
examples:
  eolab data list                     what is here, and how to get the rest
  eolab data make landcover_twin      write a simulated data set
  eolab data check landcover_twin     read every file and say which cannot be used, and why
  eolab data add my_images            look at a folder and write an entry for it
  eolab data fetch element84 --tile 33TVM --dates 2018-04-01 2018-10-31 --clouds 60

`eolab data ACTION --help` says more of each."""

FETCH_EXAMPLES = """\
examples:
  eolab data fetch element84 --tile 33TVM --dates 2018-04-01 2018-10-31 --clouds 60
                                      list images of a STAC catalogue; with --out DIR they are downloaded
  eolab data fetch element84 --plan --tile 31UFT 31UGS --dates 2018-01-01 2020-12-31
                                      disk, hours and memory of each tile and year, nothing is downloaded
  eolab data fetch lpdaac --collection HLSL30_2.0 --bounds 14.9 45.9 15.1 46.1 --bands B04 B8A --out DIR

Catalogues are element84, planetary_computer, copernicus and lpdaac (the last two want a login's token in
EOLAB_STAC_TOKEN), or the address of another one; they need `pip install 'eolab[stac]'`. A stopped download
goes on with the same command."""

ADD_EXAMPLES = """\
examples:
  eolab data add my_fields                      images of several dates, with a map or polygons
  eolab data add EuroSAT --name my_scenes       a folder a class
  eolab data add my_patches --layout rasters    not as the published layout that it looks like

The entry is written to the catalogue of your own: --catalog, EOLAB_CATALOG, the nearest eolab_catalog.yaml
above the working directory, else a new one there. Change it by hand as you like: docs/own_data.md."""


def add_commands(actions: Any) -> None:
    """Add what is done with data sets, each with options of its own."""
    command(actions, _list, "list the data sets: what is here, and how to get the rest")
    text = "read every file of a data set, or compare a sample store with its digests"
    check = command(actions, _check, text)
    check.add_argument("name", nargs="?", metavar="NAME", help="data set, or folder of a sample store")
    make = command(actions, _make, "write a simulated data set")
    make.add_argument("name", nargs="?", metavar="NAME", help="data set")
    text = "list images of a STAC catalogue, plan their use, or download them"
    fetch = command(actions, _fetch, text, FETCH_EXAMPLES)
    fetch.add_argument("name", nargs="?", metavar="CATALOGUE", help="STAC catalogue: a name or an address")
    _add_fetch_options(fetch)
    text = "look at a folder of your own and write an entry for it into your catalogue"
    add = command(actions, _add, text, ADD_EXAMPLES)
    add.add_argument("folder", metavar="FOLDER", type=Path, help="folder with images, or one file")
    add.add_argument("--name", default="", help="name of the data set (default: that of the folder)")
    add.add_argument("--layout", default="", help="layout, where it is not the one that is recognised")


def _add_fetch_options(group: Any) -> None:
    text = "default sentinel-2-l2a"
    group.add_argument("--collection", metavar="NAME", default="sentinel-2-l2a", help=text)
    text = "tiles of Sentinel-2, such as 33TVM"
    group.add_argument("--tile", nargs="+", default=[None], metavar="TILE", help=text)
    text = "area in degrees: west south east north; images are cut to it"
    group.add_argument("--bounds", nargs=4, type=float, metavar="DEGREES", help=text)
    group.add_argument("--dates", nargs=2, metavar="DAY", help="first and last day")
    text = "largest share of clouds (default 100)"
    group.add_argument("--clouds", type=float, default=100.0, metavar="PERCENT", help=text)
    group.add_argument("--bands", nargs="+", default=[], metavar="BAND", help="bands (default: all)")
    group.add_argument("--out", type=Path, metavar="DIR", help="folder to download to; without it, a list")
    text = "say what download, composites, samples and maps of each tile and year take"
    group.add_argument("--plan", action="store_true", help=text)
    text = (
        "rates of the plan: download (MB/s), composites (million values/s), prediction (pixels/s) and others"
    )
    group.add_argument("--rates", nargs="+", default=[], metavar="NAME=NUMBER", help=text)


def _entry(options: argparse.Namespace, action: str) -> Any:
    """Return the data set that a command names."""
    from eolab.data import catalog

    known = catalog.load()
    if not options.name:
        raise EolabError(f"`eolab data {action}` needs a name; known are {', '.join(known)}.")
    return known[options.name]


def _make(options: argparse.Namespace) -> int:
    print(_entry(options, "make").make())
    return 0


def _check(options: argparse.Namespace) -> int:
    given = Path(options.name or "")
    inside = [one for one in (given, given / "store") if (one / "store.json").is_file()]
    if options.name and inside:
        from eolab.data import store

        store.open_store(inside[0]).verify()
        print(f"{inside[0]}: the store's description, table and arrays are what its digests say.")
        return 0
    return _check_data(_entry(options, "check"))


def _add(options: argparse.Namespace) -> int:
    from eolab.data import catalog, own
    from eolab.studies.opening import first_run, studies_of

    file = own.own_file()
    said, name = own.add(options.folder, file, options.name, options.layout)
    print("\n".join(said))
    entry = catalog.load(file)[name]
    status = _check_data(entry)
    for study in studies_of(entry) if not status else ():
        print(f"Use it from {study}/01_explore on: {first_run(entry, study)}")
    return status


def _fetch(options: argparse.Namespace) -> int:
    """List the images of a STAC catalogue, or download them; return 1 where some are not there."""
    import pandas as pd

    from eolab.data import retrieval

    if not options.name:
        known = ", ".join(retrieval.SERVICES)
        raise ParameterError(f"`eolab data fetch` needs a catalogue: one of {known}, or a web address.")
    machine = retrieval.rates(options.rates)
    about = options.bounds, options.dates, options.clouds
    parts = [retrieval.search(options.name, options.collection, tile, *about) for tile in options.tile]
    found = pd.concat(parts, ignore_index=True).drop_duplicates("id", ignore_index=True)
    if options.plan:
        plan = retrieval.plan(found, machine)
        print(plan.replace({"year": {0: "all"}}).to_string(index=False, float_format="{:.2f}".format))
        print(f"{int(found['gigabytes'].isna().sum())} of {len(found)} products state no size. {machine}")
        return 0
    if options.out is None:
        print(found.drop(columns="item").to_string(index=False))
        print(f"{len(found)} images; nothing was downloaded: --out DIR does.")
        return 0
    report = retrieval.fetch(found, options.out.expanduser(), options.bands, options.bounds)
    print("\n".join([*retrieval.fetch_summary(report), f"Entry: {options.out / 'catalog.yaml'}"]))
    return 1 if report["status"].isin(["missing", "failed"]).any() else 0


def _check_data(entry: Any) -> int:
    """Print what reading every file of a data set finds; return 1 where its study could not work with it."""
    from eolab.core.errors import DataError
    from eolab.studies.opening import open_as_its_study

    try:
        report = entry.check(again=True)
        rejected = report.files[report.files["status"] != "ok"]
        for row in rejected.itertuples(index=False):
            print(f"rejected  {row.file}  {row.reason}")
        print(f"{entry.name}: {report.ok} files can be used, {report.rejected} cannot.")
        open_as_its_study(entry)
    except DataError as error:
        print(f"eolab: {error}", file=sys.stderr)
        return 1
    return 0 if report.ok else 1


def _list(_: argparse.Namespace) -> int:
    """Print the data sets: what is here, and what to do for those that are not."""
    from eolab.data import catalog

    known = catalog.load()
    rows: list[tuple[str, ...]] = [("name", "here", "data", "size", "licence", "how to get it")]
    for name in known:
        entry = known[name]
        kind = "simulated" if entry.simulated else "weights" if entry.layout == "weights" else "real"
        facts = (str(entry.metadata.get(key) or "–") for key in ("size", "license"))
        how = _how_to_get(entry)
        rows.append((name, "no" if how else "yes", kind, *facts, how))
    for row in padded(rows):
        print("  ".join(row).rstrip())
    for fault in known.faults.values():
        print(f"cannot be used: {fault}")
    return 0


def _how_to_get(entry: Any) -> str:
    """Return what to do for a data set that is not on this machine; empty for one that is."""
    if entry.exists():
        return ""
    if entry.simulated:
        return f"eolab data make {entry.name}"
    variables = re.findall(r"\$\{(\w+)", entry.uri)
    place = f"set {variables[0]} to its folder" if variables else f"put it at {entry.uri}"
    url = entry.metadata.get("url")
    return f"{place}; {url}" if url else place
