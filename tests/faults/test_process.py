from __future__ import annotations

import signal
from pathlib import Path

from chaoskit.faults.process import Kill, Pause, Scale
from chaoskit.registry import undo_owner
from chaoskit.testing import FakeSystem, HistoryBuilder

EDGE = "orders->payments"


def usual(kind: str, on: str = "payments.1") -> HistoryBuilder:
    return (
        HistoryBuilder()
        .calls(EDGE, rate=20, took=0.05)
        .probe("payments/ready")
        .probe("payments/live")
        .fault(kind, on=on)
    )


def test_a_kill_signals_the_replica_and_names_before_how_it_is_started_again(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = Kill(id="kill", on="payments.1")
    assert [undo.owner for undo in fault.undo(system)] == ["fake.kill"]
    assert system.fake_replicas["payments.1"].is_alive
    fault.inject(system)
    assert system.fake_replicas["payments.1"].signals == [signal.SIGKILL]
    assert not system.fake_replicas["payments.1"].is_alive
    assert system.fake_replicas["payments.2"].signals == []


def test_a_service_means_all_its_replicas(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    Pause(id="pause", on="payments").inject(system)
    hit = {name for name, replica in system.fake_replicas.items() if replica.signals == [signal.SIGSTOP]}
    assert hit == {"payments.1", "payments.2"}
    assert [undo.owner for undo in Pause(on="payments").undo(system)] == ["fake.pause"] * 2


def test_scaling_down_ends_the_replicas_with_the_highest_numbers(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = Scale(id="scale", on="payments", to=1)
    assert fault.replicas(system.topology) == ["payments.2"]
    system.fake_replicas["payments.2"].is_alive = False  # a fake one does not die of SIGTERM by itself
    fault.inject(system)
    assert system.fake_replicas["payments.2"].signals == [signal.SIGTERM]
    assert system.fake_replicas["payments.1"].signals == []


def test_scaling_up_starts_replicas_that_did_not_run_before_and_its_undo_stops_them(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = Scale(id="scale", on="payments", before=1, to=2)
    second = system.fake_replicas["payments.2"]
    assert fault.replicas(system.topology) == ["payments.2"]
    assert [undo.owner for undo in fault.undo_arranged(system)] == ["fake.kill"]
    second.is_alive = False  # a fake one does not die of SIGTERM by itself
    fault.arrange(system)
    assert second.signals == [signal.SIGTERM] and system.fake_replicas["payments.1"].signals == []
    fault.inject(system)
    assert second.is_alive
    (undo,) = fault.undo(system)
    owner = undo_owner(undo.owner)
    assert owner is not None
    second.is_alive = False
    owner.apply_undo(undo, system)
    assert second.signals == [signal.SIGTERM, signal.SIGTERM]
    owner.apply_undo(undo, None)  # a fresh process: the end of the run stops it


def test_scaling_from_a_number_down_leaves_the_others_alone(tmp_path: Path) -> None:
    fault = Scale(id="scale", on="payments", before=1, to=0)
    assert fault.replicas(FakeSystem(folder=tmp_path).topology) == ["payments.1"]


def test_a_scale_that_fits_no_number_of_replicas_is_told(tmp_path: Path) -> None:
    topology = FakeSystem(folder=tmp_path).topology
    ((key, said),) = Scale(on="payments", before=1, to=3).check(topology)
    assert key == "to" and "payments has 2 replicas" in said and "`replicas: 3`" in said
    assert Scale(on="payments", to=2).check(topology)[0][0] == "to"
    assert Scale(on="payments", to=1).check(topology) == []


def test_scaling_up_bit_where_the_new_replica_started_and_answered() -> None:
    fault = Scale(id="scale", on="payments", before=1, to=2)
    quiet = HistoryBuilder().calls("orders->payments.1", rate=20, took=0.05).fault("scale", on="payments.2")
    assert "was not seen to start" in fault.trace(quiet.build()).because
    started = quiet.event("started", 8.2, replica="payments.2")
    assert "answered none: nobody called it" in fault.trace(started.build()).because
    served = started.calls("orders->payments.2", (9.0, 17.0), rate=20, took=0.05).build()
    assert fault.trace(served).bit, fault.trace(served).because


def test_scaling_up_did_not_bite_where_the_replica_served_before() -> None:
    history = usual("scale", "payments.2").event("started", 8.2, replica="payments.2").build()
    trace = Scale(id="scale", on="payments", before=1, to=2).trace(history)
    assert not trace.bit and "in baseline already" in trace.because


def test_a_kill_bit_where_the_replica_was_seen_to_exit() -> None:
    builder = (
        usual("kill").probe("payments.1/ready", "fault", ok=False).calls("orders->payments.1", (7.9, 18.0), rate=0)
    )
    history = builder.event("exited", 8.012, "killed by signal 9", replica="payments.1").build()
    trace = Kill(id="kill", on="payments.1").trace(history)
    assert trace.bit
    assert trace.because.startswith("payments.1 exited 12 ms after its signal; its health checks failed")


def test_a_kill_did_not_bite_where_nothing_exited_or_another_one_or_at_another_time() -> None:
    fault = Kill(id="kill", on="payments.1")
    assert not fault.trace(usual("kill").build()).bit
    assert not fault.trace(usual("kill").event("exited", 8.1, replica="payments.2").build()).bit
    assert not fault.trace(usual("kill").event("exited", 3.0, replica="payments.1").build()).bit


def test_a_kill_of_a_service_must_have_ended_every_replica() -> None:
    builder = usual("kill", "payments").event("exited", 8.01, replica="payments.1")
    assert not Kill(id="kill", on="payments").trace(builder.build()).bit
    assert Kill(id="kill", on="payments").trace(builder.event("exited", 8.02, replica="payments.2").build()).bit


def test_a_scale_that_leaves_everything_had_nothing_to_act_on() -> None:
    trace = Scale(id="scale", on="payments", to=2).trace(usual("scale", "payments").build())
    assert not trace.bit
    assert "no replica to act on" in trace.because


def test_a_pause_bit_where_health_checks_went_unanswered() -> None:
    builder = usual("pause").calls("orders->payments.1", (7.9, 18.0), rate=0)
    for check in ("ready", "live"):
        builder.probe(f"payments.1/{check}", "fault", ok=False, every=1.0)
    trace = Pause(id="pause", on="payments.1").trace(builder.build())
    assert trace.bit
    assert "failed 20 of 20 times (0% in baseline)" in trace.because


def test_a_pause_did_not_bite_where_only_some_calls_were_slow() -> None:
    builder = usual("pause").calls("orders->payments.1", "fault", rate=2, took=1.0, path="/slow")
    assert not Pause(id="pause", on="payments.1").trace(builder.build()).bit


def test_a_pause_bit_where_calls_were_not_answered_and_nobody_checks_the_health() -> None:
    builder = HistoryBuilder().calls("inventory->redis", rate=20, took=0.001).fault("pause", on="redis")
    assert not Pause(id="pause", on="redis").trace(builder.build()).bit
    builder.calls("inventory->redis", (7.95, 18.0), rate=2, took=1.0, failures={"abandoned": 1.0})
    trace = Pause(id="pause", on="redis").trace(builder.build())
    assert trace.bit
    assert "0 of 20 calls to it were answered (20 given up" in trace.because


def test_a_pause_did_not_bite_where_it_went_on_answering() -> None:
    trace = Pause(id="pause", on="payments.1").trace(usual("pause").build())
    assert not trace.bit
    assert "payments.1 went on answering" in trace.because


def test_a_pause_that_nobody_could_notice_did_not_bite() -> None:
    trace = Pause(id="pause", on="redis").trace(HistoryBuilder().fault("pause", on="redis").build())
    assert not trace.bit
    assert "nothing asked redis anything" in trace.because
