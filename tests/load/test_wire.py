"""Messages survive the wire however the stream is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaoskit.load.plan import load_plan
from chaoskit.load.wire import Batch, Done, Frames, Plan, Start, Stop, pack, read_command, read_report
from chaoskit.model.observation import Event, LoadSlot
from chaoskit.traffic import LoadSpec

SPEC = LoadSpec.model_validate(
    {
        "rate": "5/s",
        "requests": [{"path": "/${n}", "json": {"a": ["${n}", None]}, "checks": [{"json": "$.a[*].b", "equals": [1]}]}],
        "data": {"n": {"range": [1, 3]}},
        "marks": {"degraded": {"header": "X-Degraded: true"}},
    }
)


def test_a_plan_arrives_as_it_was_sent() -> None:
    sent = Plan(plan=load_plan(SPEC, "http://127.0.0.1:80", seed=3, allowed_hosts=["example.org"]))
    (body,) = Frames().feed(pack(sent))
    assert read_command(body) == sent
    assert sent.plan.legs[-1][1] == float("inf")


@given(st.lists(st.integers(1, 40), max_size=30))
def test_frames_come_out_whole(cuts: list[int]) -> None:
    commands = [Start(t0=1.5, duration=2.0), Stop(grace=0.5), Start(t0=2.5, duration=1.0)]
    data = b"".join(pack(command) for command in commands)
    frames, found, at = Frames(), [], 0
    for cut in [*cuts, len(data)]:
        found += [read_command(body) for body in frames.feed(data[at : at + cut])]
        at += cut
    assert found == commands


def test_observations_arrive_as_they_were_sent() -> None:
    batch = Batch(
        observations=[
            LoadSlot(at=0.1, name="a", ended=0.2, ok=1, response=b"\x01\x00\x01\x00\x00\x00"),
            Event(at=1.0, kind="x"),
        ]
    )
    for sent in (batch, Done()):
        (body,) = Frames().feed(pack(sent))
        assert read_report(body) == sent
