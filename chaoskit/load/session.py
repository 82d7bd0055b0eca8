"""One user: remembers captured values and cookies, follows redirects, and goes through a request's steps in order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from email.utils import mktime_tz, parsedate_tz
from time import monotonic
from urllib.parse import urljoin

from chaoskit.load.answer import capture, header, headers
from chaoskit.load.exchange import Exchange, Pool
from chaoskit.load.hosts import Origin
from chaoskit.load.request import Prepared, compose, target_of, trace_header
from chaoskit.load.sending import Sending, broken
from chaoskit.load.values import Missing
from chaoskit.model.undo import JSON

__all__ = ["Cookies", "Session"]

_REDIRECTS = 10
_REDIRECTIONS = (301, 302, 303, 307, 308)
_STEP = 1 << 48
"""Apart from each other in the numbers of one arrival's steps: each step has its own trace id."""


class Cookies:
    """Cookies by host, as RFC 6265 tells them apart; without the domains of other hosts."""

    def __init__(self) -> None:
        self._jar: dict[str, dict[str, tuple[str, str]]] = {}

    def keep(self, origin: Origin, head: bytes) -> None:
        """Take up every Set-Cookie of an answer."""
        for name, value in headers(head):
            if name.lower() == "set-cookie":
                self._set(origin, value)

    def _set(self, origin: Origin, text: str) -> None:
        pair, *attributes = text.split(";")
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            return
        given = {key.strip().lower(): content.strip() for key, _, content in (a.partition("=") for a in attributes)}
        jar = self._jar.setdefault(origin.host, {})
        if _is_over(given):
            jar.pop(name.strip(), None)
        else:
            jar[name.strip()] = (value.strip(), given.get("path", "/") or "/")

    def __bool__(self) -> bool:
        return any(self._jar.values())

    def line(self, origin: Origin, target: bytes) -> bytes:
        """What the Cookie header says; empty for none."""
        jar = self._jar.get(origin.host)
        if not jar:
            return b""
        path = target.decode("latin-1").partition("?")[0]
        fitting = [f"{name}={value}" for name, (value, below) in jar.items() if _covers(below, path)]
        return "; ".join(fitting).encode("utf-8", "replace")


