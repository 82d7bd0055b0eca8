"""Acts on whole HTTP calls of one connection: answers them itself, holds them, cuts their answers, spoils their bodies.

It stands where the connection's links meet the caller, so what it answers goes through the downstream chain like any
answer would. While HTTP toxics are in force it lets one call through at a time, so answers keep their order; what the
caller pipelines meanwhile waits here.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

from chaoskit.proxy.context import Context
from chaoskit.proxy.extra_toxics import corrupted
from chaoskit.proxy.http1 import BODY, HEAD, MORE, OPAQUE, Head, Requests, Responses
from chaoskit.proxy.link import Link
from chaoskit.proxy.meter import HttpMeter, Meter
from chaoskit.proxy.timers import Timer
from chaoskit.proxy.toxic import DOWNSTREAM, Toxic

__all__ = ["Gate", "Toxics"]


class Toxics(Protocol):
    """The proxy, as far as it says which toxics there are."""

    context: Context
    http: list[Toxic]

    def chain(self, direction: int) -> list[Toxic]: ...


class _Passage(Protocol):
    """What a gate asks of the connection that it stands in."""

    number: int
    meter: Meter | None
    up: Link | None
    down: Link | None
    closing: bool

    @property
    def toxics(self) -> Toxics: ...
    def to_client(self, data: bytes) -> None: ...
    def open_gate(self) -> None: ...


class Gate:
    """The HTTP toxics' place on one connection."""

    __slots__ = (
        "_answering",
        "_body_left",
        "_cutter",
        "_cutters",
        "_dice",
        "_ended",
        "_head",
        "_hold",
        "_opaque",
        "_pumping",
        "_raw",
        "_rolled",
        "_waiting",
        "connection",
        "outstanding",
        "requests",
        "responses",
    )

    def __init__(self, connection: _Passage, *, midway: bool) -> None:
        """`midway`: bytes have passed already (what its meter has read and not let through yet does not count)."""
        self.connection = connection
        meter = connection.meter
        if midway and isinstance(meter, HttpMeter):
            # The connection may be in the middle of a call: go on from where its meter has read to.
            self.requests = copy.copy(meter.requests)
            self.responses = copy.copy(meter.responses)
            self.responses.methods = deque(meter.responses.methods)
        else:
            self.requests = Requests()
            self.responses = Responses()
        self.outstanding = len(self.responses.methods) + self.responses.inside
        """Calls let through whose answers are not complete."""
        self._raw = not self.requests.between
        """Whether the beginning of the request that comes in was let through before we stood here."""
        self._opaque = self.requests.opaque or self.responses.opaque
        self._waiting = b""
        self._pumping = False
        self._head = b""
        self._hold: Timer | None = None
        self._answering: Toxic | None = None
        """The toxic that answers the request that comes in."""
        self._ended = False
        self._cutters: deque[Toxic | None] = deque([None] * self.outstanding)
        self._cutter: Toxic | None = None
        self._body_left = 0
        self._rolled: dict[Toxic, bool] = {}
        self._dice: random.Random | None = None

    # -- the caller's side

    def request(self, data: bytes) -> None:
        up = self.connection.up
        assert up is not None
        if self._opaque:
            up.feed(data)
            return
        self._waiting += data
        up.hold(len(data))
        self._pump()

    def end_requests(self) -> None:
        """The caller will send no more."""
        self._ended = True
        self._pump()

    def drop(self) -> None:
        """The caller is gone."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self._waiting and self.connection.up is not None:
            self.connection.up.free(len(self._waiting))
            self._waiting = b""

    def roll_again(self, toxic: Toxic) -> None:
        """The toxic was updated."""
        self._rolled.pop(toxic, None)

    def refresh(self) -> None:
        """The proxy's HTTP toxics changed."""
        self._pump()

    def _pump(self) -> None:
        """Work off what waits, as far as it may go now."""
        if not self._pumping:
            self._pumping = True
            self._work_off()
            self._pumping = False

    def _work_off(self) -> None:
        up = self.connection.up
        assert up is not None
        data, at = self._waiting, 0
        while at < len(data) and self._hold is None:
            if self._opaque:
                up.feed(data[at:])
                at = len(data)
                break
            toxics = self.connection.toxics.http
            if toxics and self.outstanding and self.requests.between:
                break
            event, end = self.requests.step(data, at)
            piece = data[at:end]
            at = end
            if event == HEAD:
                assert self.requests.head is not None
                raw = piece if self._raw else self.requests.head.raw
                self._head = b""
                self._raw = False
                self._decide(self.requests.head, raw)
                if self._answering is not None and self._hold is None and self._expects(self.requests.head):
                    self._answer()
                    at = len(data)
                    break
            elif event == MORE and not self._raw:
                self._head += piece
            elif event == OPAQUE:
                self._opaque = True
                up.feed(self._head + piece)
                self._head = b""
            elif self._answering is None:
                up.feed(piece)
            if self.requests.over:
                self._raw = False
                if self._answering is not None and self._hold is None:
                    self._answer()
        up.free(at)
        self._waiting = data[at:]
        if not self._waiting and self._hold is None:
            if self._ended:
                if self._head:  # the beginning of a request that will never be whole
                    up.feed(self._head)
                    self._head = b""
                up.end()
            elif not self.connection.toxics.http and not self._head and not self.outstanding:
                self.connection.open_gate()

    def _decide(self, head: Head, raw: bytes) -> None:
        """A request's head is complete: let it through, now or later, or answer it."""
        delay = 0.0
        cutter: Toxic | None = None
        for toxic in self.connection.toxics.http:
            if toxic.kind.layer != "http" or not self._acts(toxic) or not _matches(toxic, head):
                continue
            if toxic.dice.random() * 100 >= toxic.float_of("percentage"):
                continue
            if toxic.kind.name == "http_delay":
                jitter = toxic.int_of("jitter")
                delay += (toxic.int_of("delay") + (toxic.dice.uniform(-jitter, jitter) if jitter else 0.0)) / 1000
                self._hit(toxic)
            elif toxic.kind.name == "truncate":
                cutter = cutter or toxic
            elif self._answering is None:
                toxic.matched += 1
                if not toxic.int_of("first") or toxic.matched <= toxic.int_of("first"):
                    self._answering = toxic
                    self._hit(toxic)
        self.outstanding += 1
        self.responses.methods.append(head.method)
        self._cutters.append(cutter)
        if delay > 0:
            timers = self.connection.toxics.context.timers
            self._hold = timers.after(delay, lambda: self._held_long_enough(raw))
        elif self._answering is None and self.connection.up is not None:
            self.connection.up.feed(raw)

    def _held_long_enough(self, raw: bytes) -> None:
        self._hold = None
        if self._answering is None:
            if self.connection.up is not None:
                self.connection.up.feed(raw)
        elif self.requests.between or (self.requests.head is not None and self._expects(self.requests.head)):
            self._answer()
        self._pump()

    @staticmethod
    def _expects(head: Head) -> bool:
        """Whether its body waits for our word."""
        return head.header(b"expect") is not None

    def _answer(self) -> None:
        """Answer the request that came in, in the callee's place."""
        toxic, self._answering = self._answering, None
        head = self.requests.head
        assert toxic is not None and head is not None and self.connection.down is not None
        closing = _wants_close(head)
        self.connection.down.feed(_response(toxic, head, closing))
        if closing:
            self.connection.closing = True
            self.connection.down.end()

    # -- the callee's side

    def response(self, data: bytes) -> None:
        """Bytes of answers, on their way to the caller."""
        if self._opaque or self.responses.opaque:
            self.connection.to_client(data)
            return
        at, size = 0, len(data)
        passing: list[bytes] = []
        while at < size:
            event, end = self.responses.step(data, at)
            piece = data[at:end]
            if event == HEAD and not self.responses.interim:
                self._cutter = self._cutters.popleft() if self._cutters else None
                self._body_left = self._cutter.int_of("bytes") if self._cutter is not None else 0
            elif event == BODY:
                piece = self._spoil(piece)
                if self._cutter is not None:
                    self._body_left -= len(piece)
            elif event == OPAQUE:
                self._opaque = True
            if event == BODY and self._cutter is not None and self._body_left < 0:
                passing.append(piece[: self._body_left])
                self._cut(b"".join(passing), self._cutter)
                return
            passing.append(piece)
            at = end
            if self.responses.over and not self.responses.interim:
                self.outstanding -= 1
        if self.responses.opaque:
            self._opaque = True
        if passing:
            self.connection.to_client(b"".join(passing))
        if self._waiting or not self.connection.toxics.http:
            self._pump()

    def _cut(self, data: bytes, toxic: Toxic) -> None:
        self._hit(toxic)
        if data:
            self.connection.to_client(data)
        down = self.connection.down
        assert down is not None
        down.cutting = True
        for stub in down.stubs:
            stub.discard()
        down.finish()

    def _spoil(self, body: bytes) -> bytes:
        for toxic in self.connection.toxics.chain(DOWNSTREAM):
            if toxic.kind.name == "corrupt" and toxic.attributes["only_bodies"] and self._acts(toxic):
                if self._dice is None:
                    self._dice = random.Random(f"{toxic.seed}/{self.connection.number}")  # noqa: S311 - chance
                spoilt = corrupted(body, toxic.float_of("probability"), self._dice)
                if spoilt is not body:
                    self._hit(toxic)
                    body = spoilt
        return body

    # -- both

    def _acts(self, toxic: Toxic) -> bool:
        """Whether the toxic won its roll on this connection."""
        if toxic not in self._rolled:
            self._rolled[toxic] = toxic.roll()
        return self._rolled[toxic]

    def _hit(self, toxic: Toxic) -> None:
        meter = self.connection.meter
        if meter is None or meter.hit(DOWNSTREAM, toxic.name) is not False:
            toxic.hits += 1


