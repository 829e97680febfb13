"""The data catalogue: where each data set lives, which published layout it has, its licence and citation.

``data_catalog.yaml`` holds flat data set names and the reserved block ``meta``::

    meta: {root: .}                      # relative uris start here; without it, at the catalogue's folder
    my_tile:
      uri: ${MY_DATA:-data}/31UFT        # only ${VAR} and ${VAR:-default}, a default may name a variable
      layout: sentinel2_safe
      metadata: {license: ..., citation: ..., url: ...}
      pixels: {offset: 0}              # scale, offset, nodata, held against what the files state

Example:
    >>> from eolab import catalog
    >>> entry = catalog.load()["landcover_twin"]
    >>> series = entry.ensure().open(bands=["B04", "B08"])
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from eolab.core import files, workspace, yamls
from eolab.core.errors import CatalogError, DataError, EolabError, ParameterError, did_you_mean
from eolab.data import fingerprints, layouts, sources

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

OWN = "EOLAB_CATALOG"
"""Environment variable with the path of a user's own catalogue; without it, :data:`OWN_FILE` is taken."""

OWN_FILE = "eolab_catalog.yaml"
"""Name of a user's own catalogue in the working directory or a folder above it."""

TWIN_FILE = "twin.json"  # marks a folder of simulated data
META_KEYS = ("root",)
ENTRY_KEYS = (
    *("uri", "layout", "description", "metadata", "pixels", "images", "labels", "classes", "twin"),
    *("bounds", "dates"),
)
PIXEL_KEYS = ("scale", "offset", "nodata")
IMAGES_KEYS = ("folder", "files", "bands", "date")
LABEL_KEYS = ("file", "column", "layer", "crs", "timezone")
CLASS_KEYS = ("code", "name", "color")
METADATA_KEYS = ("crs", "bands", "license", "provider", "citation", "doi", "url", "size", "sha256")
REASONS = 2  # why files cannot be used, in a sentence
_PLAIN = (str, int, float, type(None))
_checked = partial(yamls.mapping, error=CatalogError)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-((?:\$\{\w+(?::-[^}]*)?\}|[^}])*))?\}")  # one level in another


@dataclass(frozen=True)
class CheckReport:
    """What reading every file of a data set found.

    Attributes:
        files: One row a file or acquisition: file, status (``ok`` or ``rejected``), reason.
    """

    files: pd.DataFrame

    @property
    def ok(self) -> int:
        """Number of files that can be used."""
        return int((self.files["status"] == "ok").sum())

    @property
    def rejected(self) -> int:
        """Number of files that cannot be used; their reasons stand in :attr:`files`."""
        return len(self.files) - self.ok

    def in_words(self) -> str:
        """Return how many files can be used, and why others cannot, in a sentence; empty without files."""
        if self.files.empty:
            return ""
        found = [f"{one.reason} ({one.files:,})" for one in self.reasons().itertuples()]
        named = REASONS if len(found) > REASONS + 1 else len(found)
        more = f" and {len(found) - named} more reasons" if found[named:] else ""
        why = ", ".join(found[:named]) + more
        if not self.ok:  # the rejected ones alone are known
            return f"Files that cannot be used: {why}."
        others = f"; the others: {why}" if why else ""
        return f"{self.ok:,} of {len(self.files):,} files can be used{others}."

    def reasons(self) -> pd.DataFrame:
        """Return why files are left out: reason, files, an example.

        Numbers, names of files and what stands in brackets are taken out of the reasons, so that like ones
        are counted together.
        """
        rejected = self.files[self.files["status"] != "ok"]
        table = rejected.assign(short=rejected["reason"].map(_short))
        table = table.groupby("short")["file"].agg(["size", "first"])
        table = table.sort_values("size", ascending=False).reset_index()
        return table.set_axis(["reason", "files", "example"], axis=1)


def _short(reason: str) -> str:
    """Return a reason without its remedy, its numbers, its file and what stands in brackets."""
    text = re.sub(r"\(.*\)", "", reason.split(": ")[0] if "damaged" not in reason else "is damaged")
    text = re.sub(r"\S+_\S+\.\w+", "…", text)
    text = re.sub(r"\d{4}-\d\d-\d\d|(?<![A-Za-z\d])\d+(,\d+)*%?( bytes)?", "…", text)
    return re.sub(r"\s+(,?) ?", r"\1 ", text).strip(" :,")