class Session:
    """One user's state. `run` goes through one request of the mix and all its steps, in this greenlet."""

    def __init__(self, sending: Sending) -> None:
        self.sending = sending
        self.pool: Pool = {}
        self._values: dict[str, JSON] = {}
        self._cookies = Cookies() if sending.plan.cookies else None
        self._introduced = not sending.once
        self._steps = 0
        self.bare = self._introduced
        """Whether nothing comes before the next request, and nothing is remembered that belongs into it."""

    def run(self, request: Prepared, planned: float, number: int) -> str:
        """Send a request with everything before and after it; returns the cause of the first failure.

        The first send is planned at `planned` (0: when it goes out), each later one when the one before ended.
        What cannot be sent because a step before it failed is recorded as a failure of its own.
        """
        self._steps = 0
        cause = ""
        if not self._introduced:
            for before in self.sending.once:
                cause = self._steps_of(before, planned, number)
                planned = 0.0
                if cause:
                    self._not_sent(request, before.name)
                    return cause
            self._introduced = True
            self.bare = not self._cookies
        return self._steps_of(request, planned, number)

    def keep_cookies(self, exchange: Exchange) -> None:
        """Take up every Set-Cookie of an answer."""
        head = exchange.head
        if self._cookies is not None and (b"-Cookie" in head or b"-cookie" in head or b"-COOKIE" in head):
            self._cookies.keep(exchange.origin, head)
            self.bare = self._introduced and not self._cookies

    def close(self) -> None:
        for connections in list(self.pool.values()):
            for connection in list(connections):
                connection.close()
        self.pool.clear()

    def _steps_of(self, request: Prepared, planned: float, number: int) -> str:
        cause = self._one(request, planned, number)
        for index, step in enumerate(request.then):
            if cause:
                for left in request.then[index:]:
                    self._not_sent(left, request.name if index == 0 else request.then[index - 1].name)
                return cause
            cause = self._steps_of(step, 0.0, number)
        return cause

    def _not_sent(self, request: Prepared, after: str) -> None:
        now = monotonic()
        for each in _all(request):
            self.sending.not_sent(each, now, f"not sent: {after} failed")

    def _one(self, request: Prepared, planned: float, number: int) -> str:
        number += self._steps * _STEP
        self._steps += 1
        sending = self.sending
        try:
            exchange = self._answered(request, planned, number)
        except Exception as error:  # noqa: BLE001 - whatever it was, the request counts and its user lives on
            cause = broken(error)
            sending.not_sent(request, planned, cause)
            return cause
        cause = sending.book(exchange)
        try:
            cause = self._keep(request, exchange, cause)
        except Exception as error:  # noqa: BLE001 - as above, and it is booked: what builds on it is not sent
            cause = cause or broken(error)
        sending.tell(exchange)
        return cause

    def _answered(self, request: Prepared, planned: float, number: int) -> Exchange:
        """A request's exchange, ended; the last one's where it was redirected. Raises Missing."""
        sending, telling = self.sending, request.telling
        values = lambda name: self._value(name, number)  # noqa: E731 - the same words in each of these places
        said = telling.before(values) if telling is not None else None
        if self._cookies is None:
            data = request.render(values, sending.trace_base, number)
        else:
            cookies = self._cookies.line(sending.origin, request.target(values))
            data = request.compose(values, trace_header(sending.trace_base, number), cookies)
        exchange = self._exchange(request, data, sending.origin, planned, monotonic() + request.timeout)
        exchange.said = said
        sending.client.perform(exchange)
        self.keep_cookies(exchange)
        if request.plan.redirects and exchange.status in _REDIRECTIONS:
            exchange = self._followed(request, exchange, number)
        return exchange

    def _keep(self, request: Prepared, exchange: Exchange, cause: str) -> str:
        """Keep what the request tells and captures; returns the cause of a failure, `cause` where there was one."""
        telling, said = request.telling, exchange.said
        if telling is not None and said is not None and not exchange.ours:
            self.sending.recorder.tell(telling.name, telling.row(said, exchange, cause))
        return cause or (self._capture(request, exchange) if request.plan.captures else "")

    def _exchange(self, request: Prepared, data: bytes, origin: Origin, planned: float, deadline: float) -> Exchange:
        return Exchange(request, data, origin, self.pool, planned, deadline)

    def _followed(self, request: Prepared, first: Exchange, number: int) -> Exchange:
        """Go where the answers point; the result spans all of them."""
        sending = self.sending
        answer, method = first, request.method
        values = lambda name: self._value(name, number)  # noqa: E731 - the same three words in three places
        target, body = request.target(values), request.body(values)
        sent_headers = request.headers(values)
        url = f"{answer.origin}{target.decode('latin-1')}"
        for hop in range(_REDIRECTS + 1):
            location = header(answer.head, "location")
            if answer.cause or answer.status not in _REDIRECTIONS or location is None:
                break
            if hop == _REDIRECTS:
                answer.cause = "too many redirects"
                break
            try:
                url = urljoin(url, location)
                origin, target = sending.hosts.origin(url), target_of(url)
            except ValueError:
                answer.cause = "redirected nowhere"
                break
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                sent_headers = [pair for pair in sent_headers if not pair[0].lower().startswith(b"content-")]
            if origin is not answer.origin:
                # Credentials belong to the host that they were declared for.
                sent_headers = [
                    pair for pair in sent_headers if pair[0].lower() not in (b"authorization", b"cookie", b"host")
                ]
            lines = list(sent_headers)
            if self._cookies is not None and (line := self._cookies.line(origin, target)):
                lines.append((b"Cookie", line))
            trace = trace_header(sending.trace_base, number)
            data = compose(method, target, origin.authority, lines, body, trace)
            following = self._exchange(request, data, origin, first.planned, first.deadline)
            following.sent, following.said = first.sent, first.said
            following.bytes_out, following.reconnects = answer.bytes_out, answer.reconnects
            before = answer.bytes_in
            answer = sending.client.perform(following)
            answer.bytes_in += before
            self.keep_cookies(answer)
        return answer

    def _capture(self, request: Prepared, exchange: Exchange) -> str:
        answer = request.answer(exchange)
        for plan in request.plan.captures:
            value = capture(plan, answer)
            if value is None:
                return f"no value for {plan.name}"
            self._values[plan.name] = value
        return ""

    def _value(self, name: str, number: int) -> JSON:
        if name in self.sending.feeds:
            return self.sending.feeds.value(name, number % _STEP)
        if name not in self._values:
            raise Missing(name)
        return self._values[name]


def _all(request: Prepared) -> Iterator[Prepared]:
    yield request
    for step in request.then:
        yield from _all(step)


def _is_over(given: dict[str, str]) -> bool:
    """Whether a Set-Cookie's attributes say that the cookie is gone."""
    if "max-age" in given:
        return re.fullmatch("[0-9]*[1-9][0-9]*", given["max-age"]) is None
    try:
        parsed = parsedate_tz(given.get("expires", ""))
        return parsed is not None and mktime_tz(parsed) <= time.time()
    except (OverflowError, ValueError):
        return False  # no date: it lives as long as its user


def _covers(below: str, path: str) -> bool:
    return path == below or path.startswith(below if below.endswith("/") else below + "/")
