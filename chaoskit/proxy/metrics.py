"""Counters of proxies and of this process in Prometheus' text format."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from pathlib import Path

from chaoskit.proxy.proxy import Proxy

__all__ = ["text"]

_STARTED = time.time()


def text(proxies: Sequence[Proxy], *, live: bool, runtime: bool) -> str:
    """With `live` open connections count too, and toxics have hit counters; else only what a real Toxiproxy shows."""
    lines: list[str] = []
    shown = sorted((proxy for proxy in proxies if live or any(proxy.finished_bytes)), key=lambda proxy: proxy.name)
    for number, what in enumerate(("received", "sent")):
        name = f"toxiproxy_proxy_{what}_bytes_total"
        rows = []
        for proxy in shown:
            totals = proxy.bytes_now() if live else proxy.finished_bytes
            for direction, at in (("downstream", 2), ("upstream", 0)):
                labels = _labels(direction=direction, listener=proxy.listen, proxy=proxy.name, upstream=proxy.upstream)
                rows.append((labels, totals[at + number]))
        lines += _metric(name, "counter", rows)
    if live:
        lines += _metric(
            "chaoskit_proxy_connections", "gauge", [(_labels(proxy=p.name), len(p.connections)) for p in shown]
        )
        hits = [(_labels(proxy=p.name, toxic=t.name), t.hits) for p in shown for t in p.in_order()]
        lines += _metric("chaoskit_toxic_hits_total", "counter", hits)
    if runtime:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lines += _metric("process_cpu_seconds_total", "counter", [("", round(usage.ru_utime + usage.ru_stime, 3))])
        lines += _metric("process_start_time_seconds", "gauge", [("", round(_STARTED, 3))])
        descriptors = Path("/proc/self/fd")
        if descriptors.exists():
            lines += _metric("process_open_fds", "gauge", [("", sum(1 for _ in descriptors.iterdir()))])
    return "\n".join(lines) + "\n" if lines else ""


def _metric(name: str, kind: str, rows: Sequence[tuple[str, float]]) -> list[str]:
    if not rows:
        return []
    return [f"# HELP {name} ", f"# TYPE {name} {kind}", *(f"{name}{labels} {value}" for labels, value in rows)]


def _labels(**labels: str) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items()) + "}"