@dataclass(frozen=True)
class DataEntry:
    """One data set of the catalogue.

    Attributes:
        name: Its name in the catalogue.
        uri: Where it lives, as written: ``${VAR}`` is not resolved yet.
        layout: Name of its published layout, see :func:`eolab.data.layouts.find`.
        file: The catalogue that names it.
        root: Folder that a relative uri starts from.
        description: One sentence for people.
        metadata: Facts: crs, bands, license (SPDX), provider, citation, doi, url, size, sha256.
        pixels: What is known of the numbers in the files and goes before what these state: scale and offset,
            value = number * scale + offset, and the number nodata.
        images: How the files of layout ``rasters`` are named, and the bands in them.
        labels: Files of masks, polygons, points and tables by name: file, and what it does not say of itself.
        classes: What the labels mean: name, and code and color where they are known.
        bounds: (xmin, ymin, xmax, ymax) that all that is read is cut to, in degrees or the reference system
            of the data; empty for all.
        dates: First and last day, likewise.
        twin: For simulated data, ``writer`` and its parameters; empty for real data.
    """

    name: str
    uri: str
    layout: str
    file: Path
    root: Path
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    pixels: dict[str, float] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: tuple[dict[str, Any], ...] = ()
    bounds: tuple[float, ...] = ()
    dates: tuple[str, ...] = ()
    twin: dict[str, Any] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        """Whether the data are simulated; then every figure and report says so."""
        return bool(self.twin)

    @property
    def origin(self) -> dict[str, Any]:
        """What files made from the data say of where they come from: whether simulated, licence, citation."""
        facts = {key: value for key, value in self.metadata.items() if key in ("license", "citation")}
        return {"simulated": self.simulated, **facts}

    @property
    def path(self) -> Path:
        """The file or folder, with variables resolved.

        Raises:
            CatalogError: If a variable without a default is not set.
        """
        where = f"Data set {self.name!r} of {self.file}"
        place = self.root / _place(self._resolved(self.uri), where, "uri")
        return Path(os.path.realpath(place))  # unlike resolve() it bears a link to itself

    def _resolved(self, text: str) -> str:
        """Return a text with its variables replaced."""

        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            if found := os.environ.get(name):
                return found
            if default is None:
                raise CatalogError(
                    f"Data set {self.name!r} of {self.file} needs the environment variable {name}, which is "
                    f"not set: set {name} to the folder that holds the data{self._source()}."
                )
            return _VARIABLE.sub(value, default)

        return _VARIABLE.sub(value, text)

    def label_file(self, name: str) -> tuple[Path, dict[str, Any]]:
        """Return the file of some labels, and what else the entry states of it.

        Raises:
            CatalogError: If the entry names no such labels.
            DataError: If the file is missing.
        """
        where = f"Data set {self.name!r} of {self.file}"
        if name not in self.labels:
            known = did_you_mean(name, self.labels) if self.labels else "it has no block 'labels'."
            raise CatalogError(f"{where} names no labels {name!r}: {known}")
        facts = {key: value for key, value in self.labels[name].items() if key != "file"}
        file = self.path / _place(self._resolved(self.labels[name]["file"]), where, "file")
        if not file.is_file():
            self._existing()
            raise DataError(
                f"{file} is missing, which {where} names for {name!r}: correct its block 'labels'."
            )
        return file, facts

    def _source(self) -> str:
        url = self.metadata.get("url")
        return f" (get them at {url}, nothing is downloaded)" if url else ""

    def exists(self) -> bool:
        """Return whether the data are on this machine; False too where a variable of the uri is not set."""
        try:
            return os.path.exists(self.path)  # unlike Path.exists it bears a name that is too long
        except CatalogError:
            return False

    def open(self, **options: Any) -> xr.Dataset:
        """Open the data set with the reader of its layout.

        Args:
            **options: What that reader takes, for example ``bands`` or ``bounds``.

        Raises:
            DataError: If the data are missing or not what the layout promises.
        """
        open_layout = layouts.reader(self.layout).open_layout
        taken = inspect.signature(open_layout).parameters
        cut = {name: options.pop(name, value) for name, value in self._cut.items()}
        own = {} if any(one.kind is one.VAR_KEYWORD for one in taken.values()) else cut.keys() - taken
        later = {name: cut.pop(name) for name in own}
        options = {**cut, **options, **self._stated}
        self._check_call(open_layout, f"layout {self.layout}", options)
        dataset = open_layout(self._existing(), **options)
        if later:
            from eolab.data.cutting import cut_series

            dataset = cut_series(dataset, self.name, **later)
        return dataset.assign_attrs({"data_set": self.name, **self.origin, "simulated": int(self.simulated)})

    def check(self, progress: bool = True, again: bool = False) -> CheckReport:
        """Read every pixel of the data set and report on each file; nothing stops at the first bad one.

        The report is remembered while the content of all files and the code are the same.

        Args:
            progress: Whether to show progress.
            again: Whether to read files again although they are as they were.

        Raises:
            DataError: If the data are missing.
        """
        path, reader = self._existing(), layouts.reader(self.layout)
        takes = "stated" in inspect.signature(reader.check_layout).parameters
        stated = self._stated if takes else {}

        def read() -> pd.DataFrame:
            return reader.check_layout(path, progress=progress, **stated)

        try:
            content = "" if again else fingerprints.fingerprint(path, progress)
        except DataError:  # a file that cannot be opened is a row of the report
            content = ""
        if not content:
            return CheckReport(read())
        code = [*sources.digests().values(), sources.digest(Path(str(reader.__file__)))]
        state = f"{self.layout} {stated} {content} {code}"
        return CheckReport(fingerprints.remembered("check", path, (), read, state))

    @property
    def _cut(self) -> dict[str, Any]:
        """The arguments that cut what is opened to the entry's area and dates."""
        return {name: value for name, value in (("bounds", self.bounds), ("dates", self.dates)) if value}

    @property
    def _stated(self) -> dict[str, Any]:
        """The arguments that hand on what the entry states of the files; none where it states nothing."""
        stated = {"stated": self.pixels, "images": self.images}
        return {name: value for name, value in stated.items() if value}

    def make(self, progress: bool = True) -> Path:
        """Write the twin, unless one with the same parameters is there.

        A twin of other parameters is replaced once the new one is whole. Where its folder holds other files
        than were written, nothing of it is removed: it is set aside as ``<name>.before``, and a line says so.

        Returns:
            The folder of the twin.

        Raises:
            DataError: If the data set is real, or its folder holds something else than this twin.
        """
        if not self.simulated:
            raise DataError(
                f"Data set {self.name!r} is real and cannot be made: put it at {self.uri}{self._source()}."
            )
        path = self.path
        if path.exists() and not self._to_replace():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.turn(path.with_name(f".{path.name}.lock")):  # notebooks that run side by side
            written = self._to_replace() if path.exists() else {}
            if path.exists() and not written:
                return path
            parameters = {key: value for key, value in self.twin.items() if key != "writer"}
            self._check_call(self._writer().write, "block 'twin'", {"progress": progress, **parameters})
            place = path.with_name(f".{path.name}.{os.getpid()}") if written else path
            self._writer().write(place, progress=progress, **parameters)
            if written:
                self._replace(path, place, written)
        return path

    def _to_replace(self) -> dict[str, Any]:
        """Return what the folder says of the twin of other parameters in it; nothing where it is this one."""
        written = self._written()
        changed = self._changed(written)
        if changed and written.get("simulated") is not True:
            raise DataError(
                f"{self.path} should hold the twin {self.name!r} but {changed}: move it away or change the "
                f"uri in {self.file}."
            )
        return written if changed else {}

    def _replace(self, path: Path, new: Path, written: Mapping[str, Any]) -> None:
        """Put the new twin in the place of the old one, of which only what was written is removed."""
        keep = None
        if written.get("files") != files.names_digest(path, TWIN_FILE):
            numbers = ("", *(f"-{number}" for number in range(2, 1000)))
            names = (path.with_name(f"{path.name}.before{number}") for number in numbers)
            keep = next(name for name in names if not name.exists())
        try:
            files.replace_folder(new, path, keep)
        except OSError:
            if self._changed(self._written()):
                raise
            shutil.rmtree(new)  # another process has written the same twin meanwhile
        if keep is not None and keep.exists():
            print(f"The folder of the former {self.name} may hold files of yours: it is now {keep}.")

    def _check_call(self, function: Any, what: str, options: Mapping[str, Any]) -> None:
        """Raise CatalogError unless a function takes a path and some options, plain values of their types."""
        where = f"Data set {self.name!r} of {self.file}, {what}"
        try:
            signature = inspect.signature(function)
            signature.bind(self.uri, **options)
        except (TypeError, ValueError) as error:
            raise CatalogError(f"{where}: {error}.") from None
        for name, value in options.items():
            kind: Any = signature.parameters[name].annotation if name in signature.parameters else None
            plain = kind in (int, bool, str) and isinstance(value, (*_PLAIN, list))
            if plain and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
                raise CatalogError(f"{where} has {name} {short(value)}, expected {kind.__name__}.")

    def _writer(self) -> Any:
        """The module that writes the twin; its ``VERSION`` changes with what it writes."""
        writer = self.twin["writer"]
        for name in (f"eolab.synthetic.{writer}", writer):
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
                continue
            if hasattr(module, "write"):
                return module
        raise CatalogError(
            f"Block 'twin' of data set {self.name!r} of {self.file} has the writer {writer!r}, expected a "
            "module of eolab.synthetic, or one that can be imported, with a function write(folder)."
        )

    def ensure(self, progress: bool = True) -> DataEntry:
        """Make the twin where it is missing or out of date; for real data, say where to get it.

        Returns:
            The entry itself, so that ``entry.ensure().open()`` reads well.

        Raises:
            CatalogError: If a variable of the uri is not set.
            DataError: If real data are missing.
        """
        if self.simulated:
            self.make(progress=progress)
        else:
            self._existing()
        return self

    def _written(self) -> dict[str, Any]:
        """Return what the folder says of the twin in it; nothing where it does not hold one."""
        try:
            return {"generator": 1, **yamls.loads_json((self.path / TWIN_FILE).read_bytes())}
        except (OSError, ValueError, TypeError):
            return {}

    def _changed(self, written: dict[str, Any]) -> str:
        """Return how a folder differs from the twin of this entry; empty where it does not."""
        if not written:
            return f"has no readable {TWIN_FILE}"
        wanted = json.loads(json.dumps(self.twin)) | {"generator": getattr(self._writer(), "VERSION", 1)}
        different = [key for key, value in wanted.items() if key in written and written[key] != value]
        return ", ".join(f"has {key} {written[key]!r} instead of {wanted[key]!r}" for key in different)

    def _existing(self) -> Path:
        path = self.path
        if os.path.exists(path):
            return path
        if self.simulated:
            remedy = f"write it with `eolab data make {self.name}` or entry.make()"
        else:
            remedy = f"put the data there{self._source()}, or change the uri {self.uri} in {self.file}"
        raise DataError(f"Data set {self.name!r} is missing, {path} does not exist: {remedy}.")


