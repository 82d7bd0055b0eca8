"""What the worker counts: one cell for each (name, slot in which it was planned, slot in which it ended)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import ceil, log

from chaoskit.load.telling import Row
from chaoskit.model.histogram import BUCKETS, GAMMA, LOWEST
from chaoskit.model.observation import Event, LoadSlot

__all__ = ["Recorder"]

_SCALE = 1.0 / log(GAMMA)
_SHIFT = -log(LOWEST) * _SCALE - 1e-9
_LAST = BUCKETS - 1
_CAUSES = 100
"""Causes kept apart; those beyond count as `other`, so that a target that invents texts costs no memory."""


class _Cell:
    __slots__ = (
        "below",
        "bytes_in",
        "bytes_out",
        "causes",
        "dropped",
        "failed",
        "lag",
        "marks",
        "ok",
        "reconnects",
        "response",
        "response_failed",
        "service",
        "service_failed",
        "statuses",
        "unfinished",
    )

    def __init__(self) -> None:
        self.ok = self.failed = self.dropped = self.below = self.unfinished = 0
        self.bytes_in = self.bytes_out = self.reconnects = 0
        self.response: dict[int, int] = {}
        self.response_failed: dict[int, int] = {}
        self.service: dict[int, int] = {}
        self.service_failed: dict[int, int] = {}
        self.lag: dict[int, int] = {}
        self.causes: dict[str, int] = {}
        self.statuses: dict[int, int] = {}
        self.marks: dict[str, int] = {}


class Recorder:
    """Counts requests and hands them out as LoadSlots. Instants are absolute; used from one thread."""

    def __init__(self, source: str, *, shift: float = 0.0) -> None:
        """`shift` is taken from every instant before it is put into its slot: the lead of this clock over another."""
        self.source = source
        self._ahead = shift
        self._shift = 1e-6 - shift * 10
        self._rows: dict[str, list[Row]] = {}
        self._cells: dict[tuple[str, int, int], _Cell] = {}
        self._causes: set[str] = set()

    def ended(
        self,
        name: str,
        planned: float,
        sent: float,
        ended: float,
        status: int,
        cause: str,
        bytes_in: int,
        bytes_out: int,
        reconnects: int = 0,
        marks: tuple[str, ...] = (),
    ) -> None:
        """One request that succeeded (`cause` is empty) or failed; `status` is 0 where there was no answer."""
        shift = self._shift
        key = (name, int(planned * 10 + shift), int(ended * 10 + shift))
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        took = ended - sent
        took_bucket = ceil(log(took) * _SCALE + _SHIFT) if took > LOWEST else 0
        if sent == planned:
            total_bucket = took_bucket
            lag_bucket = 0
        else:
            total = ended - planned
            total_bucket = ceil(log(total) * _SCALE + _SHIFT) if total > LOWEST else 0
            lag = sent - planned
            lag_bucket = ceil(log(lag) * _SCALE + _SHIFT) if lag > LOWEST else 0
        if total_bucket > _LAST:
            took_bucket, total_bucket, lag_bucket = min(took_bucket, _LAST), _LAST, min(lag_bucket, _LAST)
        if cause:
            cell.failed += 1
            response, service = cell.response_failed, cell.service_failed
            cause = self._bounded(cause)
            cell.causes[cause] = cell.causes.get(cause, 0) + 1
        else:
            cell.ok += 1
            response, service = cell.response, cell.service
        response[total_bucket] = response.get(total_bucket, 0) + 1
        service[took_bucket] = service.get(took_bucket, 0) + 1
        lags = cell.lag
        lags[lag_bucket] = lags.get(lag_bucket, 0) + 1
        if status:
            statuses = cell.statuses
            statuses[status] = statuses.get(status, 0) + 1
        cell.bytes_in += bytes_in
        cell.bytes_out += bytes_out
        if reconnects:
            cell.reconnects += reconnects
        for mark in marks:
            cell.marks[mark] = cell.marks.get(mark, 0) + 1

    def dropped(self, name: str, planned: float, *, below_cap: bool, count: int = 1) -> None:
        """Requests that were planned and not sent."""
        slot = int(planned * 10 + self._shift)
        cell = self._cell((name, slot, slot))
        cell.dropped += count
        if below_cap:
            cell.below += count

    def unfinished(self, name: str, planned: float, sent: float, bytes_out: int = 0, reconnects: int = 0) -> None:
        """One request that was sent and is still open when the load stops."""
        cell = self._cell((name, int(planned * 10 + self._shift), -1))
        cell.unfinished += 1
        lag = sent - planned
        bucket = min(ceil(log(lag) * _SCALE + _SHIFT), _LAST) if lag > LOWEST else 0
        cell.lag[bucket] = cell.lag.get(bucket, 0) + 1
        cell.bytes_out += bytes_out
        cell.reconnects += reconnects

    def tell(self, name: str, row: Row | None) -> None:
        """Keep what a request wrote or read, and what was said of it."""
        if row is not None:
            self._rows.setdefault(name, []).append(row)

    def told(self) -> list[Event]:
        """Everything kept since the last time, as `model.told` reads it."""
        rows, self._rows = self._rows, {}
        return [self._event(name, kept) for name, kept in rows.items()]

    def flush(self) -> list[LoadSlot]:
        """Everything counted since the last time."""
        cells, self._cells = self._cells, {}
        return [self._slot(name, planned, ended, cell) for (name, planned, ended), cell in cells.items()]

    def _cell(self, key: tuple[str, int, int]) -> _Cell:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
        return cell

    def _bounded(self, cause: str) -> str:
        if cause not in self._causes:
            if len(self._causes) >= _CAUSES:
                return "other"
            self._causes.add(cause)
        return cause

    def _event(self, name: str, rows: list[Row]) -> Event:
        at = min(sent for _, _, _, sent, _, _ in rows)
        relative = [
            (op, key, value, round(sent - at, 6), None if ended is None else round(ended - at, 6), outcome)
            for op, key, value, sent, ended, outcome in rows
        ]
        about = {"rows": json.dumps(relative, ensure_ascii=False)}
        return Event(at=at - self._ahead, source=self.source, kind="told", text=name, about=about)

    def _slot(self, name: str, planned: int, ended: int, cell: _Cell) -> LoadSlot:
        return LoadSlot(
            at=planned / 10,
            source=self.source,
            name=name,
            ended=None if ended < 0 else ended / 10,
            ok=cell.ok,
            failed=cell.failed,
            dropped=cell.dropped,
            dropped_below_cap=cell.below,
            unfinished=cell.unfinished,
            response=_encoded(cell.response),
            response_failed=_encoded(cell.response_failed),
            service=_encoded(cell.service),
            service_failed=_encoded(cell.service_failed),
            send_lag=_encoded(cell.lag),
            causes=cell.causes,
            statuses={str(status): count for status, count in cell.statuses.items()},
            marks=cell.marks,
            bytes_in=cell.bytes_in,
            bytes_out=cell.bytes_out,
            reconnects=cell.reconnects,
        )


def _encoded(counts: Mapping[int, int]) -> bytes:
    """`model.histogram.encode`, in one call: this runs beside the sends."""
    if not counts:
        return b""
    flat = [number for pair in sorted(counts.items()) for number in pair]
    return struct.pack("<" + "HI" * len(counts), *flat)
