"""A YAML 1.2 or JSON file as plain data with the line and column of every key and value. Reading one runs no code.

    text ─► events (ruamel.yaml) ─► nodes with places ─► Document: data, places by path

Bounds: 1 MiB of text, 64 levels, 100,000 values once aliases are expanded. Tags, duplicate keys and numbers that are
not finite are problems. Keys are always text.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, Union

from chaoskit.errors import FileError, Problem

__all__ = ["Data", "Document", "Path_", "Place", "path_text", "read", "read_text"]

Data: TypeAlias = Union[bool, int, float, str, "list[Data]", "dict[str, Data]", None]
"""What a file holds."""

Path_: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the root: `("faults", 0, "on")`."""

_MOST_BYTES = 1 << 20
_MOST_LEVELS = 64
_MOST_VALUES = 100_000

_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Data] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}


class Place(NamedTuple):
    """Where a key and its value are, counted from 1. An item of a list has no key: both are the item's."""

    key: tuple[int, int]
    value: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read. `file` is its name as the user wrote it."""

    file: str
    text: str
    data: Data
    places: dict[Path_, Place]

    def problem(self, path: Path_, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """A problem at a path; where nothing is written there (a missing key), at the nearest thing around it."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known)
        line, column = (0, 0) if place is None else place.key if key and known == path else place.value
        return Problem(self.file, line, column, path_text(path), message, hint)


def path_text(path: Path_) -> str:
    """`faults[0].on`: how messages write a path."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def read(path: Path | str) -> Document:
    """Read a `.yaml`, `.yml` or `.json` file. Raises FileError with what is wrong and where."""
    name = str(path)
    file = Path(path)
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise FileError([Problem(name, 0, 0, "", _unreadable(error), _close_file(file))]) from None
    if len(raw) > _MOST_BYTES:
        raise FileError([Problem(name, 0, 0, "", "the file is larger than 1 MiB", "experiments are small: is it one?")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        raise FileError([Problem(name, line, column, "", "expected text in UTF-8", "save the file as UTF-8")]) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Document:
    """Read what a file called `name` holds. Raises FileError."""
    if name.endswith(".json"):
        text = _checked_json(text, name)
    builder = _Builder(name)
    root = builder.build(text)
    if builder.problems:
        raise FileError(builder.problems)
    if root is None:
        raise FileError([Problem(name, 1, 1, "", "the file is empty")])
    places: dict[Path_, Place] = {}
    data = _Flattening(name, places).flatten(root, (), (root.line, root.column))
    return Document(name, text, data, places)


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder; expected a file"
    return f"cannot be read: {error.strerror}"


def _close_file(file: Path) -> str:
    try:
        names = [one.name for one in file.parent.iterdir()] if file.parent.is_dir() else []
    except OSError:
        return ""  # a folder that cannot be listed has nothing to suggest
    close = difflib.get_close_matches(file.name, names, n=1)
    return f"did you mean {file.parent / close[0]}?" if close and close[0] != file.name else ""


def _checked_json(text: str, name: str) -> str:
    """The same text, made readable as YAML: JSON allows tabs between values, YAML does not."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError([Problem(name, error.lineno, error.colno, "", f"not valid JSON: {error.msg}")]) from None
    except (RecursionError, ValueError):
        pass  # the bounds below say it better
    return text.replace("\t", " ")


@dataclass(slots=True)
class _Node:
    line: int
    column: int
    value: bool | int | float | str | list[_Node] | dict[str, tuple[_Node, _Node]] | None = None


