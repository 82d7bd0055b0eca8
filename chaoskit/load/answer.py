"""Look into an answer: headers of its raw head, places in its JSON, and whether conditions hold. Worker side, pure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence

from chaoskit.load.wire import CapturePlan, ConditionPlan, JsonPath
from chaoskit.model.undo import JSON

__all__ = ["Answer", "Condition", "capture", "header", "headers", "places", "statuses"]


def headers(head: bytes) -> list[tuple[str, str]]:
    """Name and value of every header of a raw head, in order."""
    found = []
    for line in head.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name.decode("latin-1").strip(), value.decode("latin-1").strip()))
    return found


def header(head: bytes, name: str) -> str | None:
    """The first value of a header, or None."""
    wanted = name.lower()
    return next((value for key, value in headers(head) if key.lower() == wanted), None)


def places(document: JSON, path: JsonPath) -> list[JSON]:
    """Everything that a path leads to; empty where it leads nowhere."""
    here = [document]
    for step in path:
        below: list[JSON] = []
        for value in here:
            if step is None:
                below += value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
            elif isinstance(step, int):
                if isinstance(value, list) and -len(value) <= step < len(value):
                    below.append(value[step])
            elif isinstance(value, dict) and step in value:
                below.append(value[step])
        here = below
    return here


def statuses(expected: Sequence[str]) -> frozenset[int]:
    """Status codes of `200` and `2xx` texts."""
    found: set[int] = set()
    for text in expected:
        first = int(text[0]) * 100
        found |= set(range(first, first + 100)) if text.endswith("xx") else {int(text)}
    return frozenset(found)


class Answer:
    """One answer, looked into lazily. `took` is its service time, `limit` how large its body may be, decompressed."""

    __slots__ = ("_body", "_cut", "_document", "_limit", "_parsed", "_raw", "head", "status", "took")

    def __init__(self, status: int, head: bytes, body: Sequence[bytes], took: float, limit: int) -> None:
        self.status = status
        self.head = head
        self.took = took
        self._limit = limit
        self._cut = False
        self._raw = body
        self._body: bytes | None = None
        self._parsed = False
        self._document: JSON = None

    @property
    def body(self) -> bytes:
        """Decompressed where the head says gzip or deflate, up to the limit; as it came where that fails."""
        if self._body is None:
            self._body = b"".join(self._raw)
            if self._compressed():
                self._decompress(self._body)
        return self._body

    @property
    def too_large(self) -> bool:
        """Whether its body decompresses to more than the limit."""
        return self._compressed() and len(self.body) >= self._limit and self._cut

    def _compressed(self) -> bool:
        # Most heads have no such line, and the look is quicker than the parse.
        if b"content-encoding" not in self.head.lower():
            return False
        return (header(self.head, "content-encoding") or "").lower() in ("gzip", "deflate")

    def _decompress(self, raw: bytes) -> None:
        unpacker = zlib.decompressobj(47)  # 32 more than the window's 15 bits: it tells gzip from deflate by itself
        try:
            # A thousandth of a body can unpack to all of it: one byte beyond the limit says enough.
            plain = unpacker.decompress(raw, self._limit + 1)
        except zlib.error:
            return  # conditions on it fail, which is what the reader must see
        self._cut = len(plain) > self._limit
        if self._cut or unpacker.eof:
            self._body = plain[: self._limit]

    @property
    def document(self) -> JSON:
        """The body as JSON; None where it is none (and `null` leads nowhere either)."""
        if not self._parsed:
            self._parsed = True
            try:
                self._document = json.loads(self.body)
            except (ValueError, RecursionError):
                self._document = None
        return self._document

    def places(self, path: JsonPath) -> list[JSON]:
        return places(self.document, path)


class Condition:
    """A check or a mark, compiled."""

    __slots__ = ("_tests", "needs_body", "title")

    def __init__(self, plan: ConditionPlan) -> None:
        self.title = plan.title
        self.needs_body = bool(plan.body or plan.pattern or plan.path is not None)
        self._tests: list[Callable[[Answer], bool]] = []
        if plan.status:
            wanted = statuses(plan.status)
            self._tests.append(lambda answer: answer.status in wanted)
        if plan.within is not None:
            limit = plan.within
            self._tests.append(lambda answer: answer.took <= limit)
        if plan.header:
            line = re.escape(plan.header.encode("latin-1")) + rb"[ \t]*:"
            if plan.header_value is not None:
                line += rb"[ \t]*" + re.escape(plan.header_value.encode("latin-1", "replace")) + rb"[ \t]*\r?$"
            pattern = re.compile(rb"^" + line, re.MULTILINE | re.IGNORECASE)
            self._tests.append(lambda answer: pattern.search(answer.head.split(b"\r\n\r\n", 1)[0]) is not None)
        if plan.body:
            text = plan.body.encode()
            self._tests.append(lambda answer: text in answer.body)
        if plan.pattern:
            regular = re.compile(plan.pattern.encode())
            self._tests.append(lambda answer: regular.search(answer.body) is not None)
        if plan.path is not None:
            path, equals = plan.path, plan.equals
            if plan.compare:
                self._tests.append(lambda answer: any(_same(value, equals) for value in answer.places(path)))
            else:
                self._tests.append(lambda answer: bool(answer.places(path)))

    def holds(self, answer: Answer) -> bool:
        return all(test(answer) for test in self._tests)


def capture(plan: CapturePlan, answer: Answer) -> JSON:
    """The value that a capture keeps; None where it is not there."""
    if plan.header:
        return header(answer.head, plan.header)
    if plan.pattern:
        match = re.search(plan.pattern.encode(), answer.body)
        if match is None:
            return None
        found: bytes | None = match.group(1 if match.re.groups else 0)
        return None if found is None else found.decode("utf-8", "replace")  # None: its first group took no part
    there = answer.places(plan.path or ())
    return there[0] if there else None


def _same(value: JSON, wanted: JSON) -> bool:
    """Equal as JSON: true is not 1."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