def _matches(toxic: Toxic, head: Head) -> bool:
    attributes = toxic.attributes
    method, path, header = (str(attributes[name]) for name in ("method", "path", "header"))
    if method and head.method.decode("latin-1").upper() != method.upper():
        return False
    if path and not fnmatchcase(head.path.decode("latin-1").partition("?")[0], path):
        return False
    if header:
        name, colon, wanted = header.partition(":")
        value = head.header(name.strip().lower().encode("latin-1", "replace"))
        if value is None or (colon and not fnmatchcase(value.decode("latin-1"), wanted.strip())):
            return False
    return True


def _wants_close(head: Head) -> bool:
    """Whether nothing can follow the answer to this request."""
    connection = (head.header(b"connection") or b"").lower()
    if head.line.endswith(b"1.0"):
        return b"keep-alive" not in connection
    # A caller that waits for 100 Continue may or may not send its body now: only a close is clear.
    return b"close" in connection or head.header(b"expect") is not None


def _response(toxic: Toxic, head: Head, closing: bool) -> bytes:
    status = toxic.int_of("status")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Chaos"
    body = str(toxic.attributes["body"]).encode()
    lines = [f"HTTP/1.1 {status} {phrase}"]
    headers = toxic.attributes["headers"]
    given = {str(k): str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}
    names = {name.lower() for name in given}
    if "content-type" not in names and body:
        lines.append("Content-Type: text/plain; charset=utf-8")
    lines += [f"{name}: {value}" for name, value in given.items() if name.lower() not in _OURS]
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    lines.append(f"X-Chaoskit-Toxic: {toxic.name}")
    if closing:
        lines.append("Connection: close")
    text = "\r\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines) + "\r\n\r\n"
    bodiless = head.method == b"HEAD" or status in (204, 304)
    return text.encode("latin-1", "replace") + (b"" if bodiless else body)


_OURS = frozenset({"content-length", "transfer-encoding", "connection"})