@dataclass(slots=True)
class _Builder:
    """Nodes from ruamel's events; problems that leave the rest readable are collected."""

    name: str
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, _Node] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)

    def build(self, text: str) -> _Node | None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            events = YAML(typ="safe", pure=True).parse(text)
            return self._document(events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            message, hint = _syntax(str(error.problem or error.context or "cannot be parsed"))
            self.problems.append(Problem(self.name, line, column, "", f"not valid YAML: {message}", hint))
        except YAMLError as error:  # a character that YAML forbids has no mark
            first = str(error).splitlines()[0] if str(error) else "cannot be parsed"
            self.problems.append(Problem(self.name, *_forbidden(text), "", f"not valid YAML: {first}"))
        except _TooDeep as error:
            self.problems.append(Problem(self.name, error.line, error.column, "", f"more than {_MOST_LEVELS} levels"))
        return None

    def _document(self, events: Iterator[Any]) -> _Node | None:
        root: _Node | None = None
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and root is not None:
                self._problem(event, "expected one document in a file; this starts another one")
                return root
            if kind in ("ScalarEvent", "SequenceStartEvent", "MappingStartEvent", "AliasEvent") and root is None:
                root = self._node(event, events, 0)
        return root

    def _node(self, event: Any, events: Iterator[Any], level: int) -> _Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        node = _Node(line, column)
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event, node)
        if level > _MOST_LEVELS:
            raise _TooDeep(line, column)
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._problem(event, f"tags such as {tag} are not read here", "leave the tag out")
        anchor = event.anchor
        if anchor:
            self.unfinished.add(anchor)
        if kind == "ScalarEvent":
            node.value = self._scalar(event)
        elif kind == "SequenceStartEvent":
            node.value = items = []
            while type(inner := next(events)).__name__ != "SequenceEndEvent":
                items.append(self._node(inner, events, level + 1))
        else:
            node.value = self._mapping(events, level)
        if anchor:
            self.unfinished.discard(anchor)
            self.anchors[anchor] = node
        return node

    def _mapping(self, events: Iterator[Any], level: int) -> dict[str, tuple[_Node, _Node]]:
        found: dict[str, tuple[_Node, _Node]] = {}
        while type(event := next(events)).__name__ != "MappingEndEvent":
            written = type(event).__name__ == "ScalarEvent"
            key = self._node(event, events, level + 1)
            value = self._node(next(events), events, level + 1)
            if isinstance(key.value, list | dict):
                self._problem(event, "expected a text as key, not a list or a mapping")
                continue
            name = str(event.value) if written else str(key.value)
            if name in found:
                first = found[name][0]
                self._problem(event, f"the key {name!r} is there twice", f"first in line {first.line}")
                continue
            found[name] = (key, value)
        return found

    def _alias(self, event: Any, node: _Node) -> _Node:
        if event.anchor in self.unfinished:
            self._problem(event, f"the alias *{event.anchor} stands inside what it means")
        elif event.anchor not in self.anchors:
            self._problem(event, f"no anchor &{event.anchor} before this alias")
        else:
            return self.anchors[event.anchor]
        return node

    def _scalar(self, event: Any) -> bool | int | float | str | None:
        text = str(event.value)
        if event.style is not None:
            return _joined(text) if event.style == '"' else text
        if text in _WORDS:
            word = _WORDS[text]
            return word if word is None or isinstance(word, bool) else text
        if _NOT_FINITE.fullmatch(text):
            self._problem(event, f"expected a finite number, not {text}")
        try:
            if _INT.fullmatch(text):
                return int(text)
            if _OCTAL.fullmatch(text):
                return int(text, 0)
            if _HEX.fullmatch(text):
                return int(text, 0)
            if _FLOAT.fullmatch(text):
                number = float(text)
                if math.isfinite(number):
                    return number
                self._problem(event, f"expected a finite number, not {text}")
        except ValueError:  # more digits than Python turns into a number
            self._problem(event, "expected a number of a sensible size")
        return text

    def _problem(self, event: Any, message: str, hint: str = "") -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.name, mark.line + 1, mark.column + 1, "", message, hint))


class _TooDeep(Exception):
    def __init__(self, line: int, column: int) -> None:
        self.line, self.column = line, column


@dataclass(slots=True)
class _Flattening:
    """Plain data and places from nodes. Aliases were shared nodes; here they are expanded, so here is the bound."""

    name: str
    places: dict[Path_, Place]

    def flatten(self, node: _Node, path: Path_, key: tuple[int, int]) -> Data:
        if len(self.places) >= _MOST_VALUES:
            message = f"more than {_MOST_VALUES:,} values once its aliases are expanded"
            raise FileError([Problem(self.name, node.line, node.column, path_text(path), message)])
        empty = node.value is None and node.line > key[0]  # the parser puts "nothing" where the next key starts
        self.places[path] = Place(key, key if empty else (node.line, node.column))
        if isinstance(node.value, list):
            return [self.flatten(one, (*path, n), (one.line, one.column)) for n, one in enumerate(node.value)]
        if isinstance(node.value, dict):
            items = node.value.items()
            return {name: self.flatten(one, (*path, name), (at.line, at.column)) for name, (at, one) in items}
        return node.value


def _joined(text: str) -> str:
    """JSON writes characters beyond the 16-bit range as two escapes; YAML's parser leaves the halves apart."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _forbidden(text: str) -> tuple[int, int]:
    """Place of the first control character; (0, 0) where there is none."""
    for number, line in enumerate(text.split("\n"), 1):
        for column, char in enumerate(line, 1):
            if (ord(char) < 32 and char not in "\t\r") or 0x7F <= ord(char) < 0xA0:
                return number, column
    return 0, 0


def _syntax(problem: str) -> tuple[str, str]:
    """The parser's words, and what is most often behind them."""
    if r"'\t'" in problem or "tab" in problem:
        return problem, "YAML is indented with spaces, never with tabs"
    if "mapping values are not allowed" in problem:
        return problem, "is the indentation right, and is a text with ': ' in it quoted?"
    if "expected <block end>" in problem or "could not find expected ':'" in problem:
        return problem, "is the indentation right, and every quote and bracket closed?"
    if "expected ',' or" in problem:
        return problem, "is every bracket closed, and a text with , [ ] { } in it quoted?"
    if r"'%'" in problem or r"'@'" in problem or "'`'" in problem:
        return problem, "quote a text that starts with this character"
    return problem, ""
