"""The highest rate that keeps the thresholds: doubled until they break, bisected, confirmed; and the knee, drawn.

Every step is a load of its own on the same stage. A step holds where every threshold does (by its measured value) and
the generator kept up. The answer is confirmed by a step twice as long; where that breaks, the next lower rate is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from chaoskit.errors import UsageError
from chaoskit.interfaces import Hypothesis
from chaoskit.interrupt import Interrupted
from chaoskit.model.history import Phase, Span
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding, Gate, Verdict
from chaoskit.runner import Finished
from chaoskit.store import write_atomically
from chaoskit.studies.load import LoadAsked, LoadStage, judged

__all__ = ["Capacity", "Step", "Verdict", "find_capacity", "next_rate"]

_CLOSE = 0.05
"""The search ends where the lowest rate that broke is at most this much above the highest that held."""
_STEPS = 24


class Step(msgspec.Struct, frozen=True):
    """One rate, tried."""

    rate: float
    held: bool
    because: str
    """What broke, or how it held."""
    answered: float
    """Successful answers per second."""
    p95: float
    error_rate: float
    span: Span
    generator: bool = False
    """Whether it was the generator that could not go on."""


@dataclass(frozen=True)
class Capacity:
    finished: Finished
    steps: list[Step]
    rate: float | None
    """The highest rate that held and was confirmed; None where the first one broke already."""


def find_capacity(
    asked: LoadAsked, *, start: float, most: float = math.inf, tell: Callable[[Step], None] = lambda _: None
) -> Capacity:
    """Search between `start` and `most` requests per second; every step lasts `asked.lasts`.

    Raises UsageError where the load is not an open one at a steady rate, or there is no threshold.
    """
    if asked.spec.rate is None:
        raise UsageError("a capacity is a rate: give --rate (where to begin), not users, stages or a locustfile")
    if asked.spec.ramp or asked.spec.spike:
        what = "ramp" if asked.spec.ramp else "spike"
        raise UsageError(
            f"every step of the search is at one rate from its start: leave out the {what}",
            hint="--ramp 0s" if asked.spec.ramp else "",
        )
    if not asked.thresholds:
        raise UsageError("a capacity needs a threshold", hint="--expect 'p95 < 200ms' --expect 'error_rate < 1%'")
    steps: list[Step] = []
    confirmed: Step | None = None
    with LoadStage(asked) as stage:
        stage.warm_up()
        try:
            rate: float | None = min(start, most)
            while rate is not None and len(steps) < _STEPS:
                steps.append(_step(stage, asked, rate, asked.lasts))
                tell(steps[-1])
                if not steps[-1].held:
                    stage.rest(asked.lasts / 2)  # the target works off what it was too slow for
                rate = next_rate([(step.rate, step.held) for step in steps], most)
            confirmed = _confirmed(stage, asked, steps, tell)
        except Interrupted:
            pass
        span = confirmed.span if confirmed else steps[-1].span if steps else (0.0, 0.0)
        history = stage.history({Phase.LOAD: [span]} if span[1] > span[0] else {})
    findings, gates = judged(replace(asked, thresholds=_by_point(asked)), history)
    # Steps above the capacity were meant to break, the generator's too: what counts is the confirmed one.
    finding = _finding(steps, confirmed)
    stage.notes += [_told(step) for step in sorted(steps, key=lambda step: step.rate)]
    finished = stage.finish(history, [finding, *(findings if confirmed else [])], _gates(gates, steps, confirmed))
    knee = stage.folder / "knee.svg"
    write_atomically(knee, knee_svg(steps, confirmed).encode())
    return Capacity(finished, steps, confirmed.rate if confirmed else None)


def next_rate(tried: Sequence[tuple[float, bool]], most: float) -> float | None:
    """What to try after these (rate, held): twice the highest that held, else half way; None where it is known."""
    held = max((rate for rate, good in tried if good), default=0.0)
    broke = min((rate for rate, good in tried if not good and rate > held), default=math.inf)
    if held >= most:
        return None
    if broke == math.inf:
        return min(held * 2, most)
    if not held:
        return broke / 2 if broke > 2 else None
    if broke <= held * (1 + _CLOSE) or broke - held < 1:
        return None
    return round((held + broke) / 2, 1) if broke > 10 else (held + broke) / 2


def _confirmed(stage: LoadStage, asked: LoadAsked, steps: list[Step], tell: Callable[[Step], None]) -> Step | None:
    for candidate in sorted({step.rate for step in steps if step.held}, reverse=True)[:3]:
        step = _step(stage, asked, candidate, asked.lasts * 2)
        steps.append(step)
        tell(step)
        if step.held:
            return step
    return None


def _by_point(asked: LoadAsked) -> tuple[Hypothesis, ...]:
    return tuple(claim.model_copy(update={"judge_by": "point"}) for claim in asked.thresholds)


def _step(stage: LoadStage, asked: LoadAsked, rate: float, lasts: float) -> Step:
    spec = asked.spec.model_copy(update={"rate": rate})
    span = stage.load(spec, min(1.0, asked.lasts / 4), lasts, f"load {rate:g}/s")
    history = stage.history({Phase.LOAD: [span]})
    findings, gates = judged(replace(asked, thresholds=_by_point(asked)), history)
    view = history.during(Phase.LOAD).load()
    shut = next((gate for gate in gates if not gate.open), None)
    broken = next((found for found in findings if found.verdict is not Verdict.SUPPORTED), None)
    because = shut.because if shut else broken.because if broken else "; ".join(found.because for found in findings)
    return Step(
        rate=rate,
        held=shut is None and broken is None,
        because=because,
        answered=view.rate,
        p95=view.percentile(0.95),
        error_rate=view.error_rate,
        span=span,
        generator=shut is not None and shut.gate == "generator",
    )


def _gates(gates: list[Gate], steps: Sequence[Step], confirmed: Step | None) -> list[Gate]:
    """Those of the confirmed step; without one, those of the last."""
    limit = min((step for step in steps if not step.held), key=lambda step: step.rate, default=None)
    if confirmed and limit and limit.generator:
        because = f"above {confirmed.rate:g}/s the generator was the limit, not the target: {limit.because}"
        return [
            *(gate for gate in gates if gate.gate != "generator"),
            Gate(gate="generator", open=False, because=because),
        ]
    return gates


def _finding(steps: Sequence[Step], confirmed: Step | None) -> Finding:
    broke = min((step for step in steps if not step.held), key=lambda step: step.rate, default=None)
    if confirmed is None:
        return Finding(
            hypothesis="capacity",
            kind="capacity",
            verdict=Verdict.REFUTED if broke else Verdict.INCONCLUSIVE,
            because=f"no rate held: {broke.because}" if broke else "no rate was tried to its end",
            expected="the highest rate that keeps the thresholds",
        )
    above = [step.rate for step in steps if not step.held and step.rate > confirmed.rate]
    because = f"{confirmed.rate:g}/s held for {duration_text(confirmed.span[1] - confirmed.span[0])}"
    because += f"; {min(above):g}/s did not: {broke.because}" if above and broke else "; nothing higher was tried"
    return Finding(
        hypothesis="capacity",
        kind="capacity",
        verdict=Verdict.SUPPORTED,
        because=because,
        expected="the highest rate that keeps the thresholds",
        measured=confirmed.rate,
        unit="1/s",
        interval=(confirmed.rate, min(above)) if above else None,
        phase=Phase.LOAD.value,
        evidence=(confirmed.span,),
    )


def _told(step: Step) -> str:
    sign = "held" if step.held else "broke"
    return (
        f"{step.rate:g}/s {sign}: {step.answered:.1f}/s answered, p95 {duration_text(step.p95)},"
        f" errors {step.error_rate:.2%}"
    )


def knee_svg(steps: Sequence[Step], confirmed: Step | None) -> str:
    """p95 over the rate, both from zero: where it bends is the knee."""
    width, height, margin = 720, 360, 60
    finite = [step for step in steps if math.isfinite(step.p95)]
    top = max((step.p95 for step in finite), default=1.0) * 1.1 or 1.0
    right = max((step.rate for step in steps), default=1.0) * 1.05

    def place(step: Step) -> tuple[float, float]:
        x = margin + step.rate / right * (width - 2 * margin)
        y = height - margin - min(step.p95, top) / top * (height - 2 * margin)
        return round(x, 1), round(y, 1)

    line = " ".join(f"{x},{y}" for x, y in (place(step) for step in sorted(finite, key=lambda step: step.rate)))
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="5" fill="{"#1a7f37" if step.held else "#cf222e"}">'
        f"<title>{step.rate:g}/s: p95 {duration_text(step.p95)}</title></circle>"
        for step, (x, y) in ((step, place(step)) for step in steps)
    )
    mark = ""
    if confirmed:
        x = margin + confirmed.rate / right * (width - 2 * margin)
        mark = (
            f'<line x1="{x:.1f}" y1="{margin}" x2="{x:.1f}" y2="{height - margin}" stroke="#1a7f37"'
            f' stroke-dasharray="4 4"/>'
            f'<text x="{x:.1f}" y="{margin - 8}" text-anchor="middle">{confirmed.rate:g}/s</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<path d="M{margin},{margin} V{height - margin} H{width - margin}" fill="none" stroke="#57606a"/>'
        f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="2"/>{dots}{mark}'
        f'<text x="{width - margin}" y="{height - 25}" text-anchor="end">rate, up to {right:.0f}/s</text>'
        f'<text x="{margin}" y="{margin - 25}">p95, up to {duration_text(top)}</text></svg>\n'
    )
