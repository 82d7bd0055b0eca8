"""The probe that asks a Prometheus, through prometheus-api-client: PromQL queries and the states of alerts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field, model_validator

from chaoskit.interfaces import Emit, Probe, System
from chaoskit.model.observation import Event, MetricPoint, prometheus_source
from chaoskit.model.units import Duration
from chaoskit.probes.rounds import Look, look_around

__all__ = ["Prometheus"]

_STATES = {"pending": 1.0, "firing": 2.0}
"""Value of an alert's point: 0 is inactive."""
_CLOCK = "time()"
_MEASURED_BY = 5
"""Rounds after which the distance of the server's clock is known as well as it will be."""

_Result = Sequence[Mapping[str, Any]]
"""Series of an instant vector (`value`) or a matrix (`values`), as in Prometheus' HTTP API; a scalar is the pair."""


class Server(Protocol):
    """As much of prometheus_api_client's PrometheusConnect as is used here."""

    def custom_query(self, query: str) -> _Result: ...
    def custom_query_range(self, query: str, start_time: datetime, end_time: datetime, step: str) -> _Result: ...


class Prometheus(Probe):
    """Ask a Prometheus once a second: each query's answer becomes one sample a series, each alert's state one sample.

    Points are named by the query as written, or `alert`. An instant query is stamped with the middle of its asking.
    With `ask: range` Prometheus evaluates on whole seconds of its own clock, which is measured against ours; rounds in
    which it did not answer are made up for later.
    """

    kind: ClassVar[str] = "prometheus"

    server: str = "prometheus"
    """The target's service that provides it, or the URL of one that runs already."""
    queries: tuple[str, ...] = ()
    """PromQL, each with a scalar or an instant vector as its value."""
    alerts: tuple[str, ...] = ()
    """Names of alerts."""
    ask: Literal["instant", "range"] = "instant"
    """How queries are asked."""
    every: Duration = Field(default=1.0, ge=0.2)
    """Time between two questions."""
    timeout: Duration = Field(default=1.0, gt=0.0)
    """No answer within this time is none."""

    @model_validator(mode="after")
    def _something(self) -> Prometheus:
        if not self.queries and not self.alerts:
            raise ValueError("expected queries or alerts: what to ask it")
        return self

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        url = self.server
        if "://" not in url:
            url = f"http://{system.replica(self.server).address}"
        told = _Once(emit, url)
        looks: dict[str, Look] = {}
        for number, query in enumerate(self.queries):
            source = prometheus_source(self.server, self.ask)
            asker = _Ranges(query, source, emit) if self.ask == "range" else _Instants(query, source, emit)
            looks[f"prometheus-query-{number}"] = self._look(url, asker, told)
        for alert in self.alerts:
            looks[f"prometheus-alert-{alert}"] = self._look(
                url, _Alerts(alert, prometheus_source(self.server), emit), told
            )
        look_around(looks, self.every, stop)

    def _look(self, url: str, asker: _Asker, told: _Once) -> Look:
        server = connect(url, self.timeout)

        def look(at: float, stop: threading.Event) -> None:
            trouble = _asked(asker, server, stop)
            if trouble:
                told(at, trouble)

        return look


class _Once:
    """Says each trouble once: a Prometheus that is down stays down for a while."""

    def __init__(self, emit: Emit, url: str) -> None:
        self._emit = emit
        self._url = url
        self._told: set[str] = set()

    def __call__(self, at: float, trouble: str) -> None:
        if trouble not in self._told:
            self._told.add(trouble)
            text = f"Prometheus at {self._url} {trouble}"
            self._emit(Event(at=at, source="probe.prometheus", kind="warning", text=text))


class _Asker(Protocol):
    def ask(self, server: Server) -> Iterator[MetricPoint | Event]:
        """Ask once. Raises what the client raises, and errors of shape where the answer is no answer."""

    @property
    def emit(self) -> Emit: ...


