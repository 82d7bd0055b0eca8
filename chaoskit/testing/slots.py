"""Single requests and calls as the slots that a worker and a tap send."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from chaoskit.model.histogram import Histogram, bucket_of, encode
from chaoskit.model.observation import LoadSlot, TapCall, TapSlot, slot_start
from chaoskit.model.spans import Span

__all__ = ["load_slots", "tap_slots"]

Place = tuple[str, float]
"""An edge and the start of a slot."""


def load_slots(slots: Iterable[LoadSlot]) -> list[LoadSlot]:
    """One slot for each (name, planned, ended), as a worker sends them."""
    groups: dict[tuple[str, float, float | None], list[LoadSlot]] = defaultdict(list)
    for slot in slots:
        groups[slot.name, slot.at, slot.ended].append(slot)
    return [_sum_of(group) for group in groups.values()]


def _sum_of(group: Sequence[LoadSlot]) -> LoadSlot:
    def histogram(of: str) -> bytes:
        return Histogram.merged(getattr(slot, of) for slot in group).to_bytes()

    def counter(of: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for slot in group:
            total.update(getattr(slot, of))
        return dict(total)

    def number(of: str) -> int:
        return sum(getattr(slot, of) for slot in group)

    return LoadSlot(
        at=group[0].at,
        source="worker.1",
        name=group[0].name,
        ended=group[0].ended,
        ok=number("ok"),
        failed=number("failed"),
        dropped=number("dropped"),
        dropped_below_cap=number("dropped_below_cap"),
        unfinished=number("unfinished"),
        response=histogram("response"),
        response_failed=histogram("response_failed"),
        service=histogram("service"),
        service_failed=histogram("service_failed"),
        send_lag=histogram("send_lag"),
        causes=counter("causes"),
        statuses=counter("statuses"),
        marks=counter("marks"),
    )


def tap_slots(
    calls: Iterable[tuple[str, TapCall]],
    *,
    last: float,
    closed_listeners: Iterable[tuple[str, Span]],
    hits: Mapping[Place, Counter[str]],
    keep_calls: bool,
) -> Iterator[TapSlot]:
    """Slots of all edges in order. Calls that nothing ended are reported at `last`, as a tap does when it stops."""
    started: Counter[Place] = Counter()
    ended: dict[Place, list[TapCall]] = defaultdict(list)
    for edge, call in calls:
        started[edge, slot_start(call.start)] += 1
        ended[edge, slot_start(call.end if call.end is not None else max(last - 0.1, call.start))].append(call)
    closed = {
        (edge, round(slot_start(start) + step / 10, 1))
        for edge, (start, end) in closed_listeners
        for step in range(round((end - start) * 10))
    }
    for edge, at in sorted({*hits, *started, *ended, *closed}):
        here = ended.get((edge, at), [])
        took = [call.end - call.start for call in here if call.end is not None and call.outcome == "answered"]
        yield TapSlot(
            at=at,
            source="tap",
            edge=edge,
            listening=(edge, at) not in closed,
            opened=sum(call.first for call in here),
            cut=sum(call.outcome == "cut" for call in here),
            bytes_up=sum(call.bytes_up for call in here),
            bytes_down=sum(call.bytes_down for call in here),
            started=started[edge, at],
            ended=sum(call.end is not None for call in here),
            took=encode(Counter(map(bucket_of, took))),
            statuses=dict(Counter(str(call.status) for call in here if call.status is not None)),
            outcomes=dict(Counter(call.outcome for call in here)),
            hits=dict(hits.get((edge, at), {})),
            calls=tuple(here) if keep_calls else (),
            left_out=0 if keep_calls else len(here),
        )
