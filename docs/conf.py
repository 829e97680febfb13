"""Sphinx: pages in Markdown; parameters of notebooks and docstrings are read while the pages are built."""

import ast
import importlib
import inspect
import os
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["EOLAB_ROOT"] = str(ROOT)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from eolab import __version__  # noqa: E402
from eolab.runs import parameters, study  # noqa: E402

project, author, release = "eolab", "The eolab developers", __version__
html_title = f"eolab {release}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_default_options = {  # methods that scikit-learn adds to every estimator
    "exclude-members": ", ".join(
        f"set_{name}_request" for name in ("fit", "predict", "predict_proba", "score")
    )
}
autodoc_typehints = "description"  # what a docstring documents gets its type; signatures stay readable
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 90
add_module_names = False
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_center": [],  # all pages stand in the sidebar
    "footer_end": [],
}
html_sidebars = {"**": ["globaltoc.html"]}
html_show_sourcelink = False


class Notebooks(SphinxDirective):
    """A study's notebooks: the question of each, and the parameters that its cell declares."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section a notebook."""
        lines: list[str] = []
        for notebook in study.load(self.arguments[0]).notebooks.values():
            self.env.note_dependency(str(notebook.path))
            title, facts, question = parameters.cells(notebook.path, "markdown")[0].split("\n\n")[:3]
            lines += [f"#{title}", "", f"`{notebook.study}/{notebook.name}`", ""]
            lines += [question, "", facts, ""]
            declared = parameters.read(notebook.path)
            if declared:
                lines += ["| parameter | type | default | what it is |", "|---|---|---|---|"]
            for one in declared:
                lines += [_row(key) for key in ((one, *one.keys) if one.keys else (one,))]
            lines.append("")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _row(one: parameters.Parameter) -> str:
    default = "its keys:" if one.keys else f"`{one.default!r}`"
    return f"| `{one.name}` | {one.type} | {default} | {one.help} |".replace("<", "&lt;")


class Door(SphinxDirective):
    """A module or package: its docstring, and the functions and classes that it defines or offers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section, named as the module."""
        name = self.arguments[0]
        module = importlib.import_module(name)
        self.env.note_dependency(str(module.__file__))
        lines = [f"## {name}", "", "```{eval-rst}", f".. automodule:: {name}", ""]
        for offered in _offered(module):
            found = getattr(module, offered, None)  # a name for type checkers alone is not there
            kind = "class" if inspect.isclass(found) else "function" if inspect.isroutine(found) else ""
            if kind and found.__module__.startswith(name):
                members = ["   :members:"] * (kind == "class" and not issubclass(found, tuple))
                lines += [f".. auto{kind}:: {name}.{offered}", *members, ""]
        return self.parse_text_to_nodes("\n".join([*lines, "```"]), allow_section_headings=True)


def _offered(module: object) -> list[str]:
    """Return the public names that a module imports from the package or defines, in the order of its text."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    names: list[str] = []
    for node in [one for top in tree.body for one in (top.body if isinstance(top, ast.If) else [top])]:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("eolab"):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]


def setup(app: Sphinx) -> None:
    """Add the two directives."""
    app.add_directive("notebooks", Notebooks)
    app.add_directive("door", Door)
