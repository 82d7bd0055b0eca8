"""The report that people read: one offline HTML file with the verdict first and the evidence behind it.

    Run + History ─► story (numbers) · timeline (charts) · lanes · graph · logs ─► templates/report.html ─► report.html

Everything is drawn here as SVG in units of time and value; the page's small script only looks closer (zoom, cursor).
Without a script, and on paper, the page says the same. It asks no network for anything, and its own policy forbids it.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chaoskit.interfaces import Reporter
from chaoskit.model.breaker_lane import breaker_lanes as model_breaker_lanes
from chaoskit.model.history import FaultSpan, History
from chaoskit.model.observation import TapSlot
from chaoskit.model.run import Run
from chaoskit.model.units import duration_text
from chaoskit.reporters.answer import again, answer, interval_text, measure_text, span_text
from chaoskit.reporters.chart import Tick, time_ticks
from chaoskit.reporters.columns import LoadColumns
from chaoskit.reporters.file import write_text
from chaoskit.reporters.graph import draw
from chaoskit.reporters.lanes import (
    Lane,
    breaker_lanes,
    event_lane,
    fault_lanes,
    health_lanes,
    listener_lanes,
)
from chaoskit.reporters.logs import log_parts
from chaoskit.reporters.story import (
    GATES,
    MOST_ROWS,
    Seen,
    causes_text,
    distributions,
    edge_rows,
    gauge,
    hurt_replicas,
    phase_numbers,
    phases_of,
    seen_of,
    tiles,
)
from chaoskit.reporters.timeline import charts, extent, make_timeline, shown_names

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["HtmlReporter", "render", "report_html"]

TEMPLATES = Path(__file__).parent / "templates"
MOST_SOURCE = 60_000
"""Characters of the experiment as written that are shown."""


class HtmlReporter(Reporter):
    """Writes `report.html`: the whole story of a run in one offline file."""

    kind = "html"
    file = "report.html"

    @classmethod
    def prepare(cls) -> None:
        for template in ("report.html", "base.html", "charts.html"):
            _environment().get_template(template)

    def write(self, run: Run, history: History, folder: Path) -> Path:
        with _no_collections():
            text = report_html(run, history, folder)
        return write_text(folder / self.file, text)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector still for the two seconds at most that a page takes: it would walk through a million
    observations again and again, none of which goes away."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def report_html(run: Run, history: History, folder: Path) -> str:
    """The page of one run; `folder` is where its logs lie."""
    columns = LoadColumns(history.load().entries)
    seen = seen_of(history)
    names = shown_names(columns, [finding.lane for finding in run.findings])
    timeline = make_timeline(run, history, columns)
    start, end = extent(run, history)
    tabled = shown_names(columns, names, MOST_ROWS)
    numbers = phase_numbers(run, columns, tabled if len(columns.names) > 1 else [])
    edges = edge_rows(run, seen.taps, numbers[""])
    states = {f"{row.caller}->{row.callee}": row.state for row in edges}
    looks = hurt_replicas(run, seen.health, seen.events)
    return render(
        "report.html",
        run=run,
        answer=answer(run),
        again=again(run),
        started=datetime.fromtimestamp(run.started, UTC),
        took=run.finished - run.started,
        start=start,
        end=max(end, start + 0.1),
        phases=_phases(run),
        judged=_judged(run),
        numbers=numbers,
        tiles=tiles(numbers[""]),
        more_names=len(columns.names) - len(tabled),
        names=names if len(columns.names) > 1 else [],
        total=int(columns.requests.sum()),
        causes=causes_text(columns),
        charts=charts(run, timeline, names, _broken_edges(run, seen)) if len(columns.at) else [],
        x_ticks=[
            Tick((at - start) / max(end - start, 0.1) * 100, clock_text(at, end)) for at in time_ticks(start, end, 8)
        ],
        lanes=_lanes(run, history, seen),
        distributions=distributions(run, columns, names),
        edges=edges,
        wide=draw(run.topology, states, looks),
        tall=draw(run.topology, states, looks, upright=True),
        events=seen.events[:200],
        more_events=max(0, len(seen.events) - 200),
        gates=GATES,
        logs=log_parts(run, folder),
        source=run.source[:MOST_SOURCE],
        source_cut=len(run.source) > MOST_SOURCE,
        shut=[gate for gate in run.gates if not gate.open],
    )


def _phases(run: Run) -> list[tuple[str, float, float]]:
    """(phase, start, end) of all windows, in order."""
    found = [(name, start, end) for name, spans in run.windows.items() for start, end in spans if end > start]
    return sorted(found, key=lambda one: one[1])


def _judged(run: Run) -> list[tuple[str, float, float]]:
    """(phase, first second, last second) of the judged phases, each once."""
    spans = ((phase.value, run.windows[phase.value]) for phase in phases_of(run))
    return [(name, min(start for start, _ in cut), max(end for _, end in cut)) for name, cut in spans]


def _broken_edges(run: Run, seen: Seen) -> list[tuple[str, list[TapSlot]]]:
    """Places that faults broke, with what their taps saw: at most four pictures."""
    found: dict[str, list[TapSlot]] = {}
    for fault in run.faults:
        for place in _places(run, fault):
            names = {edge.name for edge in run.topology.select_edges(place)}
            slots = [slot for name in names for slot in seen.taps.get(name, ())]
            if any(slot.took for slot in slots):
                found[place] = slots
    return list(found.items())[:4]


def _places(run: Run, fault: FaultSpan) -> list[str]:
    if fault.edges:
        return list(fault.on)
    into = {replica.partition(".")[0] for replica in fault.replicas}
    return [
        f"{caller}->{callee}"
        for caller, callee in dict.fromkeys((e.calling_service, e.called_service) for e in run.topology.edges)
        if callee in into
    ]


def _lanes(run: Run, history: History, seen: Seen) -> list[Lane]:
    lanes = fault_lanes(run.faults)
    lanes += breaker_lanes(model_breaker_lanes(history))
    lanes += health_lanes(seen.health)
    lanes += listener_lanes(seen.taps, extent(run, history))
    return lanes + event_lane(seen.events)


# ------------------------------------------------------------------------------------------------ the template


def clock_text(seconds: float, longest: float = 0.0) -> str:
    """A time on the run's clock: `8 s`, or `2:05`, `1:00:00` in a run longer than two minutes."""
    if max(seconds, longest) <= 120:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def render(template: str, **context: object) -> str:
    """A page from one of the templates; every value is escaped."""
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _style()
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    made.globals.update(
        style=style,
        script=script,
        # Only our own script runs, whatever else got into the page; nothing is fetched.
        policy="default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'",
    )
    made.filters.update(
        clock=clock_text, duration=duration_text, measure=measure_text, interval=interval_text, spans=span_text,
        percent=lambda value, start, end: f"{max(0.0, min(100.0, (value - start) / (end - start) * 100)):.3f}",
        short=_short_text, gauge=gauge,
    )  # fmt: skip
    return made


def _short_text(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _style() -> str:
    """The style sheet, with the dark colours wherever it asks for them, and the light ones on paper."""
    sheet = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    dark = (TEMPLATES / "dark.css").read_text(encoding="utf-8")
    light = re.search(r"--card:.*?(?=--sans)", sheet, flags=re.DOTALL)
    assert light is not None, "style.css begins with the light colours"
    sheet = sheet.replace("DARK", dark).replace("LIGHT", light.group())
    return re.sub(r"/\*.*?\*/|^\s+", "", sheet, flags=re.DOTALL | re.MULTILINE)