class Catalog(dict[str, DataEntry]):
    """The data sets by name; an unknown name ends in a suggestion, a faulty entry in its error.

    Attributes:
        file: The YAML file.
        own: The catalogue of the user beside it, None for none.
        faults: The errors of entries that cannot be used, by name.
    """

    def __init__(self, file: Path, entries: dict[str, DataEntry], faults: dict[str, EolabError]) -> None:
        super().__init__(entries)
        self.file, self.faults = file, faults
        self.own: Path | None = None

    def __missing__(self, name: str) -> DataEntry:
        if name in self.faults:
            raise self.faults[name]
        files = f"Neither {self.own} nor {self.file}" if self.own else str(self.file)
        no = "a" if self.own else "no"
        raise CatalogError(f"{files} has {no} data set {name!r}; {did_you_mean(name, self)}")


def load(path: str | Path | None = None) -> Catalog:
    """Read a catalogue.

    Args:
        path: The YAML file; by default the project's ``data_catalog.yaml`` and, beside it, a catalogue of the
            user, see :func:`own_file`.

    Returns:
        The data sets. An entry with a mistake (an unknown key or layout, a key written twice, a wrong type)
        raises its error when it is asked for, and stops no other.

    Raises:
        CatalogError: If the file cannot be read, its block ``meta`` has a mistake, or both catalogues name
            the same data set.
    """
    if path is not None:
        return _load(Path(path).resolve())
    found = _load((workspace.root() / workspace.CATALOG_FILE).resolve())
    own = own_file()
    if own:
        more = _load(own)
        twice = sorted({*found, *found.faults} & {*more, *more.faults})
        if twice:
            raise CatalogError(
                f"{more.file} names {', '.join(twice)}, which {found.file} names too: call it otherwise."
            )
        found.update(more)
        found.faults.update(more.faults)
        found.own = own
    return found


