"""Requests as the worker sends them: compiled templates, the bytes of one request, and what a good answer is."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from chaoskit.load.answer import Answer, Condition, statuses
from chaoskit.load.exchange import Exchange
from chaoskit.load.hosts import Origin
from chaoskit.load.telling import Telling
from chaoskit.load.values import Template, Values
from chaoskit.load.wire import RequestPlan

__all__ = ["Prepared", "compose", "target_of", "trace_header"]

_AGENT = b"chaoskit"
_SAFE = "/?:@!$&'()*+,;=-._~%[]"
_MASK = (1 << 64) - 1
_SPREAD = 0x9E3779B97F4A7C15  # odd, so that multiplying is one-to-one on 64 bits: ids look random and never repeat


def trace_header(base: int, number: int) -> bytes:
    """The value of `traceparent` for the request of this number (W3C Trace Context, sampled)."""
    mixed = (number * _SPREAD + 1) & _MASK
    return b"00-%016x%016x-%016x-01" % (base, mixed, mixed or 1)


def compose(
    method: str, target: bytes, authority: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, trace: bytes
) -> bytes:
    """The bytes of a request. Host, User-Agent, Content-Length and traceparent are added where `headers` lack them."""
    given = {name.lower() for name, _ in headers}
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target)]
    if b"host" not in given:
        lines.append(b"Host: " + authority.encode())
    if b"user-agent" not in given:
        lines.append(b"User-Agent: " + _AGENT)
    lines += [b"%b: %b" % pair for pair in headers]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(b"Content-Length: %d" % len(body))
    if b"traceparent" not in given:
        lines.append(b"traceparent: " + trace)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def target_of(url: str) -> bytes:
    """Path and query of a URL whose bytes stand as Latin-1, percent-encoded where that is needed. Raises ValueError."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return quote(target, safe=_SAFE, encoding="latin-1").encode()


class Prepared:
    """One declared request, compiled for one entry."""

    def __init__(
        self,
        plan: RequestPlan,
        origin: Origin,
        base_path: str,
        marks: Sequence[Condition],
        *,
        keep_body: bool,
        max_body: int,
    ) -> None:
        """`keep_body` keeps every answer's body, wanted by a condition or not; `max_body` limits it unpacked, too."""
        self.plan = plan
        self.name = plan.name
        self.method = plan.method
        self.timeout = plan.timeout
        self.idempotent = plan.idempotent
        self.headless = plan.method == "HEAD"
        self.then = tuple(
            Prepared(step, origin, base_path, marks, keep_body=keep_body, max_body=max_body) for step in plan.then
        )
        self._expected = statuses(plan.expect)
        self.telling = Telling(plan.tells) if plan.tells is not None else None
        self._checks = [Condition(check) for check in plan.checks]
        self._marks = list(marks)
        self._max_body = max_body
        self.keep_body = (
            keep_body
            or any(condition.needs_body for condition in (*self._checks, *self._marks))
            or any(not capture.header for capture in plan.captures)
            or (self.telling is not None and self.telling.needs_body)
        )
        self._looked_into = bool(self._checks or self._marks or self.keep_body)
        self._origin = origin
        self._base = base_path.rstrip("/").encode()
        self._path = Template(plan.path)
        self._headers = [(name.encode("latin-1"), Template(pieces)) for name, pieces in plan.headers]
        self._body = Template(plan.body)
        self.names = self._path.names.union(self._body.names, *(value.names for _, value in self._headers))
        self._fixed: tuple[bytes, bytes] | None = None
        if not self.names:
            mark = b"\0trace\0"
            before, found, after = self.compose(_nothing, mark).partition(mark)
            self._fixed = (before, after) if found else (before, b"")
            self._traced = bool(found)

    @property
    def stateful(self) -> bool:
        """Whether it needs a user who remembers, or follows redirects: more than one send and one answer."""
        return bool(self.plan.captures or self.plan.redirects or self.then or self.plan.tells)

    def fixed(self, base: int, number: int) -> bytes | None:
        """The bytes to send where only the trace differs from one to the next; None where there are values."""
        parts = self._fixed
        if parts is None:
            return None
        return b"%b%b%b" % (parts[0], trace_header(base, number), parts[1]) if self._traced else parts[0]

    def render(self, values: Values, base: int, number: int) -> bytes:
        """The bytes to send. Raises `values.Missing`."""
        return self.fixed(base, number) or self.compose(values, trace_header(base, number))

    def compose(self, values: Values, trace: bytes, cookies: bytes = b"") -> bytes:
        headers = self.headers(values)
        if cookies:
            headers.append((b"Cookie", cookies))
        return compose(
            self.method, self.target(values), self._origin.authority, headers, self._body.render(values), trace
        )

    def target(self, values: Values) -> bytes:
        """Path and query, percent-encoded where that is needed."""
        return self._base + quote(self._path.render(values), safe=_SAFE).encode()

    def headers(self, values: Values) -> list[tuple[bytes, bytes]]:
        return [(name, template.render(values)) for name, template in self._headers]

    def body(self, values: Values) -> bytes:
        return self._body.render(values)

    def answer(self, exchange: Exchange) -> Answer:
        """What came back, to be looked into."""
        took = exchange.ended - exchange.sent
        return Answer(exchange.status, exchange.head, exchange.body or (), took, self._max_body)

    def verdict(self, exchange: Exchange) -> tuple[str, tuple[str, ...]]:
        """The cause of failure (empty for a good answer) and the marks that the answer meets."""
        cause = exchange.cause
        if not cause and exchange.status not in self._expected:
            cause = f"status {exchange.status}"
        if not self._looked_into or not exchange.status:
            return cause, ()
        answer = self.answer(exchange)
        if not cause and self.keep_body and answer.too_large:
            cause = "body too large"
        if not cause:
            failed = next((check for check in self._checks if not check.holds(answer)), None)
            cause = f"check: {failed.title}" if failed is not None else ""
        return cause, tuple(mark.title for mark in self._marks if mark.holds(answer))


def base_path(entry: str) -> str:
    """The path that all requests of an entry share."""
    return urlsplit(entry).path


def _nothing(name: str) -> str:
    raise AssertionError(f"a template without names asked for {name}")
