"""Finds the calls in what crosses one connection, on the caller's side, and counts them into its edge's tap.

On an HTTP edge a call is a request and its final answer. On any other a call is a *turn*: the caller's bytes after the
callee's, until the callee has answered; several commands sent without waiting (pipelining) are one turn.
"""

from __future__ import annotations

from collections import deque

from chaoskit.proxy.http1 import HEAD, MORE, OPAQUE, Requests, Responses
from chaoskit.proxy.tap import Call, Tap
from chaoskit.proxy.toxic import UPSTREAM

__all__ = ["HttpMeter", "Meter", "TurnMeter", "meter_for"]

_READY = b"Z\0\0\0\x05"
_TERMINATE = b"X\0\0\0\x04"
_POSTGRES = {b"Q": "query", b"P": "parse", b"B": "bind", b"E": "execute", b"p": "password", b"F": "function"}


class Meter:
    """Counts connections and bytes only; the base of those that know calls."""

    __slots__ = ("calls", "count", "number", "tap", "upcoming")

    def __init__(self, tap: Tap, number: int, now: float) -> None:
        self.tap = tap
        self.number = number
        self.calls: deque[Call] = deque()
        """Open ones, oldest first."""
        self.count = 0
        """Calls begun on this connection."""
        self.upcoming: tuple[str, ...] = ()
        """Toxics that acted on the connection before it had a call: they are named on its first one."""
        if now >= tap.until:
            tap.roll(now)
        tap.opened += 1
        tap.connections += 1
        tap.meters.add(self)

    def sent(self, data: bytes, now: float) -> None:
        """Bytes came from the caller."""
        if now >= self.tap.until:
            self.tap.roll(now)
        self.tap.bytes_up += len(data)

    def received(self, data: bytes, now: float) -> None:
        """Bytes go to the caller."""
        if now >= self.tap.until:
            self.tap.roll(now)
        self.tap.bytes_down += len(data)

    def caller_ended(self, now: float) -> None:
        """The caller has closed its side; bytes may still go to it."""

    def callee_ended(self, now: float, *, cleanly: bool, by_caller: bool) -> None:
        """The callee will send no more; not `cleanly` where it broke off or a toxic did it. `by_caller`: the caller had
        hung up before."""
        if cleanly and self.calls and self.ends_with_the_stream():
            self.end(self.calls[0], "answered", now)
        while self.calls:
            self.end(self.calls[0], "abandoned" if by_caller else "cut", now)

    def ends_with_the_stream(self) -> bool:
        """Whether the end of the callee's bytes completes the answer that is under way."""
        return False

    def closed(self, by_caller: bool, now: float) -> None:
        """The connection is over."""
        tap = self.tap
        if now >= tap.until:
            tap.roll(now)
        while self.calls:
            self.end(self.calls[0], "abandoned" if by_caller else "cut", now)
        tap.closed += 1
        tap.cut += not by_caller
        tap.connections -= 1
        tap.meters.discard(self)
        tap.quiet.discard(self)

    def begin(self, now: float) -> Call:
        call = Call(now, self.number, self.count == 0)
        self.count += 1
        call.toxics, self.upcoming = self.upcoming, ()
        self.calls.append(call)
        self.tap.started += 1
        return call

    def end(self, call: Call, outcome: str, end: float | None) -> None:
        """`call` (which must be the oldest one that is open) is over."""
        self.calls.popleft()
        call.end = end
        call.outcome = outcome
        self.tap.end_call(call)

    def hit(self, direction: int, toxic: str) -> bool | None:
        """A toxic acted on what passes now: names it on that call. True where it is the first time on that call, None
        where no call is open."""
        if not self.calls:
            return None
        call = self.calls[-1] if direction == UPSTREAM else self.calls[0]
        if toxic in call.toxics:
            return False
        call.toxics = (*call.toxics, toxic)
        self.count_hit(toxic)
        return True

    def count_hit(self, toxic: str) -> None:
        hits = self.tap.hits
        hits[toxic] = hits.get(toxic, 0) + 1

    def settle(self, slot: float) -> None:
        pass

    def report(self, now: float) -> None:  # noqa: ARG002 - a call that nothing ended has no end
        while self.calls:
            self.end(self.calls[0], "open", None)


