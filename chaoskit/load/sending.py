"""What every declared request goes through: rendered, sent, judged, recorded, and told to Locust's listeners."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic

import gevent
from gevent.queue import SimpleQueue

from chaoskit.load.answer import Answer, Condition, headers
from chaoskit.load.arrivals import trace_base
from chaoskit.load.client import Client
from chaoskit.load.exchange import Exchange, Pool
from chaoskit.load.hosts import Hosts
from chaoskit.load.recording import Recorder
from chaoskit.load.request import Prepared, base_path
from chaoskit.load.values import Feeds, Missing
from chaoskit.load.wire import LoadPlan
from chaoskit.model.undo import JSON

__all__ = ["ListenerAnswer", "RequestFailed", "Sending", "broken"]

log = logging.getLogger("chaoskit.load")

FireRequest = Callable[..., None]
"""Locust's `events.request.fire`."""


class RequestFailed(Exception):
    """What listeners get as `exception`; its text is the cause."""


class ListenerAnswer:
    """What listeners get as `response`, with the names that requests and Locust's clients use."""

    def __init__(self, exchange: Exchange, url: str) -> None:
        self._answer: Answer = exchange.request.answer(exchange)
        self.status_code = exchange.status
        self.url = url

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(headers(self._answer.head))

    @property
    def content(self) -> bytes:
        return self._answer.body

    @property
    def text(self) -> str:
        return self._answer.body.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        return 0 < self.status_code < 400

    def json(self) -> JSON:
        """Raises ValueError where the body is not JSON."""
        document: JSON = json.loads(self._answer.body)
        return document


class Sending:
    """One worker's declared requests. `fire` is None where nobody listens."""

    def __init__(self, plan: LoadPlan, recorder: Recorder, fire: FireRequest | None) -> None:
        self.plan = plan
        self.recorder = recorder
        self.hosts = Hosts(plan.allowed_hosts)
        self.origin = self.hosts.origin(plan.entry)
        self.client = Client(
            self.hosts, keep_alive=plan.keep_alive, max_body=plan.max_body, tls=partial(_tls_context, plan)
        )
        self.feeds = Feeds(plan.feeds, plan.seed)
        self.trace_base = trace_base(plan.seed)
        marks = [Condition(mark) for mark in plan.marks]
        prepared = [
            Prepared(
                request,
                self.origin,
                base_path(plan.entry),
                marks,
                keep_body=fire is not None,
                max_body=plan.max_body,
            )
            for request in plan.requests
        ]
        self.mix = [request for request in prepared if not request.plan.once]
        self.once = [request for request in prepared if request.plan.once]
        known = {feed.name for feed in plan.feeds}
        self.plain = [
            not request.stateful and all(name.split(".", 1)[0] in known for name in request.names)
            for request in self.mix
        ]
        """For each request of the mix, whether it is one send and one answer, and needs nothing that was captured."""
        self.remembers = bool(self.once) or plan.cookies
        """Whether a user has a state before and after such a request too."""
        self.in_flight = 0
        """Requests that `begin` sent and that have not ended."""
        self._pool: Pool = {}
        self._fire = fire
        self.heard = fire is not None
        """Whether somebody listens."""
        self._told: SimpleQueue[Exchange] | None = None
        if fire is not None:
            # Listeners may block, and the loop may not: they are told in a greenlet of their own.
            self._told = SimpleQueue()
            gevent.spawn(self._tell_all)

    def begin(self, request: Prepared, planned: float, number: int) -> None:
        """Send a plain request from the loop, without waiting."""
        data = self.rendered(request, number, planned)
        if data is None:
            return
        self.in_flight += 1
        deadline = monotonic() + request.timeout
        self.client.send(Exchange(request, data, self.origin, self._pool, planned, deadline, self._ended))

    def rendered(self, request: Prepared, number: int, planned: float = 0.0) -> bytes | None:
        """The bytes of a plain request; None where a value is missing, which is recorded."""
        data = request.fixed(self.trace_base, number)
        if data is not None:
            return data
        try:
            return request.render(partial(self.feeds.value, number=number), self.trace_base, number)
        except Exception as error:  # noqa: BLE001 - whatever it was: it was planned, so it counts
            self.not_sent(request, planned, broken(error))
            return None

    def not_sent(self, request: Prepared, planned: float, cause: str) -> None:
        """Record the failure of a request that nothing was sent for."""
        now = monotonic()
        self.recorder.ended(request.name, planned or now, now, now, 0, cause, 0, 0)

    def _ended(self, exchange: Exchange) -> None:
        self.in_flight -= 1
        self.book(exchange)
        if self._told is not None:
            self._told.put(exchange)

    def book(self, exchange: Exchange) -> str:
        """Judge and record an exchange that ended; returns the cause of its failure or nothing."""
        request: Prepared = exchange.request
        if exchange.ours:
            self.recorder.dropped(request.name, exchange.planned, below_cap=True)
            return exchange.cause
        try:
            cause, marks = request.verdict(exchange)
        except Exception as error:  # noqa: BLE001 - whatever the answer is, it counts
            cause, marks = broken(error), ()
        exchange.cause = cause
        self.recorder.ended(
            request.name,
            exchange.planned,
            exchange.sent,
            exchange.ended,
            exchange.status,
            cause,
            exchange.bytes_in,
            exchange.bytes_out,
            exchange.reconnects,
            marks,
        )
        return cause

    def tell(self, exchange: Exchange) -> None:
        """Fire Locust's request event, in a greenlet that may block."""
        if self._fire is None or exchange.ours:
            return
        request: Prepared = exchange.request
        url = f"{self.origin}{request.plan.path[0].text if request.plan.path else ''}"
        error = RequestFailed(exchange.cause) if exchange.cause else None
        self._fire(
            request_type=request.method,
            name=request.name,
            response_time=(exchange.ended - exchange.planned) * 1000.0,
            response_length=sum(len(part) for part in exchange.body or ()),
            response=ListenerAnswer(exchange, url) if exchange.status else None,
            context={},
            exception=error,
            start_time=time.time() - (monotonic() - exchange.planned),
            url=url,
        )

    def give_up(self) -> None:
        """Close everything; what is in flight is recorded as unfinished."""
        for exchange in self.client.give_up():
            request: Prepared = exchange.request
            self.recorder.unfinished(
                request.name, exchange.planned, exchange.sent, exchange.bytes_out, exchange.reconnects
            )
            if request.telling is not None and exchange.said is not None:
                self.recorder.tell(request.telling.name, request.telling.open_row(exchange.said, exchange))

    def _tell_all(self) -> None:
        assert self._told is not None
        while True:
            self.tell(self._told.get())


def broken(error: Exception) -> str:
    """The cause of what a mistake ended: a value that is missing, or one of ours, which is told in the log."""
    if isinstance(error, Missing):
        return f"no value for {error.args[0]}"
    log.error("a request could not be carried out", exc_info=error)
    return f"generator error: {type(error).__name__}"


def _tls_context(plan: LoadPlan) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=plan.tls_ca or None)
    if not plan.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
