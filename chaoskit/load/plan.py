"""From what a file says (`LoadSpec`) to what a worker is told (`LoadPlan`): templates cut, data read, defaults set.

Harness side. Raises UsageError where a file of data or a variable of the environment is not there.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from chaoskit.errors import UsageError
from chaoskit.load.wire import CapturePlan, ConditionPlan, FeedPlan, LoadPlan, Piece, RequestPlan, TellPlan
from chaoskit.model.undo import JSON
from chaoskit.traffic import Capture, Check, Feed, LoadSpec, Match, RequestSpec, Tell, parse_json_path
from chaoskit.traffic.answers import is_place

__all__ = ["load_plan"]

_PLACEHOLDER = re.compile(r"(?<!\$)\$\{([^}]*)\}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
_DATA_LIMIT = 64 * 1024 * 1024


def load_plan(
    spec: LoadSpec,
    entry: str,
    *,
    seed: int,
    allowed_hosts: Sequence[str] = (),
    root: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoadPlan:
    """`entry` is a URL; files are looked up from `root` (default: the working directory)."""
    builder = _Builder(spec, root or Path.cwd(), os.environ if environ is None else environ)
    return LoadPlan(
        entry=entry.rstrip("/"),
        open=spec.open,
        legs=tuple((leg.start, leg.end, leg.first, leg.last) for leg in spec.legs()),
        requests=tuple(builder.request(request) for request in spec.requests),
        poisson=spec.arrivals == "poisson",
        seed=seed,
        in_flight_cap=spec.sheds_at if spec.open else 0,
        think=(spec.think.min, spec.think.max),
        pacing=spec.pacing or 0.0,
        backoff=spec.backoff,
        feeds=tuple(builder.feed(name, feed) for name, feed in spec.data.items()),
        marks=tuple(_condition(mark, name) for name, mark in spec.marks.items()),
        cookies=not spec.open if spec.cookies is None else spec.cookies,
        keep_alive=spec.keep_alive,
        verify_tls=spec.verify_tls,
        tls_ca=builder.file(spec.tls_ca) if spec.tls_ca else "",
        max_body=spec.max_body,
        locustfile=builder.file(spec.locustfile) if spec.locustfile else "",
        user_classes=spec.user_classes,
        listeners=tuple(builder.file(path) for path in spec.listeners),
        allowed_hosts=tuple(allowed_hosts),
        workers=spec.workers,
    )


class _Builder:
    def __init__(self, spec: LoadSpec, root: Path, environ: Mapping[str, str]) -> None:
        self._spec = spec
        self._root = root
        self._environ = environ

    def request(self, spec: RequestSpec) -> RequestPlan:
        headers = _merged(self._spec.headers, spec.headers)
        names = {name.lower() for name in headers}
        body: tuple[Piece, ...] = ()
        if spec.body is not None:
            body = self.pieces(spec.body, "plain")
        elif "json_body" in spec.model_fields_set:
            body = self._json(spec.json_body)
            if "content-type" not in names:
                headers["Content-Type"] = "application/json"
        if "accept" not in names:
            headers["Accept"] = "*/*"
        idempotent = spec.idempotent
        if idempotent is None:
            idempotent = spec.method in _SAFE_METHODS or "idempotency-key" in names
        return RequestPlan(
            name=spec.title,
            method=spec.method,
            path=self.pieces(spec.path, "path"),
            headers=tuple((name, self.pieces(value, "header")) for name, value in headers.items()),
            body=body,
            expect=spec.expect,
            timeout=self._spec.timeout if spec.timeout is None else spec.timeout,
            weight=spec.weight,
            checks=tuple(_condition(check, check.title) for check in spec.checks),
            captures=tuple(_capture(name, capture) for name, capture in spec.capture.items()),
            tells=self._tell(spec.tells) if spec.tells is not None else None,
            redirects=spec.redirects,
            idempotent=idempotent,
            once=spec.once,
            then=tuple(self.request(step) for step in spec.then),
        )

    def _tell(self, tell: Tell) -> TellPlan:
        key, value = tell.key, tell.value
        return TellPlan(
            name=tell.as_,
            op="write" if tell.write else "read",
            key=() if is_place(key) else self.pieces(key, "plain"),
            key_path=parse_json_path(key) if is_place(key) else None,
            value=() if is_place(value) else self.pieces(value, "plain"),
            value_path=parse_json_path(value) if is_place(value) else None,
        )

    def pieces(self, text: str, how: str) -> tuple[Piece, ...]:
        """A text cut at its `${…}`; those of the environment are filled in here."""
        found: list[Piece] = []
        for index, part in enumerate(_PLACEHOLDER.split(text)):
            if index % 2 == 0:
                if part:
                    found.append(Piece(text=part.replace("$${", "${")))
            elif part.strip().startswith("env."):
                found.append(Piece(text=self._env(part.strip().removeprefix("env."))))
            else:
                found.append(Piece(name=part.strip(), how=how))
        return tuple(found)

    def _env(self, name: str) -> str:
        value = self._environ.get(name)
        if value is None:
            raise UsageError(f"the load uses ${{env.{name}}}, and {name} is not set in the environment")
        if any(char in value for char in "\r\n\0"):
            raise UsageError(f"{name} in the environment has a line break: it cannot stand in a request")
        return value

    def _json(self, value: JsonValue) -> tuple[Piece, ...]:
        """A JSON document whose texts may hold `${…}`; a text that is nothing else becomes the value itself."""
        if isinstance(value, str):
            whole = _PLACEHOLDER.fullmatch(value)
            if whole and not whole.group(1).strip().startswith("env."):
                return (Piece(name=whole.group(1).strip(), how="json"),)
            parts = [
                Piece(text=json.dumps(piece.text)[1:-1]) if piece.text else piece
                for piece in self.pieces(value, "json text")
            ]
            return (Piece(text='"'), *parts, Piece(text='"'))
        if isinstance(value, list):
            return _joined("[", [self._json(item) for item in value], "]")
        if isinstance(value, dict):
            members = [(*self._json_key(key), Piece(text=": "), *self._json(item)) for key, item in value.items()]
            return _joined("{", members, "}")
        return (Piece(text=json.dumps(value)),)

    def _json_key(self, key: str) -> tuple[Piece, ...]:
        parts = self.pieces(key, "json text")
        quoted = [Piece(text=json.dumps(piece.text)[1:-1]) if piece.text else piece for piece in parts]
        return (Piece(text='"'), *quoted, Piece(text='"'))

    def feed(self, name: str, feed: Feed) -> FeedPlan:
        shuffled = feed.order == "random"
        if feed.uuid or feed.setup:
            return FeedPlan(name=name, kind="uuid" if feed.uuid else "given")
        if feed.random is not None:
            low, high = feed.random
            whole = low == int(low) and high == int(high)
            return FeedPlan(name=name, kind="random", low=low, high=high, whole=whole)
        if feed.range_ is not None:
            return FeedPlan(name=name, kind="range", low=feed.range_[0], high=feed.range_[1], shuffled=shuffled)
        if feed.values is not None:
            rows: Sequence[JSON] = feed.values
        else:
            rows = self._rows(name, feed)
        return FeedPlan(name=name, kind="rows", rows=tuple(rows), column=feed.column or "", shuffled=shuffled)

    def _rows(self, name: str, feed: Feed) -> list[JSON]:
        path = Path(self.file(feed.csv or feed.jsonl or ""))
        if path.stat().st_size > _DATA_LIMIT:
            raise UsageError(f"{path} (data {name}) is larger than {_DATA_LIMIT >> 20} MiB")
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = list(_csv_rows(file) if feed.csv else _json_rows(file))
        except ValueError as error:
            raise UsageError(f"{path} (data {name}) cannot be read: {error}") from error
        wanted = {part.partition(".")[2] for part in self._used() if part.partition(".")[0] == name} - {""}
        wanted |= {feed.column} if feed.column else set()
        if feed.column is None and name in self._used():
            raise UsageError(f"${{{name}}} is a whole row of {path}: say which column, such as ${{{name}.id}}")
        for number, row in enumerate(rows, start=1):
            lacking = [column for column in sorted(wanted) if not isinstance(row, dict) or column not in row]
            if lacking:
                raise UsageError(f"{path} (data {name}) has no {', '.join(lacking)} in row {number}")
        if not rows:
            raise UsageError(f"{path} (data {name}) has no rows")
        return rows

    def _used(self) -> set[str]:
        texts = " ".join(self._spec.headers.values())
        return {name for step in self._spec.steps() for name in step.placeholders()} | set(_PLACEHOLDER.findall(texts))

    def file(self, path: str) -> str:
        """The absolute path of a file that must be there."""
        found = (self._root / Path(path).expanduser()).resolve()
        if not found.is_file():
            raise UsageError(f"the load names a file that is not there: {found}")
        return str(found)


def _csv_rows(file: TextIO) -> Iterator[JSON]:
    """Raises ValueError with the line that is wrong."""
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            if None in row:
                raise ValueError(f"line {reader.line_num}: more fields than the first line has")
            yield {column: value for column, value in row.items() if value is not None}
    except csv.Error as error:
        raise ValueError(f"after line {reader.line_num}: {error}") from error


def _json_rows(file: TextIO) -> Iterator[JSON]:
    """Raises ValueError with the line that is wrong."""
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row: JSON = json.loads(line)
            if "\\ud" in line.lower():
                json.dumps(row, ensure_ascii=False).encode()  # half a pair of surrogates: nothing can carry it
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number}: {error.msg} at column {error.colno}") from error
        except RecursionError as error:
            raise ValueError(f"line {number}: too many levels") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"line {number}: half a pair of surrogates, which is no text") from error
        yield row


def _merged(common: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Headers, the request's own ones winning whatever their case."""
    mine = {name.lower() for name in own}
    return {name: value for name, value in common.items() if name.lower() not in mine} | dict(own)


