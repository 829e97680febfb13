"""YAML and JSON as people mean them: ``1e-3`` is a number, and a key written twice is an error."""

import json
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from json import decoder, scanner
from pathlib import Path
from reprlib import repr as short
from typing import Any

import yaml

from eolab.core.errors import EolabError, ParameterError, check_all

_MERGE = "tag:yaml.org,2002:merge"  # the key <<


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with YAML 1.2's floats and without silently repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:  # the block's own keys go before those that it takes over
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is written twice (line {line})")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(  # PyYAML follows YAML 1.1, where "1e-3" is text
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def loads(text: str) -> Any:
    """Return the value that a YAML text stands for.

    Raises:
        yaml.YAMLError: If the text is no YAML or repeats a key.
    """
    return yaml.load(text, Loader=_Loader)


def read(path: Path, error: type[EolabError] = ParameterError) -> Any:
    """Return the content of a YAML file.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        EolabError: If the file is missing or no YAML; the sentence names the file and the line.
    """
    with _parsing(path, error):
        return loads(path.read_text(encoding="utf-8"))


def read_blocks(
    path: Path, error: type[EolabError] = ParameterError
) -> tuple[dict[str, Any], dict[str, EolabError]]:
    """Return the blocks of a YAML file by name, and the errors of those that cannot be read.

    A block with a mistake, such as a key written twice, stops no other one.

    Args:
        path: The file.
        error: What is raised, or returned for a block.

    Raises:
        EolabError: If the file is missing, no YAML or no mapping of names.
    """
    with _parsing(path, error):
        top = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    if top is not None and not isinstance(top, yaml.MappingNode):
        with _parsing(path, error):
            found = short(_Loader("").construct_document(top))
        raise error(f"{path} must be a mapping of names, found {found}.")
    blocks: dict[str, Any] = {}
    faults: dict[str, EolabError] = {}
    for key, node in [] if top is None else top.value:
        name, line = str(key.value), key.start_mark.line + 1
        try:
            with _parsing(path, error):
                if key.tag == _MERGE:
                    raise ValueError(f"<< in line {line} stands outside of a block: write the names out")
                if key.tag != "tag:yaml.org,2002:str":
                    raise ValueError(f"the name {name:.80} in line {line} is no text: write it in quotes")
                if name in blocks or name in faults:
                    raise ValueError(f"the key {name!r:.80} is written twice (line {line})")
                blocks[name] = _Loader("").construct_document(node)
        except error as fault:
            faults[name] = fault
            blocks.pop(name, None)
    return blocks, faults


@contextmanager
def _parsing(path: Path, error: type[EolabError]) -> Iterator[None]:
    """Say in one sentence what is wrong with a YAML file."""
    try:
        yield
    except OSError as problem:
        raise error(f"{path} cannot be read ({problem.strerror}).") from None
    except RecursionError:
        raise error(f"{path} is no YAML: it is nested too deeply.") from None
    except (yaml.YAMLError, ValueError, TypeError) as problem:  # dates and keys that cannot be, too
        raise error(f"{path} is no YAML: {' '.join(str(problem).split())}.") from None


def loads_json(content: str | bytes) -> Any:
    """Return the value that a JSON text stands for; halves of a character in it become question marks.

    Raises:
        ValueError: If the text is no JSON or repeats a key; the message says which, and where.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    try:
        value = json.loads(text, object_pairs_hook=_unique)
        if "\\ud" in text.lower():  # a surrogate, which no table and no file can hold where it stands alone
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        return value
    except _RepeatedKeyError as error:
        _Locating().decode(text)  # names the line, which the fast parser does not know
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _RepeatedKeyError(Exception):
    """A key stands twice in one block."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    block = dict(pairs)
    if len(block) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {repeated!r} is written twice")
    return block


class _Locating(json.JSONDecoder):
    """A slow parser whose error says in which line the block with a repeated key begins."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=_unique)
        self.parse_object = self._parse_object
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _parse_object(self, place: tuple[str, int], *rest: Any) -> Any:
        try:
            return decoder.JSONObject(place, *rest)  # type: ignore[attr-defined]
        except _RepeatedKeyError as error:
            line = place[0].count("\n", 0, place[1]) + 1
            raise ValueError(f"{error} in the block that begins in line {line}") from None


def mapping(
    value: Any,
    where: str,
    known: Collection[str] | None = None,
    error: type[EolabError] = ParameterError,
) -> dict[str, Any]:
    """Return a block of a YAML file as a dictionary with text keys; an empty one where nothing is written.

    Args:
        value: What the file says.
        where: Which block it is, for the error sentence.
        known: The keys that it may have, any where None.
        error: What is raised.

    Raises:
        EolabError: If it is no mapping, or has an unknown key.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise error(f"{where} must be a mapping of names, found {short(value)}.")
    if known is not None:
        check_all(value, known, f"{where} has an unknown key", error)
    return dict(value)


def dumps(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML text, keys in their order."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots: ``{"test": {"f1": 1}}`` → ``{"test.f1": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
