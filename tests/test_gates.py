"""Every gate opens on a healthy history and shuts on its broken twin."""

import re
from pathlib import Path

import pytest

from chaoskit.gates import (
    GENERATOR_LIMITS,
    HOST_LIMITS,
    clock_gate,
    generator_gate,
    host_gate,
    parts_gate,
    samples_gate,
    steady_gate,
    trace_gates,
)
from chaoskit.model.history import SteadyBound
from chaoskit.testing import HistoryBuilder, NoFault
from tests.requires import KEPT_FROM_A_CORE

BOUNDS = [SteadyBound(measure="error_rate", most=0.01), SteadyBound(measure="p95", of="checkout", most=0.25)]


def healthy() -> HistoryBuilder:
    return HistoryBuilder().load("checkout", rate=80).fault("noop", on="orders->payments")


def test_the_steady_state_gate_opens_on_a_steady_baseline() -> None:
    gate = steady_gate(BOUNDS, healthy().build())
    assert gate.open, gate.because


def test_the_steady_state_gate_shuts_on_errors_on_slowness_and_on_nothing() -> None:
    erring = healthy().load("checkout", "baseline", rate=80, failures={"status 500": 0.05}).build()
    slow = healthy().load("checkout", "baseline", rate=80, response=0.4).build()
    empty = HistoryBuilder().load("checkout", "fault", rate=80).build()
    assert "error_rate ≤ 1%" in steady_gate(BOUNDS, erring).because
    assert "p95 of checkout ≤ 250 ms" in steady_gate(BOUNDS, slow).because
    assert [steady_gate(BOUNDS, history).open for history in (erring, slow, empty)] == [False] * 3


def test_the_steady_state_gate_can_be_judged_before_the_baseline_is_over() -> None:
    late = healthy().load("checkout", (7.5, 8.0), rate=80, failures={"timeout": 1.0}).build()
    assert steady_gate(BOUNDS, late, until=7.5).open
    assert not steady_gate(BOUNDS, late).open


def test_the_generator_gate_shuts_on_lag_on_cpu_and_on_drops_below_the_cap() -> None:
    assert generator_gate(healthy().build()).open
    behind = healthy().load("checkout", "fault", rate=80, send_lag=0.5).build()
    busy = healthy().metric("generator_cpu", None, 0.99, source="worker.1").build()
    dropping = healthy().load("checkout", "fault", rate=80, dropped_below_cap=0.02).build()
    at_cap = healthy().load("checkout", "fault", rate=80, dropped=0.5).build()
    assert "sent late in fault" in generator_gate(behind).because
    assert "of a core" in generator_gate(busy).because
    assert "dropped" in generator_gate(dropping).because
    assert [generator_gate(history).open for history in (behind, busy, dropping)] == [False] * 3
    assert generator_gate(at_cap).open, "drops at the cap are the target's failure, not the generator's"


def lagging(lag: float, when: tuple[float, float] = (8.0, 18.0), source: str = "worker.1") -> HistoryBuilder:
    return healthy().metric("generator_loop_lag", when, lag, every=0.5, source=source)


def test_the_generator_gate_shuts_where_its_loop_stood_still() -> None:
    assert generator_gate(lagging(0.06).build()).open, "many short delays are not long ones"
    assert generator_gate(lagging(0.14, (12.0, 12.5)).build()).open, "one in ten seconds is less than a twentieth"
    shut = generator_gate(lagging(0.2).build())
    assert "the generator stood still for 4 s of 10 s of fault, for more than 100 ms at a time" in shut.because
    assert "give it more workers or ask for a lower rate" in shut.because
    assert not generator_gate(
        lagging(0.001).metric("generator_loop_lag", (9.0, 9.5), 0.9, source="worker.2").build()
    ).open
    assert generator_gate(lagging(float("nan")).build()).open


def test_one_worker_that_is_at_its_limit_is_not_hidden_by_the_others() -> None:
    built = healthy().metric("generator_cpu", None, 0.1, source="worker.1")
    assert generator_gate(built.build()).open
    assert not generator_gate(built.metric("generator_cpu", None, 0.99, source="worker.2").build()).open


