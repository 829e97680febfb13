"""``eolab new-study``: notebooks and a ``study.yaml`` that run on a twin at once, from one set of templates.

``templates/notebooks.j2`` holds the four notebooks of any task, ``templates/tasks.yaml`` what differs between
tasks: the twin, and the four functions of the study (:mod:`eolab.studies.protocol`) whose twin it is.
"""

import json
import re
from pathlib import Path
from typing import Any

from eolab.core import workspace, yamls
from eolab.core.errors import EolabError, ParameterError, check_known

TEMPLATES = Path(__file__).parent / "templates"
_HOMES = {  # module → what notebooks import from it
    "eolab": "evaluation plots runs tasks",
    "eolab.data": "catalog preprocess regions schemes sequences splits store tracks",
    "eolab.data.layouts": "sen12flood",
    "eolab.data.schemes.bigearthnet": "class_set",
    "eolab.evaluation": "postprocess",
    "eolab.studies": "clearing flood landcover landslide scenes",
    "eolab.tasks.baselines": "fit_baselines",
    "eolab.training": "set_up",
}
METADATA: dict[str, Any] = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def tasks() -> dict[str, dict[str, Any]]:
    """Return what the templates know of each task by its name."""
    return dict(yamls.read(TEMPLATES / "tasks.yaml"))


def write(name: str, task: str) -> list[Path]:
    """Write the notebooks of a study of one's own.

    The folder is ``notebooks/NAME`` of the project, see :func:`eolab.core.workspace.root`; the working
    directory becomes a project where there is none. An entry of the twin is added to a catalogue without one.

    Args:
        name: Name of the study: small letters, digits and ``_``.
        task: Name of its task.

    Returns:
        The files that were written or changed.

    Raises:
        ParameterError: If the name is none, its folder exists, or there are no templates for the task.
    """
    known = tasks()
    check_known(task, known, f"There is no twin for a study of the task {task!r}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ParameterError(f"The name {name!r} has other signs than small letters, digits and _.")
    try:
        root = workspace.root()
    except EolabError:
        root = Path.cwd()
    folder = root / "notebooks" / name
    if folder.exists():
        raise ParameterError(f"{folder} exists already: give the study another name, or move it away.")
    changed = _add_twin(root / workspace.CATALOG_FILE, known[task]["dataset"])
    contents = {f"{title}.ipynb": text for title, text in notebooks(name, task).items()}
    contents["study.yaml"] = _study(name, known[task])
    folder.mkdir(parents=True)
    for title, text in contents.items():
        (folder / title).write_text(text, encoding="utf-8")
    return [*changed, *(folder / title for title in contents)]


def notebooks(name: str, task: str) -> dict[str, str]:
    """Return the notebooks of a study as JSON by their names."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from eolab.tasks import get

    house = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    house.filters["python"] = lambda value: repr(value).replace("'", '"')
    values = {"options": {}, "fit": [], "sequences": False, "classes": False, **tasks()[task]}
    text = house.get_template("notebooks.j2").render(t=values, name=name, task=get(task))
    blocks = (block.split("\n", 1) for block in text.split("@@ ")[1:])
    return {title: _notebook(title, body) for title, body in blocks}


def _imports(code: str) -> str:
    """Return the imports of what some code uses, in the order of isort."""
    found: dict[str, list[str]] = {}
    for module, names in _HOMES.items():
        used = [one for one in names.split() if re.search(rf"(?<![\w.]){one}[.(]", code)]
        if used:
            found[module] = used
    others = ["import numpy as np"] * bool(re.search(r"\bnp\.", code))
    if ".odc." in code:
        others.append("import odc.geo.xr  # noqa: F401  (registers the accessor .odc)")
    own = [f"from {module} import {', '.join(names)}" for module, names in found.items()]
    return "\n".join([*others, *([""] if others else []), *own])


def _notebook(title: str, body: str) -> str:
    """Return the cells of a template, which begin with lines such as ``@ code``, as a notebook."""
    parts = [part.removeprefix("@ ").split("\n", 1) for part in body.split("\n@ ")]
    imports = _imports("\n".join(source for kind, source in parts if kind != "text"))
    cells: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(parts):
        text = re.sub(r"\n{3,}", "\n\n", source.strip().replace("IMPORTS", imports))
        cell: dict[str, Any] = {
            "id": f"{title[:2]}{number:06d}",
            "metadata": {},
            "source": text.splitlines(keepends=True),
        }
        if kind == "text":
            cells.append({"cell_type": "markdown", **cell})
            continue
        if kind == "parameters":
            cell["metadata"] = {"tags": ["parameters"]}
        cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append({key: cell[key] for key in sorted(cell)})
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _study(name: str, values: dict[str, Any]) -> str:
    """Return study.yaml: the notebooks in order, and a sweep over seeds."""
    inputs: dict[str, Any] = {"01_explore": {}, "02_preprocess": {}}
    inputs["03_train"] = {"inputs": {"preprocessed": "02_preprocess"}}
    inputs["04_results"] = {"inputs": {"trained": "03_train"}}
    return yamls.dumps(
        {
            "title": values["title"],
            "description": f"Begun from a template on the twin {values['dataset']}.",
            "notebooks": inputs,
            "profiles": {"smoke": {}, "full": {"03_train": {"training": {"epochs": 50}}}},
            "sweeps": {
                "seeds": {
                    "title": "How much does a score move from seed to seed?",
                    "notebook": "03_train",
                    "grid": {"seed": [0, 1, 2]},
                    "table": {"rows": ["model"]},
                }
            },
        }
    )


def _add_twin(file: Path, name: str) -> list[Path]:
    """Add the entry of a twin to a project's catalogue that lacks it; return what was changed."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if name in yamls.loads(text or "{}"):
        return []
    entry = yamls.read(_shipped())[name]
    block = yamls.dumps({name: entry | {"uri": f"data/{name}"}})
    file.write_text(f"{text.rstrip()}\n\n{block}".lstrip(), encoding="utf-8")
    return [file]


def _shipped() -> Path:
    """Return the catalogue that came with the package, of a checkout or a wheel."""
    places = [Path(__file__).parents[number] / workspace.CATALOG_FILE for number in (2, 1)]
    return next(file for file in places if file.is_file())
