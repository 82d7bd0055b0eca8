"""What is going on in a run right now, from its observations: phase, rate, p95, errors, breakers, health, faults."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from chaoskit.cli.console import Line, mark_of
from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import SLOT, BreakerChange, Event, LoadSlot, Observation, ProbeResult, slot_start
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Progress", "sparkline"]

_WINDOW = 2.0
"""Seconds over which the present rate and p95 are taken."""
_HISTORY = 40
"""Seconds that the sparklines show."""
_BARS = "▁▂▃▄▅▆▇█"
_TOLD = {"injected": "fault in", "undone": "fault out", "died": "died", "exited": "exited", "worker_lost": "lost",
         "aborted": "aborted", "started": "started"}  # fmt: skip


def sparkline(values: Sequence[float]) -> str:
    """One bar for each value; a space where there is none (nan), a cross where it is beyond everything (inf)."""
    finite = [value for value in values if value == value and value != float("inf")]
    top = max(finite, default=0.0)
    bars = []
    for value in values:
        if value != value:
            bars.append(" ")
        elif value == float("inf"):
            bars.append("×")
        else:
            bars.append(_BARS[min(len(_BARS) - 1, int(value / top * (len(_BARS) - 1) + 0.5))] if top else _BARS[0])
    return "".join(bars)


class _Second:
    """What ended in one second of the run."""

    __slots__ = ("failed", "ok", "response")

    def __init__(self) -> None:
        self.ok = self.failed = 0
        self.response = Histogram()

    @property
    def p95(self) -> float:
        return self.response.quantile(0.95, above=self.failed)


class Progress:
    """A listener of one run. `tell` gets each line worth keeping; `lines` is the picture of now."""

    def __init__(
        self,
        title: str,
        phases: Sequence[tuple[str, float, float]],
        tell: Callable[[Line], None],
        claims: Sequence[str] = (),
    ) -> None:
        """`claims` are the titles of what will be judged."""
        self._title = title
        self._claims = claims
        self._findings: dict[str, Finding] = {}
        self._phases = phases
        self._tell = tell
        self._lock = threading.Lock()
        self._phase = ""
        self._start = self._end = 0.0
        self._begins: list[float] = []
        """CLOCK_MONOTONIC when warmup began, as each phase told it."""
        self._slots: deque[LoadSlot] = deque()
        self._newest = 0.0
        """Start of the newest slot that anything ended in."""
        self._seconds: dict[int, _Second] = {}
        self._breakers: dict[str, str] = {}
        self._sick: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        self._said = "putting the target up"

    def __call__(self, seen: Observation) -> None:
        """Called in the recorder's thread."""
        with self._lock:
            if isinstance(seen, LoadSlot):
                self._load(seen)
                return
            if isinstance(seen, ProbeResult):
                self._probe(seen)
                return
            if isinstance(seen, BreakerChange):
                line = self._breaker(seen)
            elif isinstance(seen, Event):
                line = self._event(seen)
            else:
                return
        if line:
            self._tell(line)

    def judged(self, finding: Finding) -> None:
        """What a claim came to so far."""
        with self._lock:
            self._findings[finding.hypothesis] = finding

    def _load(self, slot: LoadSlot) -> None:
        ended = slot.ended if slot.ended is not None else slot.at
        second = self._seconds.setdefault(int(ended), _Second())
        second.ok += slot.ok
        second.failed += slot.failed + slot.dropped + slot.unfinished
        if slot.response:
            second.response.add_bytes(slot.response)
        self._slots.append(slot)
        self._newest = max(self._newest, ended)
        since = slot_start(self._newest - _WINDOW)
        while self._slots and (self._slots[0].ended or self._slots[0].at) < since:
            self._slots.popleft()

    def _probe(self, seen: ProbeResult) -> None:
        if seen.ok:
            self._sick.pop(seen.name, None)
        else:
            self._sick[seen.name] = seen.because

    def _breaker(self, seen: BreakerChange) -> Line:
        before = self._breakers.get(seen.edge)
        self._breakers[seen.edge] = seen.state
        if before is None or before == seen.state:
            return ()
        return (f"{seen.at:6.1f} s  ", f"breaker {seen.edge}: {before} → {seen.state}")

    def _event(self, seen: Event) -> Line:
        at = f"{seen.at:6.1f} s  " if seen.at >= 0 else " " * 10
        if seen.kind == "phase":
            self._begins.append(time.monotonic() - seen.at)
            self._phase = seen.text
            self._start = float(seen.about.get("start", seen.at))
            self._end = float(seen.about.get("end", seen.at))
            self._said = ""
            return (at, (seen.text, "bold"), f"  {duration_text(self._end - self._start)}")
        fault = seen.about.get("fault", "")
        if seen.kind == "injected":
            self._faults[fault] = seen.text
        elif seen.kind == "undone":
            self._faults.pop(fault, None)
        if seen.kind == "say":
            self._said = seen.text
            return (" " * 10, (seen.text, "dim"))
        if seen.kind not in _TOLD:
            return ()
        about = fault or seen.about.get("replica", "") or seen.about.get("part", "")
        style = "magenta" if fault else "yellow"
        return (at, (f"{_TOLD[seen.kind]}: {seen.text or about}", style))

    @property
    def _offset(self) -> float | None:
        """The first phase is told a moment ahead, as the load is sent for it; the others when they begin, or later."""
        return min(self._begins[1:] or self._begins, default=None)

    @property
    def begun(self) -> bool:
        """Whether the phases have begun."""
        return bool(self._begins)

    def lines(self) -> list[Line]:
        """The picture of now, for a terminal."""
        with self._lock:
            head: Line = ((self._title, "bold"),)
            if self._offset is None:
                return ["", head, ((f"  {self._said} …", "dim"),)]
            now = time.monotonic() - self._offset
            rows: list[Line] = ["", head, self._phase_line(now), *self._load_lines(now)]
            if self._faults:
                rows.append(("  faults   ", ("  ".join(self._faults.values()), "magenta")))
            if self._breakers:
                rows.append(("  breakers ", *self._states()))
            if self._sick:
                rows.append(("  health   ", (", ".join(sorted(self._sick)) + " not ok", "red")))
            return [*rows, *self._finding_lines()]

    def status(self) -> Line:
        """The same in one line, for logs."""
        with self._lock:
            now = time.monotonic() - self._offset if self._offset is not None else 0.0
            rate, p95, errors = self._present(now)
            breakers = "".join(f"  breaker {edge}: {state}" for edge, state in self._breakers.items())
            sick = f"  not ok: {', '.join(sorted(self._sick))}" if self._sick else ""
            told = f"{rate:.0f}/s  p95 {duration_text(p95)}  errors {errors:.1%}{breakers}{sick}"
            return (f"{now:6.1f} s  ", f"{self._phase:<9}", told)

    def _phase_line(self, now: float) -> Line:
        pieces: list[str | tuple[str, str]] = ["  "]
        for name, start, end in self._phases:
            if name == self._phase:
                spent = min(max(now - start, 0.0), end - start)
                pieces.append((f"▶ {name} {spent:.0f}/{end - start:g} s", "bold cyan"))
            else:
                pieces.append((name, "dim" if start > now else ""))
            pieces.append(("  ›  ", "dim"))
        return pieces[:-1]

    def _load_lines(self, now: float) -> list[Line]:
        rate, p95, errors = self._present(now)
        last = int(now)
        span = range(max(0, last - _HISTORY), last)
        seconds = [self._seconds.get(number) for number in span]
        rates = sparkline([float(one.ok + one.failed) if one else 0.0 for one in seconds])
        tails = sparkline([one.p95 if one else float("nan") for one in seconds])
        return [
            (f"  rate     {rate:6.0f}/s  ", (rates, "blue")),
            (f"  p95   {duration_text(p95):>11}  ", (tails, "cyan")),
            ("  errors   ", (f"{errors:7.1%}", "bold red" if errors > 0.01 else "")),
        ]

    def _finding_lines(self) -> list[Line]:
        """Findings so far, and why those that do not hold: a claim is judged when its phases are over."""
        if not self._claims:
            return []
        signs: list[str | tuple[str, str]] = ["  so far   "]
        why: list[Line] = []
        for claim in dict.fromkeys(self._claims):
            found = self._findings.get(claim)
            if found is None:
                signs.append((f"· {claim}  ", "dim"))
                continue
            mark, style = mark_of(found.verdict)
            signs += [(f"{mark} ", style), f"{claim}  "]
            if found.verdict is not Verdict.SUPPORTED:
                why.append((" " * 11, (f"{mark} ", style), found.because))
        return [signs, *why]

    def _present(self, now: float) -> tuple[float, float, float]:
        """Rate, p95 and share of errors over the last seconds that slots have come in for."""
        latest = max(self._newest, now - _WINDOW)
        since = slot_start(latest - _WINDOW)
        recent = [slot for slot in self._slots if (slot.ended if slot.ended is not None else slot.at) >= since]
        ok = sum(slot.ok for slot in recent)
        failed = sum(slot.failed + slot.dropped + slot.unfinished for slot in recent)
        p95 = Histogram.merged(slot.response for slot in recent).quantile(0.95, above=failed)
        seconds = max(0.0, min(_WINDOW, latest)) + SLOT
        return (ok + failed) / seconds, p95, failed / (ok + failed) if ok + failed else 0.0

    def _states(self) -> list[str | tuple[str, str]]:
        styles = {"closed": "green", "open": "bold red", "half_open": "yellow"}
        return [
            piece
            for edge, state in self._breakers.items()
            for piece in (f"{edge} ", (f"{state}  ", styles.get(state, "")))
        ]