def machine(
    when: tuple[float, float] | None = None, *, wait: float = 0.04, others: float = 0.1, stolen: float = 0.0,
    built: HistoryBuilder | None = None, service: str = "orders",
) -> HistoryBuilder:  # fmt: skip
    """A shop on 2 cores whose processes wait `wait` ms a turn, 1500 turns a second in a service and 900 in our own."""
    built = built or healthy()
    for kind, source, turns in (("host", "host", 900.0), ("service", service, 1500.0)):
        built.metric(f"{kind}_turns", when, turns, source=source)
        built.metric(f"{kind}_wait", when, turns * wait / 1000, source=source)
    for name, value in (("others", others), ("stolen", stolen), ("cores", 2.0)):
        built.metric(f"host_{name}", when, value, source="host")
    return built


def for_a_second(*, wait: float, others: float) -> HistoryBuilder:
    return machine((13.0, 24.0), built=machine((12.0, 13.0), wait=wait, others=others, built=machine((0.0, 12.0))))


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (machine(), "waited 40 µs in baseline, 40 µs in fault, 40 µs in recovery each time"),
        (machine(wait=0.3, others=1.3), "nothing outside of the run"),
        (machine(wait=3.0, others=0.2), "3 ms in fault (it filled the machine itself)"),
        (for_a_second(wait=4.0, others=1.8), "nothing outside of the run"),
        (machine((13.0, 24.0), built=machine((12.0, 13.0), stolen=1.5)), "nothing outside of the run"),
        (machine(wait=0.3, stolen=0.53), "nothing outside of the run"),
        (healthy(), "is not known here"),
    ],
    ids=[
        "quiet",
        "beside busy loops",
        "full by itself",
        "for a moment",
        "stolen for a moment",
        "a quarter is stolen",
        "not Linux",
    ],
)
def test_the_host_gate_stays_open(built: HistoryBuilder, said: str) -> None:
    gate = host_gate(built.build())
    assert (gate.open, said in gate.because) == (True, True), gate.because


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (
            machine(wait=2.5, others=1.4),
            "in 6 of 6 s of baseline: other work on this machine used 1.4 of 2 cores, and its processes waited 2.5 ms",
        ),
        (machine((8.0, 12.0), wait=2.5, others=1.4, built=machine((12.0, 24.0))), "in 4 of 10 s of fault"),
        (machine(wait=1.3, others=1.3), "waited 1.3 ms each time they had something to do (allowed: 600 µs"),
        (machine(stolen=0.7), "the machine beneath this one took 0.7 of 2 cores away (allowed: 30% of them); more is"),
        (
            machine((8.0, 11.0), stolen=0.8, built=machine((11.0, 13.0), wait=2.5, others=1.4)),
            (
                "in 5 of 5 s of fault: other work on this machine used 1.4 of 2 cores, and its processes waited 2.5 ms"
                " each time they had something to do in 2 of these (allowed: 600 µs), and the machine beneath this one"
                " took 0.8 of 2 cores away in 3 of these (allowed: 30% of them)"
            ),
        ),
    ],
    ids=["other work", "in the fault", "six loops in sessions of their own", "a hypervisor", "both in turns"],
)
def test_the_host_gate_shuts_where_others_kept_the_run_from_a_core(built: HistoryBuilder, said: str) -> None:
    gate = host_gate(built.build())
    assert (gate.open, said in gate.because) == (False, True), gate.because
    assert "run where nothing else does" in gate.because
    assert gate.evidence
    assert re.search(KEPT_FROM_A_CORE, gate.because), "a live test would not be run again"


@pytest.mark.parametrize("stolen", [0.7, 1.2])
def test_the_host_gate_cites_no_limit_that_was_kept(stolen: float) -> None:
    gate = host_gate(machine(wait=0.187, stolen=stolen).build())
    assert not gate.open
    assert "allowed: 600 µs" not in gate.because
    assert f"took {stolen:g} of 2 cores away (allowed: 30% of them)" in gate.because


