"""The probe that reads each replica's /metrics, directly; breakers that tell their state there are recognised."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.interfaces import Address, Emit, Probe, System
from chaoskit.model.observation import PAGE_READ, BreakerChange, Event, MetricPoint
from chaoskit.model.units import Duration
from chaoskit.probes.asking import ask
from chaoskit.probes.breakers import BreakerMetrics
from chaoskit.probes.rounds import Look, look_around

__all__ = ["Sample", "Scrape", "read_page"]

_NOISE = ("python_", "process_", "go_", "promhttp_", "nodejs_", "jvm_")


class Sample(NamedTuple):
    """One line of a page."""

    name: str
    labels: dict[str, str]
    value: float
    help: str


class Scrape(Probe):
    """Read the Prometheus metrics of every service that has some, once a second.

    Kept are all samples but those of the language's runtime, `_created` stamps and the buckets of histograms, or those
    that `only` names; at most `most` of each replica, in the order of its page. That a page was read is a point of its
    own (`scrape_samples_scraped`, Prometheus' name for it).
    """

    kind: ClassVar[str] = "scrape"

    every: Duration = Field(default=1.0, ge=0.1)
    """Time between two readings of one page."""
    timeout: Duration = Field(default=1.0, gt=0.0)
    """No answer within this time is none."""
    only: tuple[str, ...] = ()
    """Names of metrics to keep, as globs (`http_*`): runtime metrics and buckets too where they are named."""
    most: int = Field(default=300, ge=1)
    """Samples of one replica's page that are kept."""

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        looks = {
            f"scrape-{replica}": self._look(replica, address, path, BreakerMetrics(system.topology, replica), emit)
            for replica, address, path in pages(system)
        }
        look_around(looks, self.every, stop)

    def _look(self, replica: str, address: Address, path: str, breakers: BreakerMetrics, emit: Emit) -> Look:
        told: set[str] = set()

        def look(at: float, stop: threading.Event) -> None:
            answer = ask(address, path, self.timeout, body=True)
            if stop.is_set():
                return
            trouble = answer.because
            if answer.status is not None and answer.status != 200:
                trouble = f"status {answer.status}"
            elif answer.status == 200:
                trouble = self._read(replica, answer.body, at, breakers, emit)
            for edge, state in breakers.changes():
                emit(BreakerChange(at=at, source=replica, edge=edge, state=state))
            if trouble and trouble not in told:  # once for each trouble: a replica that is down stays down for a while
                told.add(trouble)
                text = f"{replica}{path} could not be read: {trouble}"
                emit(Event(at=at, source="probe.scrape", kind="warning", text=text, about={"replica": replica}))

        return look

    def _read(self, replica: str, body: bytes, at: float, breakers: BreakerMetrics, emit: Emit) -> str:
        """Emit what a page says; returns what was wrong with it."""
        kept = left_out = 0
        trouble = ""
        try:
            for sample in read_page(body):
                breakers.read(sample.name, sample.labels, sample.value, sample.help)
                if not self._wanted(sample.name):
                    continue
                if kept == self.most:
                    left_out += 1
                    continue
                kept += 1
                emit(MetricPoint(at=at, source=replica, name=sample.name, value=sample.value, labels=sample.labels))
            emit(MetricPoint(at=at, source=replica, name=PAGE_READ, value=float(kept + left_out)))
        except ValueError as error:
            trouble = f"not the text format of Prometheus: {error}"
        if left_out:
            trouble = f"it has more than {self.most} samples, the others are left out (name those you need in `only`)"
        return trouble

    def _wanted(self, name: str) -> bool:
        if self.only:
            return any(fnmatchcase(name, pattern) for pattern in self.only)
        return not name.startswith(_NOISE) and not name.endswith(("_created", "_bucket"))


def read_page(body: bytes) -> Iterator[Sample]:
    """The samples of one page. Raises ValueError where it is not the text format."""
    from prometheus_client.parser import text_string_to_metric_families

    families = iter(text_string_to_metric_families(body.decode("utf-8", errors="replace")))
    while True:
        try:
            family = next(families, None)
        except Exception as error:  # its parser has no error of its own: pages of others must not end us
            raise ValueError(str(error) or type(error).__name__) from error
        if family is None:
            return
        for sample in family.samples:
            yield Sample(sample.name, dict(sample.labels), float(sample.value), family.documentation)


def pages(system: System) -> Iterable[tuple[str, Address, str]]:
    """(replica, address, path) of every page of metrics."""
    for service in system.topology.services:
        for replica in service.replica_names() if service.metrics else ():
            address = system.replica(replica).address
            if address is not None:
                yield replica, address, service.metrics