class HttpMeter(Meter):
    """Calls of an HTTP/1 connection: keep-alive, pipelined, interim answers, upgrades."""

    __slots__ = ("begun", "requests", "responses")

    def __init__(self, tap: Tap, number: int, now: float) -> None:
        super().__init__(tap, number, now)
        self.requests = Requests()
        self.responses = Responses()
        self.begun: Call | None = None
        """The call whose request is coming in."""

    def sent(self, data: bytes, now: float) -> None:
        tap = self.tap
        if now >= tap.until:
            tap.roll(now)
        tap.bytes_up += len(data)
        requests = self.requests
        head = requests.whole(data)
        if head is not None:
            call = Call(now, self.number, self.count == 0)  # as `begin`, which costs a call here
            call.head = head
            call.bytes_up = len(data)
            call.toxics, self.upcoming = self.upcoming, ()
            self.count += 1
            self.calls.append(call)
            tap.started += 1
            self.responses.methods.append(data[: data.find(b" ")])
            return
        at, size = 0, len(data)
        while at < size:
            event, end = requests.step(data, at)
            if event == HEAD:
                call = self.begun or self.begin(now)
                assert requests.head is not None
                call.head = requests.head
                self.responses.methods.append(requests.head.method)
                call.bytes_up += end - at
                self.begun = None if requests.over else call
            elif event == MORE:
                call = self.begun or self.begin(now)
                call.bytes_up += end - at
                self.begun = call
            elif event == OPAQUE:
                if self.begun is not None and self.begun in self.calls and self.begun.head is None:
                    self.forget(self.begun)
                self.begun = None
                return
            elif self.begun is not None:
                self.begun.bytes_up += end - at
                if requests.over:
                    self.begun = None
            at = end

    def received(self, data: bytes, now: float) -> None:
        tap = self.tap
        if now >= tap.until:
            tap.roll(now)
        tap.bytes_down += len(data)
        responses = self.responses
        calls = self.calls
        status = responses.whole(data)
        if status:
            if calls:
                call = calls.popleft()
                call.status = status
                call.bytes_down += len(data)
                call.end = now
                call.outcome = "answered"
                tap.end_call(call)
            return
        at, size = 0, len(data)
        while at < size:
            event, end = responses.step(data, at)
            if event == OPAQUE:
                return
            if calls:
                call = calls[0]
                call.bytes_down += end - at
                if event == HEAD and not responses.interim:
                    assert responses.head is not None
                    call.status = responses.head.status
                    if responses.upgraded:
                        self.requests = Requests()
                        self.requests.state = responses.state
                if responses.over and not responses.interim:
                    self.end(call, "answered", now)
            at = end

    def caller_ended(self, now: float) -> None:
        # One that hangs up sends the same FIN as one that has nothing more to say; HTTP callers do the former.
        while self.calls:
            self.end(self.calls[0], "abandoned", now)

    def ends_with_the_stream(self) -> bool:
        return self.responses.end_of_stream()

    def forget(self, call: Call) -> None:
        """What looked like a request was none."""
        self.calls.remove(call)
        self.tap.started -= 1


class TurnMeter(Meter):
    """Turns of any other protocol. A turn ends with the callee's last byte before the caller speaks again, or before a
    slot without any; PostgreSQL says itself when it is ready for the next query."""

    __slots__ = ("protocol",)

    def __init__(self, tap: Tap, number: int, now: float, protocol: str) -> None:
        super().__init__(tap, number, now)
        self.protocol = protocol

    def sent(self, data: bytes, now: float) -> None:
        tap = self.tap
        if now >= tap.until:
            tap.roll(now)
        tap.bytes_up += len(data)
        call = self.calls[0] if self.calls else None
        if call is not None and call.end is not None:
            self.end(call, "answered", call.end)
            call = None
        if call is None:
            if self.protocol == "postgres" and data.startswith(_TERMINATE):
                return  # a goodbye, which nothing answers
            call = self.begin(now)
            call.verb = self.name_of(data)
        call.bytes_up += len(data)

    def received(self, data: bytes, now: float) -> None:
        tap = self.tap
        if now >= tap.until:
            tap.roll(now)
        tap.bytes_down += len(data)
        if not self.calls:
            return
        call = self.calls[0]
        call.bytes_down += len(data)
        call.end = now
        if self.protocol == "postgres" and data[-6:-1] == _READY:
            self.end(call, "answered", now)
        else:
            tap.quiet.add(self)

    def end(self, call: Call, outcome: str, end: float | None) -> None:
        if call.end is not None:
            outcome, end = "answered", call.end
        self.tap.quiet.discard(self)
        super().end(call, outcome, end)

    def settle(self, slot: float) -> None:
        if self.calls and self.calls[0].end is not None and self.calls[0].end < slot:
            self.end(self.calls[0], "answered", self.calls[0].end)

    def name_of(self, data: bytes) -> str:
        """What the turn's first bytes say it asks for, where that is cheap to see."""
        if self.protocol == "postgres":
            return _POSTGRES.get(data[:1], "connect" if data[:1] == b"\0" else "")
        if self.protocol == "redis" and data[:1] == b"*":
            parts = data[:64].split(b"\r\n", 3)
            if len(parts) > 3 and parts[2].isalpha():
                return parts[2].decode("latin-1").upper()
        return ""


def meter_for(protocol: str, tap: Tap, number: int, now: float) -> Meter:
    """The meter of one connection of an edge."""
    return HttpMeter(tap, number, now) if protocol == "http" else TurnMeter(tap, number, now, protocol)
