"""The project as a whole: requirements, rooms, style of what is committed."""

from __future__ import annotations

import ast
import contextlib
import functools
import graphlib
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import yaml
from code_counting import code_lines
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = {path.parent.name for path in (ROOT / "eolab" / "studies").glob("*/__init__.py")} | {"notebooks"}
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if path.parent.name in OURS)

# conda-forge ships these under another name, without the parts that are not needed
CONDA_NAMES = {"dask-core": "dask", "matplotlib-base": "matplotlib"}

KERAS = {"keras", "tensorflow", "jax", "torch"}
LEARNING = {"models", "training", "prediction", "tasks", "studies"}  # rooms that may import Keras


def modules() -> list[Path]:
    return [path for path in sorted((ROOT / "eolab").rglob("*.py")) if path != ROOT / "eolab" / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "eolab").parts[0].removesuffix(".py")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Every absolute module name that a file imports, except for type checking alone."""
    tree = tree_of(path)
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def requirement_set(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        requirement = Requirement(line)
        found[CONDA_NAMES.get(requirement.name, requirement.name)] = str(requirement.specifier)
    return found


def test_environment_yml_carries_the_requirements_of_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = [line for line in conda["dependencies"] if isinstance(line, str)]
    pip = next(line["pip"] for line in conda["dependencies"] if isinstance(line, dict))
    found = requirement_set([line for line in lines if line != "pip"] + pip)
    assert found.pop("python") == str(
        Requirement("python" + PYPROJECT["project"]["requires-python"]).specifier
    )
    azure = PYPROJECT["project"]["optional-dependencies"]["azure"]
    assert found == requirement_set(PYPROJECT["project"]["dependencies"] + azure)
    assert {Requirement(line).name for line in pip} == {
        "tensorflow",
        "keras",
        *(Requirement(line).name for line in azure),
    }
    assert not any("-e" in line for line in lines + pip)


def test_each_requirement_has_a_floor_and_a_reason():
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("\ndependencies = [")[1].split("\n]")[0]
    for line in block.strip().splitlines():
        assert re.search(r'">?.*>=.*",\s+# \S+', line), f"no floor or no reason: {line}"


def test_constraints_pin_every_requirement_and_name_no_index():
    text = (ROOT / "constraints.txt").read_text()
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith(" ")}
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    wanted = {Requirement(line).name for line in PYPROJECT["project"]["dependencies"]}
    wanted |= {Requirement(line).name for extra in extras for line in extra}
    assert not {name.lower() for name in wanted} - {name.lower() for name in pinned}
    assert "://" not in text
    assert not (ROOT / "uv.lock").exists()


def room_graph() -> dict[str, set[str]]:
    """The rooms that each room imports from, discovered from the package itself."""
    graph: dict[str, set[str]] = {}
    for path in modules():
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("eolab.")}
        graph.setdefault(room_of(path), set()).update(rooms - {room_of(path), "__version__"})
    return graph


def test_rooms_stand_on_floors():
    """No room imports a higher one: there is an order of rooms in which every arrow points down."""
    graph = room_graph()
    assert set().union(*graph.values()) <= set(graph), "an import of a room that is not there"
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle
    assert order[0] == "core"
    assert order.index("data") < order.index("models") < order.index("tasks") < order.index("studies")


def test_the_inside_of_runs_is_layered():
    """Records import no execution, execution no reports and sweeps; imports of modules form no cycle.

    What records the outputs of an interactive run writes its report, as the worker does that of others.
    """
    top = {"clusters", "points", "reports", "search", "sweep", "trials", "worker"}
    execution = {"execute", "chain"}
    reporting = {"outputs": {"reports"}}
    graph: dict[str, set[str]] = {}
    for path in (ROOT / "eolab" / "runs").rglob("*.py"):
        own = path.relative_to(ROOT / "eolab" / "runs").parts[0].removesuffix(".py")
        names = {name.split(".")[2] for name in imports(path) if name.startswith("eolab.runs.")}
        if own != "__init__":
            graph.setdefault(own, set()).update(names - {own})
    for name, needed in graph.items():
        if name not in top:
            assert not needed & top - reporting.get(name, set()), name
        if name not in top | execution:
            assert not needed & execution, name
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_the_top_has_few_doors():
    entries = {room_of(path) for path in modules()}
    assert len(entries) <= 14, sorted(entries)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_rooms_that_learn_import_keras(path):
    if room_of(path) not in LEARNING:
        assert not {name.split(".")[0] for name in imports(path)} & KERAS


def shared_texts() -> dict[Path, str]:
    """Return what stands in shared rooms: code, comments, docstrings, tables and templates, by file.

    Readers, class schemes and the writers of published layouts have the words of their data sets. So have the
    titles of papers.
    """
    from eolab.data.layouts import LAYOUTS

    house, titles = ROOT / "eolab", re.compile(r"^ *Papers?: [^\"]+?(?=\n\n|\"\"\")", re.MULTILINE)
    own = [house / "studies", house / "data" / "layouts", house / "data" / "schemes"]
    names = {name.removesuffix("_v1").removesuffix("_v2") for name in LAYOUTS}
    found = {}
    for path in sorted(house.rglob("*")):
        if path.suffix not in {".py", ".csv", ".yaml", ".j2", ".css", ".xml"} or set(own) & set(path.parents):
            continue
        if house / "synthetic" not in path.parents or not path.name.startswith(tuple(names)):
            found[path] = titles.sub("", path.read_text())
    return found


@functools.cache
def class_names() -> set[str]:
    """Return names of classes that no other text has by chance: those of two words or more."""
    from eolab.data.schemes import bigearthnet, corine, landcover

    schemes = [bigearthnet.CLASSES_43, bigearthnet.CLASSES_19, landcover.LANDCOVER]
    schemes += [corine.scheme(level) for level in (1, 2, 3)]
    return {name for scheme in schemes for name in scheme.names if re.search(r"\w\W+\w", name)}


def test_shared_rooms_name_no_study():
    """Class names, units and axis texts are data: no study and no class of one stands in a shared room.

    A scene is a satellite image too, so of the study ``scenes`` its name as a module or folder is looked for.
    """
    words = r"(?i)landslide|flood|corine|bigearthnet|dry image|scenes[/_\"'`]"
    studies = "|".join(path.parent.name for path in (ROOT / "eolab" / "studies").glob("*/__init__.py"))
    found = {}
    for path, text in shared_texts().items():
        named = re.findall(rf"{words}|studies(?:\.| import )(?:{studies})", text)
        found[str(path)] = named + [name for name in class_names() if name.lower() in text.lower()]
    assert not {path: names for path, names in found.items() if names}


MEANINGS = {
    "colours": set(),  # arrays to draw are rgb, codes such as "#ff0000" colors
    "reference": set(),
    "reference_images": {"int"},
    "with_reference": {"bool"},
    "radar": {"np.ndarray", "np.ndarray | None"},
    "with_radar": {"bool"},
    "rgb": {"np.ndarray"},
    "rgb_bands": {"Sequence[str]"},
}


def test_a_parameter_name_has_one_meaning():
    """Names that had several, by their annotations; options of a twin stand in the catalogue as they are."""
    found: dict[str, set[str]] = {name: set() for name in MEANINGS}
    for path in [path for path in modules() if room_of(path) != "synthetic"]:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.arg) and node.arg in found and node.annotation:
                found[node.arg].add(ast.unparse(node.annotation))
    assert found == MEANINGS


def test_docstrings_are_sentences():
    """Of the draw says less than: Seed of the draw; so do sentences, Returns and Raises that begin so."""
    fragment = re.compile(r'(?:^ *|^ *[\w*]+(?: \([^)]*\))?: |"""|[.:] )(?:Of|As|Likewise)\b.*', re.MULTILINE)
    found = {}
    for path in modules():
        nodes = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.Expr)]
        texts = [
            n.value.value for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
        ]
        found[path.name] = fragment.findall(
            "\n".join(f'"""{text}' for text in texts if isinstance(text, str))
        )
    assert not {name: lines for name, lines in found.items() if lines}


