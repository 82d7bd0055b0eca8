"""What is emitted is in the file, in memory and at the listeners, on the run's clock."""

from pathlib import Path

import msgspec
import pytest

from chaoskit.model.credentials import Hidden
from chaoskit.model.observation import Event, LoadSlot, MetricPoint, Observation, ProbeResult, TapCall, TapSlot
from chaoskit.recorder import Recorder


def test_stamps_become_seconds_since_warmup_began(tmp_path: Path) -> None:
    heard: list[Observation] = []
    with Recorder(tmp_path / "history.jsonl") as recorder:
        recorder.listen(heard.append)
        recorder.emit(Event(at=99.0, kind="started"))
        recorder.begin(100.0)
        recorder.emit(LoadSlot(at=100.3, ended=101.2, name="checkout", ok=1))
        recorder.emit(TapSlot(at=100.3, edge="a->b", calls=(TapCall(start=100.31, end=100.35), TapCall(start=100.4))))
        recorder.flush()
        seen = recorder.seen()
    assert [one.at for one in seen] == pytest.approx([-1.0, 0.3, 0.3])
    assert isinstance(seen[1], LoadSlot)
    assert seen[1].ended == pytest.approx(1.2)
    assert isinstance(seen[2], TapSlot)
    assert [(call.start, call.end) for call in seen[2].calls] == [
        (pytest.approx(0.31), pytest.approx(0.35)),
        (0.4, None),
    ]
    assert heard[1:] == seen[1:]
    assert (heard[0].at, seen[0].at) == (-0.1, -1.0), "told at once, recorded with its place"
    read = msgspec.json.Decoder(Observation).decode_lines((tmp_path / "history.jsonl").read_bytes())
    assert read == seen


def test_what_must_not_be_kept_is_cut_out_before_anybody_sees_it(tmp_path: Path) -> None:
    heard: list[Observation] = []
    calls = (TapCall(start=100.31, path="/of/s3cr%22et/page"), TapCall(start=100.4, path="/"))
    told = {"because": 's3cr"et is wrong', "name": "orders/ready"}
    with Recorder(tmp_path / "history.jsonl", Hidden(['s3cr"et', "orders", "answered"])) as recorder:
        recorder.listen(heard.append)
        recorder.emit(Event(at=99.0, kind="say", text='waits for s3cr"et'))
        recorder.begin(100.0)
        recorder.emit(TapSlot(at=100.3, edge="a->b", calls=calls))
        recorder.emit(ProbeResult(at=100.5, ok=False, **told))
        recorder.emit(MetricPoint(at=100.6, name="orders", value=1.0, labels={"path": '/of/s3cr"et', "code": "200"}))
        recorder.emit(LoadSlot(at=100.6, name="orders", ok=1))
        recorder.emit(Event(at=101.0, kind="say", text="nothing to hide", about={"by": 's3cr"et'}))
        recorder.flush()
        seen = recorder.seen()
    first, slot, probe, metric, load, last = seen
    assert isinstance(first, Event) and isinstance(slot, TapSlot) and isinstance(last, Event)
    assert isinstance(probe, ProbeResult) and isinstance(metric, MetricPoint) and isinstance(load, LoadSlot)
    assert (probe.because, probe.name, load.name) == ("(hidden) is wrong", "orders/ready", "orders"), "names stay"
    assert (metric.labels, last.about) == ({"path": "/of/(hidden)", "code": "200"}, {"by": "(hidden)"})
    assert slot.calls[0].outcome == "answered"
    assert first.text == "waits for (hidden)"
    assert [call.path for call in slot.calls] == ["/of/(hidden)/page", "/"]
    assert (slot.calls[0].start, last.text) == (pytest.approx(0.31), "nothing to hide")
    assert "s3cr" not in repr(heard) and "s3cr" not in (tmp_path / "history.jsonl").read_text()
    assert msgspec.json.Decoder(Observation).decode_lines((tmp_path / "history.jsonl").read_bytes()) == seen


def test_a_listener_that_crashes_is_not_swallowed(tmp_path: Path) -> None:
    def broken(_seen: Observation) -> None:
        raise RuntimeError("no")

    recorder = Recorder(tmp_path / "history.jsonl")
    recorder.__enter__()
    recorder.listen(broken)
    recorder.begin(0.0)
    recorder.emit(Event(at=1.0, kind="x"))
    with pytest.raises(RuntimeError, match="no"):
        recorder.flush()
    with pytest.raises(RuntimeError, match="no"):
        recorder.close()
