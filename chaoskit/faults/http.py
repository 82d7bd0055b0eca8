"""Faults on whole HTTP calls: answered in the callee's place, held back, cut in mid-body. The tap carries them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from http import HTTPMethod
from typing import ClassVar

from pydantic import Field, field_validator

from chaoskit.faults.bites import cut_bite, slower_bite
from chaoskit.faults.edge import EdgeFault, Toxic, milliseconds
from chaoskit.faults.evidence import BY_CHANCE, Bite, Seen, by_chance, share_text, size_text
from chaoskit.model.observation import TapCall
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.undo import JSON
from chaoskit.model.units import Duration, Share, Size, duration_text

__all__ = ["HttpDelay", "HttpError", "Truncate"]


class CallFault(EdgeFault):
    """Base of faults that choose their calls: by method, path and header, and of those a share."""

    share: Share = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the matching calls that it acts on, rolled for each call."""
    method: str = ""
    """Only calls of this method (default: any)."""
    path: str = ""
    """Only calls whose path (without its query) this glob matches: `/charge*` (default: any)."""
    header: str = ""
    """Only calls with this header: `X-Tenant`, or with a value that a glob matches: `X-Tenant: a*`."""

    @field_validator("method")
    @classmethod
    def _known_method(cls, method: str) -> str:
        if method and method.upper() not in HTTPMethod.__members__:
            raise ValueError(f"expected an HTTP method such as POST, not {method!r}")
        return method.upper()

    def check(self, topology: Topology) -> Sequence[tuple[str, str]]:
        return [
            ("on", f"{self.kind} acts on whole HTTP calls, and {edge.name} carries {edge.protocol}")
            for edge in self.edges(topology)
            if edge.protocol != "http"
        ]

    def matching(self, kind: str, **attributes: JSON) -> list[Toxic]:
        """The toxic of this kind, for the calls that are meant."""
        which: dict[str, JSON] = {"method": self.method, "path": self.path, "header": self.header}
        return [Toxic(kind, {**attributes, **which, "percentage": self.share * 100})]

    def meant(self, call: TapCall) -> bool:
        """Whether a call is one of those, as far as a tap can tell (it keeps no headers)."""
        path = call.path.partition("?")[0]
        return (not self.method or call.method == self.method) and (not self.path or fnmatchcase(path, self.path))

    def which(self) -> str:
        """` of POST /charge` where not all calls are meant."""
        wanted = " ".join(part for part in (self.method, self.path, f"[{self.header}]" if self.header else "") if part)
        return f" of {wanted}" if wanted else ""

    def none_meant(self, seen: Seen) -> Bite | None:
        """Why none could be hit, where no call that is meant crossed; None where some did or may have."""
        during = seen.during
        if during.hits or not during.exact or any(self.meant(call) for call in during.kept):
            return None
        return Bite(False, f"{during.total} calls crossed {seen.place}, but none{self.which()}")


class HttpError(CallFault):
    """Answer a share of the calls with an error, in the callee's place.

    What it does
        The tap answers the calls that match with `status`; the callee never sees them. The others pass untouched, on
        the same connections. `first: 3` fails the first three and then no more.

    What it reveals
        Retries that are missing, without backoff or without a budget, breakers that count the wrong statuses, errors
        that reach the user.

    Example
        {kind: http_error, on: orders->payments, status: 503, share: 30%}
        {kind: http_error, on: orders->payments, status: 429, headers: {Retry-After: "1"}, path: /charge*, first: 3}

    Undone by
        Removing the toxic.
    """

    kind: ClassVar[str] = "http_error"

    status: int = Field(default=503, ge=200, le=599)
    """Status of the answer."""
    body: str = ""
    """Its body."""
    headers: dict[str, str] = {}
    """Its headers, beside those that its length and type need."""
    first: int = Field(default=0, ge=0)
    """Act on so many of the matching calls only, from the first (0: on all)."""

    def says(self) -> str:
        share = "" if self.share == 1.0 else f"{self.share * 100:g}% of "
        first = f"the first {self.first} " if self.first else ""
        return f"{share}{first}calls{self.which()} answered {self.status}"

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        headers: dict[str, JSON] = dict(self.headers)
        return self.matching("http_error", status=self.status, body=self.body, headers=headers, first=self.first)

    def bite(self, seen: Seen) -> Bite:
        if nothing := self.none_meant(seen):
            return nothing
        before, during, status = seen.before, seen.during, str(self.status)
        count = during.hits or during.statuses[status]
        because = (
            f"{count} of {during.total} calls on {seen.place} ({share_text(count, during.total)}) were answered"
            f" {status} by the fault; in baseline the callee answered {before.statuses[status]} of {before.total} so"
        )
        usual = (before.statuses[status] + 1) / (before.total + 2)
        if during.hits or by_chance(count, during.total, usual) < BY_CHANCE:
            return Bite(True, because)
        return Bite(False, f"{because}: with a share of {self.share * 100:g}% none may have been picked")


class HttpDelay(CallFault):
    """Hold back a share of the calls before they reach the callee.

    What it does
        The request of each matching call waits `delay` (± `jitter`); other calls on the same connection wait behind it.

    What it reveals
        One slow route that takes the pool of all the others with it, timeouts that differ by route.

    Example
        {kind: http_delay, on: gateway->inventory, delay: 500ms, path: /catalogue, share: 20%}

    Undone by
        Removing the toxic; what is held back is still held until its time.
    """

    kind: ClassVar[str] = "http_delay"

    delay: Duration = Field(ge=0.001)
    """How long a call is held back."""
    jitter: Duration = Field(default=0.0, ge=0.0)
    """Spread of the delay."""

    def says(self) -> str:
        share = "" if self.share == 1.0 else f"{self.share * 100:g}% of "
        return f"{share}calls{self.which()} held back {duration_text(self.delay)}"

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return self.matching("http_delay", delay=milliseconds(self.delay), jitter=milliseconds(self.jitter))

    def bite(self, seen: Seen) -> Bite:
        if nothing := self.none_meant(seen):
            return nothing
        if seen.during.hits:
            count = f"{seen.during.hits} of {seen.during.total} calls on {seen.place}"
            return Bite(True, f"{count} were held back {duration_text(self.delay)}; {seen.took_text()}")
        return slower_bite(
            seen,
            f"the edge {seen.place} that holds calls back",
            self.delay,
            share=self.share if not self.which() else self.share / 2,
        )


class Truncate(CallFault):
    """End the answers of a share of the calls in the middle of their body.

    What it does
        Passes the head of the answer and `after` bytes of its body, then closes the connection. An answer whose body
        is not longer passes whole.

    What it reveals
        Clients that take half an answer for a whole one, streams without a check, what is cached of it.

    Example
        {kind: truncate, on: gateway->inventory, after: 100B, share: 10%}

    Undone by
        Removing the toxic.
    """

    kind: ClassVar[str] = "truncate"

    after: Size = Field(default=0, ge=0)
    """Bytes of the body that still pass."""

    def says(self) -> str:
        share = "" if self.share == 1.0 else f"{self.share * 100:g}% of "
        return f"{share}answers{self.which()} end after {size_text(self.after)}"

    def toxics(self, edge: Edge) -> Sequence[Toxic]:  # noqa: ARG002 - the same on every edge
        return self.matching("truncate", bytes=self.after)

    def bite(self, seen: Seen) -> Bite:
        if nothing := self.none_meant(seen):
            return nothing
        why_not = f"no answer of those picked was longer than {size_text(self.after)}"
        return cut_bite(seen, why_not, "ended in the middle of their answer")