class _Instants:
    """One query, evaluated now."""

    def __init__(self, query: str, source: str, emit: Emit) -> None:
        self.query = query
        self.source = source
        self.emit = emit

    def ask(self, server: Server) -> Iterator[MetricPoint | Event]:
        sent = time.monotonic()
        result = server.custom_query(self.query)
        middle = (sent + time.monotonic()) / 2
        for labels, pairs in _series(result):
            yield _point(self.source, self.query, middle, float(pairs[-1][1]), labels)


class _Ranges:
    """One query on whole seconds of the server's clock, each of them once."""

    def __init__(self, query: str, source: str, emit: Emit) -> None:
        self.query = query
        self.source = source
        self.emit = emit
        self._ahead = 0.0
        """The server's wall clock minus our monotonic one."""
        self._within = float("inf")
        self._rounds = 0
        self._answered_until: int | None = None

    def ask(self, server: Server) -> Iterator[MetricPoint | Event]:
        yield from self._measure(server)
        now = int(time.monotonic() + self._ahead)
        first = now if self._answered_until is None else self._answered_until + 1
        if first > now:
            return
        begin, end = (datetime.fromtimestamp(second, UTC) for second in (first, now))
        for labels, pairs in _series(server.custom_query_range(self.query, begin, end, "1s")):
            for stamp, value in pairs:
                yield _point(self.source, self.query, float(stamp) - self._ahead, float(value), labels)
        self._answered_until = now

    def _measure(self, server: Server) -> Iterator[Event]:
        """The distance of the clocks, from the quickest of the first few questions (Cristian 1989)."""
        if self._rounds >= _MEASURED_BY:
            return
        self._rounds += 1
        sent = time.monotonic()
        stamp = float(next(_series(server.custom_query(_CLOCK)))[1][-1][1])
        received = time.monotonic()
        if (received - sent) / 2 < self._within:
            self._within = (received - sent) / 2
            self._ahead = stamp - (sent + received) / 2
        if self._rounds == _MEASURED_BY:
            text = f"the clock of Prometheus is known to within {self._within * 1000:.3g} ms"
            about = {"uncertainty": str(self._within)}
            yield Event(at=received, source="probe.prometheus", kind="clock", text=text, about=about)


class _Alerts:
    """The state of one alert: the worst of its instances."""

    def __init__(self, alert: str, source: str, emit: Emit) -> None:
        self.alert = alert
        self.source = source
        self.emit = emit

    def ask(self, server: Server) -> Iterator[MetricPoint | Event]:
        sent = time.monotonic()
        result = server.custom_query(f'ALERTS{{alertname="{self.alert}"}}')
        middle = (sent + time.monotonic()) / 2
        value = max((_STATES.get(labels.get("alertstate", ""), 0.0) for labels, _ in _series(result)), default=0.0)
        yield _point(self.source, "alert", middle, value, {"alert": self.alert})


def connect(url: str, timeout: float) -> Server:
    """A client of one Prometheus, without retries: the next round asks again."""
    from prometheus_api_client import PrometheusConnect
    from urllib3.util import Retry

    server: Server = PrometheusConnect(url=url, retry=Retry(total=0), timeout=timeout)
    return server


def _asked(asker: _Asker, server: Server, stop: threading.Event) -> str:
    """Ask, and emit what came; returns what went wrong."""
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from requests import RequestException

    try:
        for seen in asker.ask(server):
            if stop.is_set():
                return ""
            asker.emit(seen)
    except PrometheusApiClientException as error:
        return f"refused a question: {error}"
    except RequestException as error:
        return f"did not answer: {type(error).__name__}"
    except (KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        return f"gave an answer that is not Prometheus': {type(error).__name__}: {error}"
    return ""


def _series(result: _Result) -> Iterator[tuple[dict[str, str], Sequence[Sequence[Any]]]]:
    """(labels, [(stamp, value)]) of each series; a scalar is one without labels."""
    if len(result) == 2 and not isinstance(result[0], Mapping):
        yield {}, [list(result)]
        return
    for one in result:
        labels = {key: value for key, value in one.get("metric", {}).items() if key != "__name__"}
        yield labels, one["values"] if "values" in one else [one["value"]]


def _point(source: str, name: str, at: float, value: float, labels: dict[str, str]) -> MetricPoint:
    return MetricPoint(at=at, source=source, name=name, value=value, labels=labels)