def own_file() -> Path | None:
    """Return the user's own catalogue: what ``EOLAB_CATALOG`` names, else the nearest ``eolab_catalog.yaml``.

    The latter is searched in the working directory and above it; None where there is none.
    """
    named = os.environ.get(OWN)
    if named:
        return Path(os.path.realpath(_place(named, f"The environment variable {OWN}", "value")))
    here = Path.cwd()
    found = (folder / OWN_FILE for folder in (here, *here.parents))
    return next((file.resolve() for file in found if file.is_file()), None)


def of_place(place: str | Path, layout: str) -> DataEntry:
    """Return a file or folder as a data set of a layout, or the data set of the catalogue with this name.

    Raises:
        DataError: If there is neither.
        CatalogError: If the catalogue cannot be read, or the data set in it has a mistake.
    """
    path = Path(place)
    if path.exists():
        return DataEntry(path.name, str(path.absolute()), layout, path, path.parent)
    known = load()
    if str(place) not in {*known, *known.faults}:
        raise DataError(
            f"{place} is no file or folder, and no data set of the catalogue, which names "
            f"{', '.join(known)}: give one of these."
        )
    return known[str(place)]


def _load(file: Path) -> Catalog:
    blocks, faults = yamls.read_blocks(file, CatalogError)
    if "meta" in faults:
        raise faults["meta"]
    meta = _checked(blocks.pop("meta", None), f"Block 'meta' of {file}", META_KEYS)
    place = file.parent / _place(meta.get("root", "."), f"Block 'meta' of {file}", "root")
    root = Path(os.path.realpath(place))
    entries = {}
    for name, block in blocks.items():
        try:
            entries[name] = _entry(name, block, file, root)
        except CatalogError as error:
            faults[name] = error
    return Catalog(file, entries, faults)


