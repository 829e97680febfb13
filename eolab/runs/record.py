"""The run a notebook writes: its folder, figures, tables, metrics and where its data came from.

In a notebook, in the cell after the parameters cell::

    run = runs.start("landcover/04_train_pixels", globals())
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from eolab.core import workspace, yamls
from eolab.core.errors import ParameterError, RunError, check_known
from eolab.core.files import write_atomically
from eolab.core.numbers import counted
from eolab.core.progress import in_notebook
from eolab.data import fingerprints, sources
from eolab.runs import display, folders, history, lines, outputs, parameters, provenance, study, upstream
from eolab.runs.short import Short, markup, text
from eolab.runs.study import Notebook
from eolab.training import distributed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from eolab.data.catalog import CheckReport

RUN_DIR = "EOLAB_RUN_DIR"
_HELD: list[TextIO] = []  # the lock of the run folder that this process's notebook works in


class Run:
    """One run of a notebook and its folder.

    Attributes:
        folder: The run folder.
        study: Name of the study.
        notebook: Name of the notebook.
        params: Every parameter with its value.
        simulated: Whether any data set used so far, here or upstream, is simulated.
    """

    def __init__(
        self, folder: Path, notebook: Notebook, params: Mapping[str, Any], namespace: Mapping[str, Any]
    ) -> None:
        self.folder = folder
        self._namespace = namespace
        self._captions = display.captions(parameters.cells(notebook.path, "markdown"))
        self.study, self.notebook = notebook.study, notebook.name
        self.params = dict(params)
        self.simulated = False
        self._book, self._inputs = notebook, notebook.inputs
        self._said: set[str] = set()  # inputs that a line was printed of
        self._recorder: outputs.Recorder | None = None  # under the runner there is none
        self._short = Short()
        self._finished = False
        self._started = history.RunRecord(folder).record.get("started")

    def __repr__(self) -> str:
        return f"Run({self.study}/{self.notebook}, {self.folder})"

    def path(self, name: str) -> Path:
        """Return the path of a file in the run folder, its parent folder made.

        Raises:
            RunError: If the name leads out of the folder or is that of a file that the record is kept in, or
                the run is finished.
        """
        written = self._hold().record.get("written") or []
        place = os.path.normpath(name)
        if os.path.isabs(name) or place.startswith("..") or place in (".", *folders.RECORDED):
            raise RunError(
                f"A run writes files of its own into its folder, found the name {name!r}: choose a name such "
                "as 'model.keras' or 'maps/north.tif'."
            )
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in written:
            folders.update_record(self.folder, written=[*written, name])
        return path

    def _hold(self) -> history.RunRecord:
        """Return the record as it is; a RunError where the run is finished or was begun again since."""
        if self._finished:
            raise RunError(
                f"The run {self.folder} is finished and keeps its results: run the notebook again from its "
                "first cell to repeat it. Cells that write stand above the one with run.finish()."
            )
        run = history.RunRecord(self.folder)
        if run.record.get("started") != self._started:
            raise RunError(
                f"{self.folder} was begun again meanwhile, by another notebook of the same parameters or by "
                "`eolab run`, or is gone: nothing more is written here; restart this kernel to begin anew."
            )
        return run

    def input(self, name: str) -> Path:
        """Return the folder of the upstream run that an input parameter names, and say which it is.

        The value of the parameter, or when it is empty the newest finished run of the notebook that
        ``study.yaml`` gives for it; a missing one is made where somebody is in front of the notebook. What
        upstream data were simulated, this run's results are too.

        Raises:
            ParameterError: If ``name`` is no parameter of this notebook.
            RunError: If the upstream notebook has no finished run.
        """
        own = self._hold()
        check_known(name, self.params, f"{self.notebook} has no parameter {name!r}")
        value = self.params[name]
        if not value and name not in self._inputs:
            raise ParameterError(
                f"Parameter {name!r} is empty and no input in {self.study}/{study.FILE}: set it."
            )
        others, batch = own.lineage(without=name), bool(os.environ.get(RUN_DIR))
        if not value and not batch and in_notebook():
            upstream.make(self._book, self.params, [name])
        folder = Path(value) if value else history.input_run(self.study, self._inputs[name], others)
        found = history.load(folder if folder.is_absolute() else workspace.root() / folder)
        made_by, expected = found.record["notebook"], self._inputs.get(name)
        known = own.record.get("upstream") or {}
        if name not in self._said:
            self._said.add(name)
            print(upstream.line(found, batch))
        if expected and (found.record["study"], made_by) != (self.study, expected):
            whose = f"{found.record['study']}/{made_by}"
            print(f"Take care: {found.folder} is a run of {whose}, expected one of {expected}.")
        if found.status != "done":
            print(f"Take care: {found.folder} is not finished: its status is {found.status}.")
        if not history.agrees(found.with_lineage(), others):
            print(f"Take care: {found.folder} was made from other runs than the inputs beside it.")
        self._short.count(found.metrics)
        self._mark(found.simulated, upstream=known | {name: found.stamp})
        return found.folder

    def data(self, source: Any, report: CheckReport | None = None) -> None:
        """Record a data set that this run reads, and print one line about it.

        Args:
            source: An entry of ``eolab.data.catalog``, or a sample store made from one.
            report: What reading its files found; the rejected ones are saved as ``tables/rejected.csv``.
        """
        if report is not None:
            self.table(report.files[report.files["status"] != "ok"], "rejected", show=False)
        own, found = self._hold(), provenance.data(source)
        folders.add_entry(self.folder / folders.DATA, found)
        self._mark(found["simulated"])
        self._short.data(found["name"], found["simulated"])
        for notebook in own.other_data(found):
            print(f"Take care: {found['name']} changed since {notebook} read it: run that again.")
        kind = "SIMULATED data" if found["simulated"] else "real data"
        licence = f", licence {found['license']}" if found["license"] else ""
        print(f"Data: {found['name']} ({kind}{licence}), fingerprint {found['fingerprint'][:12]}")

    def show(self, **outputs: Figure | pd.DataFrame | tuple[Figure | pd.DataFrame, ...]) -> None:
        """Save figures and tables and show them in order, each with its caption of the notebook's text.

        Args:
            outputs: Figure or table by name; a tuple where a figure and a table have one name.

        Raises:
            RunError: If there is no caption.
        """
        import pandas as pd

        for name, found in outputs.items():
            for output in found if isinstance(found, tuple) else (found,):
                save: Any = self.table if isinstance(output, pd.DataFrame) else self.figure
                save(output, name)

    def figure(
        self,
        figure: Figure,
        name: str,
        caption: str | None = None,
        data: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        """Save a matplotlib figure as ``figures/<name>.png`` and show it with its caption.

        Args:
            figure: The figure; it is closed afterwards.
            name: Name of the file without ending.
            caption: What to see in it, a sentence or two; that of the notebook's text where None, see
                :mod:`eolab.runs.display`.
            data: The numbers that it shows, saved as ``tables/<name>.csv``; several tables by their titles.

        Raises:
            RunError: If there is no caption.
        """
        import matplotlib.pyplot as plt

        tables = data if isinstance(data, Mapping) else {name: data}
        for title, numbers in tables.items():
            if numbers is not None:
                self.table(numbers, re.sub(r"\W+", "_", title), show=False)
        image = display.png(figure, self.simulated)
        plt.close(figure)
        file = f"figures/{name}.png"
        write_atomically(self.path(file), image)
        note = self._caption("Figure", name, caption, self.simulated)
        entry = {"name": name, "file": file, "caption": str(note), "alt": note.text}
        folders.add_entry(self.folder / folders.FIGURES, entry | {"simulated": self.simulated})
        _show(display.figure_html(image, note), f"Figure {name}: {note}")

    def table(
        self,
        table: pd.DataFrame,
        name: str,
        caption: str | None = None,
        formats: Mapping[str, str] | None = None,
        show: bool | pd.DataFrame = True,
        published: bool = False,
    ) -> None:
        """Save a table as ``tables/<name>.csv``, all digits kept, and show it with its caption.

        A score table is shown in its readable form, see :func:`eolab.evaluation.readable`.

        Args:
            table: The table.
            name: Name of the file without ending.
            caption: What it holds; that of the notebook's text where None, see :mod:`eolab.runs.display`.
            formats: Column → how its values are shown, such as ``{"F1": "{:.3f}"}``.
            show: False to save it only, for long tables that another notebook reads; or the table to show in
                its place, such as a readable form of it.
            published: Whether all its numbers are published ones, which are never marked as simulated.

        Raises:
            RunError: If the table is shown and there is no caption.
        """
        path = self.path(f"tables/{name}.csv")
        from eolab import evaluation

        whole, table = table, evaluation.write_drawn(table, path.with_suffix(folders.DRAWN))
        folders.write_text(path, table.to_csv(index=not display.is_plain(table)))
        folders.write_json(path.with_suffix(".kinds.json"), _kinds(table))
        if show is not False:
            self._short.scores(whole, model=str(self.params.get("model", "")))
            shown = _readable(table) if isinstance(show, bool) else show
            note = self._caption("Table", name, caption, self.simulated and not published)
            _show(display.table_html(shown, note, formats or {}), f"{note}\n{shown}")

    def scores(
        self,
        table: pd.DataFrame,
        name: str = "scores",
        *,
        model: str | None = None,
        under: str = "",
        headline: str = "",
        over: str = "",
        **how: Any,
    ) -> None:
        """Save a score table, show its readable form, and record its numbers as metrics.

        The box "In short" says the main score of the first table that is shown.

        Args:
            table: Result of :func:`eolab.evaluation.score_table`.
            name: Name of the table's file without ending.
            model: The model whose numbers stand at the top of the metrics, see
                :func:`eolab.evaluation.nested`; that of the parameter `model` where None.
            under: Name that the metrics stand under, such as "all_classes"; empty for the top.
            headline: The score that the box says instead, as "scope.statistic".
            over: The model that the box compares with, the best baseline where empty.
            **how: How the table is shown, see :meth:`table`: caption, formats, show.
        """
        from eolab import evaluation

        model = str(self.params.get("model", "")) if model is None else model
        if headline or how.get("show") is not False:
            self.headline(table, headline, model=model, over=over)
        self.table(table, name, **how)
        numbers = evaluation.nested(table, model)
        self.metrics({under: numbers} if under else numbers)

    def headline(self, scores: pd.DataFrame, statistic: str = "", *, model: str = "", over: str = "") -> None:
        """Say the main score of a table in the box "In short", see :func:`eolab.evaluation.summary`.

        Where neither a statistic nor the other model is given, the first table of a run counts.

        Args:
            scores: Result of :func:`eolab.evaluation.score_table`.
            statistic: The score, as "scope.statistic"; the main one of the table where empty.
            model: Whose score; that of the best model where empty or not in the table.
            over: The model that it is compared with, the best baseline where empty.
        """
        self._short.scores(scores, statistic, model, over)

    def short(self, sentence: str, counts: Mapping[str, int] | pd.Series | None = None) -> None:
        """Add a computed sentence to the box "In short", see :meth:`finish`.

        Args:
            sentence: The sentence; where there are `counts`, what they are of, such as "Samples by split".
            counts: How many of each kind, such as ``{"train": 1200, "test": 300}``.
        """
        numbers = {str(name): int(number) for name, number in (() if counts is None else counts.items())}
        self._short.say(sentence if counts is None else f"{sentence}: {counted(numbers)}.")

    def metrics(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Merge metrics into ``metrics.json``; nested names are kept, NaN becomes null.

        Args:
            values: Metrics by name, such as ``{"test": {"f1": 0.7}}``.
            more: The same as keywords: ``run.metrics(parameters=31_000)``.

        Raises:
            RunError: If a value is neither number nor text nor a collection of them.
        """
        self._hold()
        path = self.folder / folders.METRICS
        folders.write_json(path, _merged(folders.read_json(path), folders.plain({**(values or {}), **more})))

    def finish(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record the last metrics, see :meth:`metrics`, and mark the run as done; call it in the last cell.

        It ends with the box "In short": data, main score and gain, what to take care of, link to the report.
        Under the runner the runner decides, after the last cell, whether the run is done.
        """
        self.metrics(values, **more)
        short = self._short.finished(self._hold())
        folders.write_json(self.folder / folders.SHORT, short)
        known = self._hold().record.get("modules") or {}
        folders.update_record(self.folder, modules=known | sources.imported())
        history.watch(None)
        if os.environ.get(RUN_DIR):
            _show(markup(short, self.simulated, folders.REPORT), text(short, self.simulated))
            return
        folders.end(self.folder, "done")
        self._finished, place = True, folders.home(self.folder)
        if place != self.folder:
            folders.replace(place, self.folder)
            self.folder = place
        _release()
        link = self._recorder.report(self._book.path, self.folder) if self._recorder else ""
        if os.environ.get("MLFLOW_TRACKING_URI"):
            from eolab.runs import tracking

            try:
                tracking.log(self.folder)
            except RunError as error:  # the run is done all the same
                print(error)
        _show(markup(short, self.simulated, link), text(short, self.simulated))
        print(f"Run folder: {self.folder}")

    def _caption(self, kind: str, name: str, given: str | None, simulated: bool) -> display.Caption:
        text = given or self._captions.get((kind, name))
        if not text:
            raise RunError(
                f"{kind} {name!r} has no caption: write '**{kind} {name}.** What to see.' in a text cell of "
                f"{self.notebook}, or give a caption."
            )
        text = given or display.filled(text, {**self._namespace, **self.params})
        return display.Caption(text, simulated, in_text=not given)

    def _mark(self, simulated: bool, **changes: Any) -> None:
        """Change keys of the record; what was made from simulated data once stays simulated."""
        self.simulated |= simulated
        folders.update_record(self.folder, **changes, simulated=self.simulated)


def start(notebook: str, namespace: Mapping[str, Any]) -> Run:
    """Start recording the run of a notebook; call it in the cell after the parameters cell.

    The parameters are read from the namespace by the names that the notebook's parameters cell declares.
    Under ``eolab run`` the run folder is the runner's; in JupyterLab it is ``interactive-<hash>`` under
    ``workspace.runs()``, the same folder for the same parameters. Where that run is finished it is repeated
    in ``<folder>.repeat``, which begins with the files of the finished run and takes its place in the end.
    In JupyterLab missing runs that the notebook stands on are made first, see :mod:`eolab.runs.upstream`.

    Args:
        notebook: ``study/notebook``, such as ``"landcover/04_train_pixels"``.
        namespace: ``globals()`` of the notebook.

    Raises:
        ParameterError: If a parameter has a changed type or a value outside its choices.
        RunError: If the runner runs another notebook than ``notebook`` says, or another process is at it.
    """
    batch = os.environ.get(RUN_DIR)
    if batch:
        distributed.join()  # before anything is computed
    display.hide_deprecations()
    display.explain_errors(bool(batch))
    if not batch:
        fingerprints.begin()
        display.hide_start_up_lines()
    book = study.notebook(notebook)
    declared = book.parameters
    missing = [p.name for p in declared if p.name not in namespace]
    if missing:
        raise ParameterError(
            f"{notebook}: no value of parameter {missing[0]!r}: run the parameters cell first."
        )
    flat = parameters.check(declared, {p.name: namespace[p.name] for p in declared}, notebook)
    if not batch and in_notebook():  # before TensorFlow is imported, which takes seconds
        upstream.make(book, flat, upstream.always_read(book))
    folder = Path(batch) if batch else _begun(_interactive_folder(book, flat))
    about = book.about(flat)
    for group in about["groups"]:  # a caller may have given some of its keys only
        namespace[group].update(about["parameters"][group])
    _write_record(folder, about, interactive=not batch)
    run = Run(folder, book, about["parameters"], namespace)
    run._recorder = None if batch else outputs.record()
    history.watch(run.folder)
    return run


def _begun(folder: Path) -> Path:
    """Return where a run of this process works, in its folder or beside a finished one, and hold it.

    It is held until the run is finished or another one is started.
    """
    _release()
    while True:
        finished = history.RunRecord(folder).status == "done"
        place = folders.beside(folder) if finished else folder
        held = folders.lock_soon(place)
        if held is None:
            raise RunError(folders.BUSY.format(place))
        done = finished and history.RunRecord(place).status == "done"
        if not done and finished == (history.RunRecord(folder).status == "done"):
            break
        if done:  # what kept the repetition from its place has passed
            folders.replace(folder, place)
        held.close()
    _HELD.append(held)
    if finished and not history.RunRecord(place).record:
        folders.share(folder, place)
    return place


def _release() -> None:
    while _HELD:
        _HELD.pop().close()


def _write_record(folder: Path, about: Mapping[str, Any], interactive: bool) -> None:
    place = folders.home(folder)
    record = folders.read_json(folder / folders.RECORD) or folders.read_json(place / folders.RECORD)
    known, own = (f"{one.get('study')}/{one.get('notebook')}" for one in (record, about))
    if record and known != own:
        raise RunError(f"The notebook says runs.start({own!r}), but it is run as {known!r}.")
    changes = {**record, **about, "run": place.name, "simulated": False}
    changes |= {
        "modules": sources.imported(),
        "found": {},
        "sweeps": {},
        "files": provenance.files(about["parameters"]),
    }
    if interactive:
        changes |= {"status": "running", "started": folders.now(), "ended": None, "interactive": True}
        changes |= {"upstream": {}, "sweep": ""}
    for stale in (folders.METRICS, folders.FIGURES, folders.DATA, folders.SHORT):
        (folder / stale).unlink(missing_ok=True)
    folders.write_json(folder / folders.RECORD, changes)
    values = about["parameters"]
    folders.write_text(folder / folders.PARAMS, yamls.dumps(values))
    made_with = provenance.environment(workspace.root(), values.get("seed"))
    folders.write_json(folder / folders.ENVIRONMENT, made_with)


def _interactive_folder(book: Notebook, values: Mapping[str, Any]) -> Path:
    upstream: dict[str, Path] = {}
    known: list[dict[str, Any]] = []
    for parameter, notebook in book.inputs.items():
        with contextlib.suppress(RunError):  # said by run.input() where the folder is needed
            folder = Path(values[parameter] or history.input_run(book.study, notebook, known))
            upstream[parameter] = folder
            known += history.RunRecord(workspace.root() / folder).with_lineage()
    return workspace.runs() / book.study / book.name / book.run_name("interactive", values, upstream)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a score table, or that of a sweep, in its readable form, any other table as it is."""
    if "runs" in table and any(str(name).endswith(lines.STD) for name in table):
        return lines.readable(table)
    if table.empty or not {"model", "is_baseline", "split", "scope", "statistic", "value"} <= set(table):
        return table
    from eolab import evaluation

    return evaluation.readable(table)


def _kinds(table: pd.DataFrame) -> dict[str, str]:
    """Return of each column of a table's file what its values are: "string", "integer", "floating", …."""
    import pandas as pd

    levels = {str(name): table.index.get_level_values(str(name)) for name in table.index.names if name}
    columns: dict[str, Any] = {**levels, **{str(name): column for name, column in table.items()}}
    return {name: pd.api.types.infer_dtype(values.astype(object)) for name, values in columns.items()}


def _show(markup: str, text: str) -> None:
    import IPython.display

    IPython.display.display({"text/html": markup, "text/plain": text}, raw=True)