def _joined(opening: str, members: Sequence[tuple[Piece, ...]], closing: str) -> tuple[Piece, ...]:
    """Members with commas between them, neighbouring texts made one."""
    flat = [Piece(text=opening)]
    for index, member in enumerate(members):
        if index:
            flat.append(Piece(text=", "))
        flat += member
    flat.append(Piece(text=closing))
    result: list[Piece] = []
    for piece in flat:
        if result and not piece.name and not result[-1].name:
            result[-1] = Piece(text=result[-1].text + piece.text)
        else:
            result.append(piece)
    return tuple(result)


def _condition(match: Match, title: str) -> ConditionPlan:
    name, colon, value = (match.header or "").partition(":")
    return ConditionPlan(
        title=title,
        status=match.status or (),
        header=name.strip(),
        header_value=value.strip() if colon else None,
        body=match.body or "",
        pattern=match.pattern or "",
        path=parse_json_path(match.json_path) if match.json_path is not None else None,
        compare="equals" in match.model_fields_set,
        equals=match.equals,
        within=match.within if isinstance(match, Check) else None,
    )


def _capture(name: str, capture: Capture) -> CapturePlan:
    path = parse_json_path(capture.json_path) if capture.json_path is not None else None
    return CapturePlan(name=name, path=path, header=capture.header or "", pattern=capture.pattern or "")
