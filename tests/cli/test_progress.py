"""What goes on in a run is told from its observations, in lines worth keeping and a picture of now."""

from __future__ import annotations

import math
import time

import pytest

from chaoskit.cli.common.progress import Progress, sparkline
from chaoskit.cli.console import Line
from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import BreakerChange, Event, LoadSlot, ProbeResult
from chaoskit.model.verdict import Finding, Verdict

PHASES = [("warmup", 0.0, 1.0), ("baseline", 1.0, 4.0), ("fault", 4.0, 8.0)]


def text(line: Line) -> str:
    return "".join(piece if isinstance(piece, str) else piece[0] for piece in line)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def progress(told: list[str]) -> Progress:
    return Progress("It holds", PHASES, lambda line: told.append(text(line)))


def phase(name: str, start: float, end: float) -> Event:
    return Event(at=start, kind="phase", text=name, about={"start": f"{start:g}", "end": f"{end:g}"})


def slot(at: float, ok: int = 5, failed: int = 0, took: float = 0.1) -> LoadSlot:
    histogram = Histogram()
    for _ in range(ok):
        histogram.record(took)
    return LoadSlot(at=at, name="page", ended=at, ok=ok, failed=failed, response=histogram.to_bytes())


def test_before_the_phases_it_says_what_it_waits_for(progress: Progress) -> None:
    assert "putting the target up" in text(progress.lines()[-1])
    progress(Event(at=-1.0, kind="say", text="waiting for orders"))
    assert "waiting for orders" in text(progress.lines()[-1])
    assert not progress.begun


def test_lines_worth_keeping_are_phases_faults_and_breakers(progress: Progress, told: list[str]) -> None:
    progress(phase("fault", 4.0, 8.0))
    progress(Event(at=4.0, kind="injected", text="latency +50 ms on a->b", about={"fault": "latency"}))
    progress(BreakerChange(at=4.1, edge="a->b", state="closed"))
    progress(BreakerChange(at=5.0, edge="a->b", state="open"))
    progress(BreakerChange(at=5.1, edge="a->b", state="open"))
    progress(ProbeResult(at=5.2, name="a/ready", ok=False, because="refused"))
    progress(Event(at=5.3, kind="other", text="nothing to tell"))
    assert told == [
        "   4.0 s  fault  4 s",
        "   4.0 s  fault in: latency +50 ms on a->b",
        "   5.0 s  breaker a->b: closed → open",
    ]
    picture = "\n".join(map(text, progress.lines()))
    assert "▶ fault" in picture
    assert "latency +50 ms on a->b" in picture
    assert "a->b open" in picture
    assert "a/ready not ok" in picture
    progress(Event(at=8.0, kind="undone", text="latency is out", about={"fault": "latency"}))
    progress(ProbeResult(at=8.0, name="a/ready", ok=True))
    picture = "\n".join(map(text, progress.lines()))
    assert "faults" not in picture and "not ok" not in picture


def test_the_present_is_that_of_the_last_seconds_that_are_in(progress: Progress) -> None:
    progress(phase("warmup", 0.0, 1.0))
    for tenth in range(60):
        progress(slot(tenth / 10, ok=8, took=0.1))
    status = text(progress.status())
    assert "80/s" in status
    assert "p95 100 ms" in status
    assert "errors 0.0%" in status
    for tenth in range(60, 90):
        progress(slot(tenth / 10, ok=4, failed=4))
    assert "errors 50.0%" in text(progress.status())
    assert "p95 ∞" in text(progress.status()), "failures rank above every success"


def test_its_clock_is_that_of_the_phases_though_the_first_is_told_ahead_and_another_late(
    progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at, event in ((99.7, phase("warmup", 0, 1)), (101.0, phase("baseline", 1, 4)), (106.5, phase("fault", 4, 8))):
        monkeypatch.setattr(time, "monotonic", lambda at=at: at)
        progress(event)
    assert text(progress.status()).startswith("   6.5 s  fault")


def test_without_requests_it_says_so_and_does_not_crash(progress: Progress) -> None:
    progress(phase("warmup", 0.0, 1.0))
    assert "p95 –" in text(progress.status())
    assert progress.lines()


def test_findings_so_far_are_shown_with_why_and_what_is_still_to_be_judged(told: list[str]) -> None:
    progress = Progress("It holds", PHASES, lambda line: told.append(text(line)), ["latency", "error_rate", "recovery"])
    progress(phase("recovery", 8.0, 12.0))
    assert text(progress.lines()[-1]) == "  so far   · latency  · error_rate  · recovery  "
    for title, verdict, because in (
        ("error_rate", Verdict.SUPPORTED, "error rate was 0%"),
        ("latency", Verdict.REFUTED, "p95 was 2 s in fault, above 400 ms"),
    ):
        progress.judged(Finding(hypothesis=title, kind=title, verdict=verdict, because=because, expected=""))
    assert [text(line) for line in progress.lines()[-2:]] == [
        "  so far   ✗ latency  ✓ error_rate  · recovery  ",
        "           ✗ p95 was 2 s in fault, above 400 ms",
    ]
    assert told == ["   8.0 s  recovery  4 s"], "what is not kept is no line worth keeping"


def test_sparklines_show_gaps_and_what_is_beyond_everything() -> None:
    assert sparkline([0, 1, 2, 4]) == "▁▃▅█"
    assert sparkline([math.nan, 1, math.inf]) == " █×"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