def _entry(name: str, block: Any, file: Path, root: Path) -> DataEntry:
    where = f"Data set {name!r} of {file}"
    entry = _checked(block, where, ENTRY_KEYS)
    for key in ("uri", "layout"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            raise CatalogError(f"{where} has no {key}: add one, as text.")
    _place(entry["uri"], where, "uri")
    if not isinstance(entry.setdefault("description", ""), str):
        raise CatalogError(f"{where} has the description {short(entry['description'])}, expected text.")
    try:
        layouts.find(entry["layout"])
    except ParameterError as error:
        raise CatalogError(f"{where} has the {error}") from None
    if "$" in _VARIABLE.sub("", entry["uri"]):
        raise CatalogError(
            f"{where} has the uri {entry['uri']!r}: variables are written ${{VAR}} or ${{VAR:-default}}."
        )
    for key, known in (
        ("metadata", METADATA_KEYS),
        ("pixels", PIXEL_KEYS),
        ("images", IMAGES_KEYS),
        ("twin", None),
    ):
        entry[key] = _checked(entry.get(key), f"Block {key!r} of {where}", known)
        for fact, value in entry[key].items():
            if not all(isinstance(one, _PLAIN) for one in (value if isinstance(value, list) else [value])):
                found = f"has {fact} {short(value)}, expected text, a number or a list of them"
                raise CatalogError(f"Block {key!r} of {where} {found}.")
    entry["labels"] = _labels(entry.get("labels"), where)
    entry["classes"] = _classes(entry.get("classes"), where)
    entry["bounds"] = _several(entry.get("bounds"), (int, float), 4, f"{where} has the bounds")
    entry["dates"] = _several(entry.get("dates"), str, 2, f"{where} has the dates")
    _check_pixels(entry["pixels"], entry["layout"], f"Block 'pixels' of {where}")
    if entry["twin"] and not re.fullmatch(r"[a-z][a-z0-9_]*", str(entry["twin"].get("writer", ""))):
        raise CatalogError(
            f"Block 'twin' of {where} has no writer: name a module of eolab.synthetic, or one of your own."
        )
    return DataEntry(name=name, file=file, root=root, **entry)


def _place(text: Any, where: str, key: str) -> Path:
    """Return a path of the catalogue.

    Raises:
        CatalogError: If it is none on this machine.
    """
    if not isinstance(text, str) or re.search(r"[\0-\x1f]", text) or re.match(r"[A-Za-z][\w+.-]+://", text):
        raise CatalogError(
            f"{where} has the {key} {short(text)}, expected the path of a file or folder: fetch data "
            "that lie elsewhere, and write where they are on this machine."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise CatalogError(f"{where} has the {key} {text!r}: this machine has no such user.") from None


def _labels(block: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return the block of labels of an entry.

    Raises:
        CatalogError: If labels name no file, or hold something else than text.
    """
    labels = _checked(block, f"Block 'labels' of {where}", None)
    for name in labels:
        place = f"Labels {name!r} of {where}"
        labels[name] = _checked(labels[name], place, LABEL_KEYS)
        if not isinstance(labels[name].get("file"), str):
            raise CatalogError(f"{place} name no file: add one, as text.")
        for key, value in labels[name].items():
            if not isinstance(value, str) and not (key == "crs" and isinstance(value, int)):
                raise CatalogError(f"{place} have the {key} {short(value)}, expected text.")
    return labels


def _classes(block: Any, where: str) -> tuple[dict[str, Any], ...]:
    """Return the block of classes of an entry.

    Raises:
        CatalogError: If it is no list of classes, each with a name.
    """
    if not isinstance(block, list | None):
        raise CatalogError(
            f"Block 'classes' of {where} is {short(block)}, expected a list: - {{name: forest}}."
        )
    found = [_checked(one, f"A class of {where}", CLASS_KEYS) for one in block or []]
    for one in found:
        code = one.get("code", 0)
        if not isinstance(one.get("name"), str) or not isinstance(code, int) or isinstance(code, bool):
            expected = "{code: 1, name: forest, color: '#117733'}, code and color where they are known"
            raise CatalogError(f"{where} has the class {short(one)}, expected {expected}.")
    return tuple(found)


def _several(value: Any, kind: Any, count: int, what: str) -> tuple[Any, ...]:
    """Return a list of the catalogue; days may be written without quotes.

    Raises:
        CatalogError: If it is no list of so many values.
    """
    values = value if isinstance(value, list) else [] if value is None else [value]
    values = [str(one) if isinstance(one, date) else one for one in values]
    if value is not None and (len(values) != count or not all(isinstance(one, kind) for one in values)):
        expected = "[xmin, ymin, xmax, ymax]" if count == 4 else "[2020-01-01, 2020-12-31]"
        raise CatalogError(f"{what} {short(value)}, expected {expected}.")
    return tuple(values)


def _check_pixels(pixels: dict[str, Any], layout: str, where: str) -> None:
    """Check what an entry states of the numbers in its files.

    Raises:
        CatalogError: If it is no number, or the reader of the layout does not take it.
    """
    for key, value in pixels.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        finite = number and (-1e300 < value < 1e300 or (key == "nodata" and isinstance(value, float)))
        if not finite or (key == "scale" and value <= 0):
            expected = "a number above 0" if key == "scale" else "a number"
            raise CatalogError(f"{where} has the {key} {value!r:.40}, expected {expected}.")
    if pixels and layout in layouts.LAYOUTS and layout not in layouts.STATABLE:
        raise CatalogError(
            f"{where} cannot be used: the reader of {layout} takes what the files state; the readers of "
            f"{', '.join(layouts.STATABLE[:-1])} and {layouts.STATABLE[-1]} take the catalogue's word. Write "
            "it into the files."
        )
