"""A comparison told: the page with both sides in one picture, and the document that machines read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.model.history import History, Phase, Span
from chaoskit.model.run import Run
from chaoskit.reporters.chart import Tick, time_ticks
from chaoskit.reporters.html import clock_text, render
from chaoskit.reporters.json import Json
from chaoskit.reporters.overlay import Entries, overlay_charts, overlay_distributions
from chaoskit.studies.compare import Comparison, Difference
from chaoskit.studies.sides import Side

__all__ = ["COMPARISON_VERSION", "comparison_document", "comparison_html", "comparison_text"]

COMPARISON_VERSION = 1
"""1: first."""

MOST_NAMES = 8
_PHASES = (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD)


@dataclass(frozen=True)
class _Whisker:
    """An interval on a scale of 200 whose middle, 100, is no difference."""

    low: float
    high: float
    value: float


def comparison_html(found: Comparison) -> str:
    """The page. Pictures are drawn where both sides' histories are on this machine."""
    pairs = [side.histories() for side in (found.a, found.b)]
    drawn = _drawn(found, pairs) if all(pairs) else {}
    ends = sorted(abs(one.relative(end)) for one in found.differences for end in one.interval or ())
    fine = [end for end in ends if math.isfinite(end)]
    reach = min(max(fine[int(len(fine) * 0.9)] if fine else 0.1, 0.05), 1.0)  # a few far ones must not hide the others
    return render(
        "compare.html",
        found=found,
        whiskers={one.key: _whisker(one, reach) for one in found.differences},
        reach=reach,
        **{
            "charts": [],
            "distributions": [],
            "phases": [],
            "x_ticks": [],
            "names": [],
            "start": 0.0,
            "end": 1.0,
            **drawn,
        },
    )


def _whisker(one: Difference, reach: float) -> _Whisker | None:
    if one.interval is None:
        return None
    ends = [one.relative(value) for value in (*one.interval, one.change)]
    if not all(math.isfinite(end) for end in ends):
        return None
    return _Whisker(*(100 + max(-1.0, min(1.0, end / reach)) * 98 for end in ends))


def _drawn(found: Comparison, pairs: Sequence[Sequence[tuple[Run, History]]]) -> dict[str, object]:
    sides: list[tuple[str, Entries]] = [
        (side.label, [entry for _, history in some for entry in history.load().entries])
        for side, some in zip((found.a, found.b), pairs, strict=True)
    ]
    labelled = [("A", sides[0][1]), ("B", sides[1][1])]
    longest = max((history for some in pairs for _, history in some), key=lambda history: history.seconds)
    start, end = longest.view_spans[0] if longest.view_spans else (0.0, 1.0)
    windows: list[tuple[Phase, list[Span]]] = [(p, longest.windows[p]) for p in _PHASES if longest.windows.get(p)]
    names = list(dict.fromkeys(one.key.of for one in found.differences))[:MOST_NAMES]
    several = names if len(names) > 1 else []
    return {
        "charts": overlay_charts(labelled, (start, end), several),
        "distributions": overlay_distributions(labelled, windows, several),
        "phases": sorted(
            ((phase.value, *span) for phase, spans in longest.windows.items() for span in spans), key=lambda one: one[1]
        ),
        "x_ticks": [Tick((at - start) / (end - start) * 100, clock_text(at, end)) for at in time_ticks(start, end, 8)],
        "names": several,
        "start": start,
        "end": end,
    }


def comparison_document(found: Comparison) -> dict[str, Json]:
    """All that machines read; null where there is no finite number."""
    return {
        "format_version": COMPARISON_VERSION,
        "verdict": found.verdict.value,
        "answer": found.answer,
        "a": _side(found.a),
        "b": _side(found.b),
        "gates": [
            {"gate": one.gate.text, "verdict": one.verdict.value, "because": one.because} for one in found.judged
        ],
        "differences": [
            {
                "of": one.key.of,
                "phase": one.key.phase,
                "measure": one.key.measure,
                "a": _number(one.mean_a),
                "b": _number(one.mean_b),
                "difference": _number(one.change),
                "interval": None if one.interval is None else [_number(end) for end in one.interval],
                "relative": _number(one.relative(one.change)),
                "p_value": one.p_value,
                "runs": [len(one.a), len(one.b)],
                "within_runs": one.within,
            }
            for one in found.differences
        ],
    }


def comparison_text(found: Comparison) -> str:
    """The document as text, ending with a newline."""
    return json.dumps(comparison_document(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, Json]:
    return {"label": side.label, "runs": [sample.id for sample in side.samples]}


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