def test_models_are_written_for_any_backend():
    """All but one module, whose operations have an equal of Keras's elsewhere."""
    for path in [p for p in modules() if room_of(p) == "models" and p.name != "fused.py"]:
        assert not {name.split(".")[0] for name in imports(path)} & (KERAS - {"keras"}), path


def test_importing_eolab_loads_nothing_heavy():
    code = "import sys, eolab, eolab.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(loaded) & {
        "tensorflow",
        "keras",
        "rasterio",
        "xarray",
        "pandas",
        "numpy",
        "matplotlib",
        "sklearn",
    }


@pytest.mark.slow
def test_studies_load_keras_only_where_they_learn():
    """Exploring and preprocessing need no TensorFlow, which takes seconds to load.

    Nor does the set-up cell of a notebook, so that parameters and upstream runs are looked at before.
    """
    studies = sorted(path.parent.name for path in (ROOT / "eolab" / "studies").glob("*/__init__.py"))
    lines = {f"from eolab.studies import {', '.join(studies)}"}
    for path in NOTEBOOKS:
        first = next(cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
        lines |= {line for line in "".join(first["source"]).splitlines() if "import" in line}
    code = "\n".join([*sorted(lines), "import sys", "print('keras' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> dict[Path, Path]:
    """Notebooks as git has them: those of the working tree have outputs once somebody has run them."""
    folder = tmp_path_factory.mktemp("committed")
    listed = subprocess.run(["git", "ls-files", "-z", "notebooks"], cwd=ROOT, capture_output=True).stdout
    command = ["git", "checkout-index", "-z", "--stdin", f"--prefix={folder}/"]
    subprocess.run(command, cwd=ROOT, input=listed, capture_output=True)
    found = {path: folder / path.relative_to(ROOT) for path in NOTEBOOKS}
    return {path: copy if copy.exists() else path for path, copy in found.items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path, committed):
    notebook = json.loads(committed[path].read_text())
    assert "papermill" not in notebook["metadata"]
    assert "widgets" not in notebook["metadata"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"]["name"] == "python"
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert "papermill" not in cell["metadata"]


def test_notebooks_are_committed_in_the_order_in_which_jupyter_saves():
    """Regression: in a new clone, git saw changes in three notebooks, which its filter had put into order."""
    for path in [*NOTEBOOKS, *(ROOT / "tests").rglob("*.ipynb")]:
        notebook = json.loads(path.read_text())
        for part in (notebook, notebook["metadata"], *notebook["cells"]):
            assert list(part) == sorted(part), path


def test_nbstripout_finds_nothing_to_strip(committed):
    keys = "metadata.papermill cell.metadata.papermill metadata.widgets"
    command = [
        sys.executable,
        "-m",
        "nbstripout",
        "--verify",
        "--keep-id",
        "--extra-keys",
        keys,
        *map(str, committed.values()),
    ]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.skipif(not (shutil.which("git") and shutil.which("make")), reason="needs git and make")
def test_run_all_leaves_git_clean(committed, tmp_path, monkeypatch):
    """What JupyterLab writes into a notebook is no change for git; nothing fails without nbstripout."""
    monkeypatch.chdir(tmp_path)
    for name in ("Makefile", ".gitattributes"):
        (tmp_path / name).write_text((ROOT / name).read_text())

    def shell(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert shell("make", "-s", "filter") == ""  # no git here
    shell("git", "init", "-q")
    shell("make", "-s", "filter", f"VENV={sys.prefix}")
    source = committed[NOTEBOOKS[0]].read_text()
    (tmp_path / "one.ipynb").write_text(source)
    shell("git", "add", "one.ipynb")
    assert shell("git", "show", ":one.ipynb") == source

    notebook = json.loads(source)
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    cell["execution_count"] = 1
    notebook["metadata"]["language_info"] |= {"version": "3.11.7", "mimetype": "text/x-python"}
    (tmp_path / "one.ipynb").write_text(json.dumps(notebook))
    assert shell("git", "diff", "one.ipynb") == ""
    shell("git", "add", "-u")
    assert shell("git", "status", "--short") == "A  one.ipynb\n?? .gitattributes\n?? Makefile\n"
    shell("make", "-s", "filter", "VENV=none")
    (tmp_path / "one.ipynb").write_text(json.dumps(notebook, indent=1))
    assert '"1\\n"' in shell("git", "diff", "one.ipynb")


def test_notebooks_name_data_sets_of_the_catalogue():
    from eolab.data import catalog
    from eolab.runs import parameters

    known = catalog.load(ROOT / "data_catalog.yaml")
    for path in NOTEBOOKS:
        named = {p.default for p in parameters.read(path) if p.name == "dataset"}
        assert named <= set(known), path


def missing_names(path: Path) -> list[str]:
    """Return the names of modules of the package that a notebook uses and that are not there."""
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    tree = ast.parse(re.sub(r"(?m)^[%!].*", "", code))
    known: dict[str, object] = {}
    missing = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eolab"):
            room = importlib.import_module(str(node.module))
            for alias in node.names:
                known[alias.asname or alias.name] = part_of(room, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.fullmatch(r"[\w.]+", ast.unparse(node)):
            first, *names = ast.unparse(node).split(".")
            found = known.get(first)
            for name in names:
                if not isinstance(found, types.ModuleType):
                    break
                found = part_of(found, name)
                if found is None:
                    missing.append(ast.unparse(node))
    return missing + [name for name, found in known.items() if found is None]


def part_of(module: types.ModuleType, name: str) -> object:
    try:
        return getattr(module, name)
    except AttributeError:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"{module.__name__}.{name}")
    return None


def test_a_notebook_looks_for_runs_of_those_alone_that_it_needs():
    """Side by side it could begin before others, and would be out of date as soon as they end."""
    asked = 0
    for path in NOTEBOOKS:
        code = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"][1:])
        named = set(re.findall(r'"(\d\d_\w+)"', code))
        if not named:
            continue
        inputs = yaml.safe_load((path.parent / "study.yaml").read_text())["notebooks"]
        needed = [path.stem]
        for one in needed:
            needed += inputs[one].get("inputs", {}).values()
        assert named <= {*needed}, path
        asked += len(named)
    assert asked > 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_use_names_that_are_there(path):
    assert missing_names(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_read_like_pages(path):
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    text = "\n".join(code)
    assert "".join(cells[0]["source"]).startswith("# ")
    assert re.search(r"^> .*minute", "".join(cells[0]["source"]), re.MULTILINE), "no line of facts"
    assert sum(line.startswith("def ") for line in text.splitlines()) <= 1
    assert sorted(len(c.splitlines()) for c in code)[int(0.9 * (len(code) - 1))] <= 16
    for forbidden in ("!pip", "%pip", "os.chdir", "sys.path", "http://", "https://"):
        assert forbidden not in text
    assert not re.search(r"print\(\s*(\{|dict\()", text), "a dict of Python on a page"
    assert not re.search(r"""["']/(home|root|tmp|work|mnt|data)""", text), "an absolute path"


def kinds_of(word: ast.keyword, captions: dict[tuple[str, str], str]) -> set[str]:
    """What ``run.show(name=…)`` needs a caption for: both where it shows a tuple, else one of them."""
    kinds = {"Figure", "Table"}
    if isinstance(word.value, ast.Tuple):
        return kinds
    return {kind for kind in kinds if (kind, word.arg) in captions} or {"Figure or Table"}


RECORDING = {"data", "figure", "table", "show", "scores", "metrics", "finish"}


def recording_lines(code: str) -> set[int]:
    """Lines of calls such as ``run.figure(…)``, without those that only hold the call of an argument."""
    lines: set[int] = set()
    for call in (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)):
        owner, _, name = ast.unparse(call.func).partition(".")
        if owner == "run" and name in RECORDING:
            lines.update(range(call.lineno, call.end_lineno + 1))
            for made in [*call.args, *(word.value for word in call.keywords)]:
                if isinstance(made, ast.Call) and made.lineno > call.lineno:
                    lines.difference_update(range(made.lineno, made.end_lineno + 1))
    return lines


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_at_most_a_quarter_of_a_notebook_keeps_records(path):
    """Counted are lines of code that are not blank, without the parameters cell."""
    cells = json.loads(path.read_text())["cells"]
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
    ]
    written = sum(bool(line.strip()) for source in code for line in source.splitlines())
    assert sum(len(recording_lines(source)) for source in code) <= written / 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_values_are_asked_for_in_captions_alone(path):
    """Regression: a sentence of the text showed {method}, as only captions are filled with values."""
    from eolab.runs import display

    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"`[^`]*`", "", display.without_captions("".join(cell["source"])))
            assert not re.findall(r"\{[a-z_]\w*\}", text), text
            whole = re.sub(r"`[^`]*`", "", "".join(cell["source"]))
            assert not re.findall(r"\{[a-z_]\w*:", whole), f"a caption has values without a format: {whole}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_figure_has_its_caption_and_each_caption_its_figure(path):
    """A figure or table without a caption in its call has one in the text, of existing names."""
    from eolab.runs import display

    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    found = display.captions("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    tree = ast.parse(code)
    needed = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) == "run.show":
            needed |= {(kind, word.arg) for word in call.keywords for kind in kinds_of(word, found)}
        kind = {"run.figure": "Figure", "run.table": "Table", "run.scores": "Table"}.get(
            ast.unparse(call.func)
        )
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if kind and len(call.args) < 3 and "caption" not in given and given.get("show") != "False":
            name = call.args[1] if len(call.args) > 1 else ast.Constant("scores")
            needed.add((kind, ast.literal_eval(name)))
    assert set(found) == needed
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {name for text in found.values() for name in re.findall(r"\{([\w.]+)\}", text)} <= names


def test_nothing_large_is_committed():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    large = [name for name in listed.stdout.split("\0") if name and (ROOT / name).stat().st_size > 1_000_000]
    assert not large


def declared(path: Path) -> dict:
    """The parameters of a notebook by name."""
    from eolab.runs import parameters

    return {parameter.name: parameter for parameter in parameters.read(path)}


TRAINING = {path: declared(path) for path in NOTEBOOKS if "training" in declared(path)}


def test_every_training_notebook_takes_the_same_settings():
    """Regression: --set training.ema=0.9 was refused by three of five notebooks, training.freeze by all."""
    assert {path.parent.name for path in TRAINING} == {
        "clearing",
        "flood",
        "landcover",
        "landslide",
        "scenes",
    }
    settings = [
        *("epochs", "batch_size", "min_steps", "optimizer", "optimizer_options", "learning_rate", "schedule"),
        *("schedule_options", "clipnorm", "ema"),
        *("class_weights", "patience", "precision", "freeze", "thaw"),
    ]
    kinds = set()
    for path, found in TRAINING.items():
        keys = found["training"].keys
        assert [key.name.removeprefix("training.") for key in keys] == settings, path
        assert found["training"].further("any") is None, f"{path}: an unknown setting is not refused"
        shared = [key for key in keys if key.name != "training.class_weights"]  # which have names of a study
        kinds.add(tuple((key.type, key.choices, key.bounds, key.special) for key in shared))
    assert len(kinds) == 1, "a setting differs in its type, its choices or its bounds"


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_a_training_notebook_has_at_most_14_parameters(path):
    """Settings that belong together are one parameter with keys."""
    assert len(TRAINING[path]) <= 14


STUDIES = sorted(path.parent for path in (ROOT / "eolab" / "studies").glob("*/__init__.py"))


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_what_a_study_alone_needs_is_small(folder):
    """Counted is the study's own room: the layout it reads and its twin stand in rooms that all share."""
    assert sum(code_lines(path.read_text()) for path in folder.rglob("*.py")) < 1500