def test_a_service_that_a_fault_starves_is_not_starved_by_others() -> None:
    """Held down to a share of a core it waits most of its time: that is the fault's doing, whatever else runs."""

    def held(on: str) -> HistoryBuilder:
        built = HistoryBuilder().load("checkout", rate=80).fault("cpu", on=on)
        built.metric("service_turns", None, 400.0, source="orders").metric("service_wait", None, 4.0, source="orders")
        return machine(others=0.9, service="payments.1", built=built)

    assert host_gate(held("orders").build()).open
    assert not host_gate(held("payments.2").build()).open


def test_a_generator_that_is_behind_says_whose_fault_that_is() -> None:
    behind = healthy().load("checkout", "fault", rate=80, send_lag=0.5)
    assert "give it more workers" in generator_gate(machine(built=behind.copy()).build()).because
    beside = generator_gate(machine(wait=5.0, others=1.5, built=behind.copy()).build()).because
    assert "other work on this machine used 1.5 of 2 cores: stop that work" in beside
    full = generator_gate(machine(wait=5.0, others=0.0, built=behind.copy()).build()).because
    assert "the run's own processes filled this machine: ask for a lower rate, or send from another" in full


def test_the_limits_are_those_that_the_docs_state() -> None:
    text = (Path(__file__).parent.parent / "docs" / "judging.md").read_text(encoding="utf-8")
    stated = [
        f"{GENERATOR_LIMITS['send_lag_p99'] * 1000:g} ms", f"{GENERATOR_LIMITS['loop_lag'] * 1000:g} ms",
        f"{GENERATOR_LIMITS['loop_stood']:.0%} of a phase", f"{GENERATOR_LIMITS['cpu']:.0%} of a core",
        f"{HOST_LIMITS['wait'] * 1000:g} ms each time", f"{HOST_LIMITS['others']:.0%} of the cores",
        f"{HOST_LIMITS['stolen']:.0%} of the cores", f"{HOST_LIMITS['starved']:.0%} of a phase",
    ]  # fmt: skip
    assert [limit for limit in stated if limit not in text] == []


def test_the_samples_gate_shuts_where_a_window_has_no_load() -> None:
    assert samples_gate(healthy().build()).open
    none_after = HistoryBuilder().load("checkout", (0.0, 18.0), rate=80).build()
    assert "no load to judge in recovery" in samples_gate(none_after).because
    assert not samples_gate(none_after).open
    assert not samples_gate(HistoryBuilder().phases(warmup=0, baseline=0, fault=0, recovery=0).build()).open


def test_the_parts_gate_shuts_on_a_dead_bystander_but_not_on_what_a_fault_killed() -> None:
    killed = healthy().fault("kill", on="payments.1").event("exited", 9.0, replica="payments.1")
    fault = NoFault.model_validate({"on": "payments.1"})
    meant = type("Meant", (NoFault,), {"acts_on": "services"}).model_validate({"on": "payments.1"})
    assert parts_gate(killed.build(), [meant]).open
    assert not parts_gate(killed.build(), [fault]).open
    bystander = healthy().event("exited", 9.0, "signal 11", replica="inventory").build()
    assert "inventory died" in parts_gate(bystander, [meant]).because
    cut = healthy().event("load_cut", 23.0, "the load worker did not answer").build()
    assert "did not answer" in parts_gate(cut, []).because
    proxy = healthy().event("died", 9.0, "its process ended", part="the proxy").build()
    assert not parts_gate(proxy, []).open


def test_the_trace_gate_shuts_where_a_fault_was_never_injected() -> None:
    never = HistoryBuilder().load("checkout", rate=80).fault("noop", on="orders->payments", injected=False).build()
    fault = NoFault(on="orders->payments", id="noop")
    assert [gate.open for gate in trace_gates(never, [fault])] == [False]


def test_the_clock_gate_shuts_beyond_one_slot() -> None:
    assert clock_gate(healthy().event("clock", 1.0, "worker.2", uncertainty="0.02").build()).open
    assert not clock_gate(healthy().event("clock", 1.0, "worker.2", uncertainty="0.2").build()).open
