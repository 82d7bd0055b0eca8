"""Every gate opens on a healthy history and shuts on its broken twin."""

from chaoskit.gates import clock_gate, generator_gate, parts_gate, samples_gate, steady_gate, trace_gates
from chaoskit.model.history import SteadyBound
from chaoskit.testing import HistoryBuilder, NoFault

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
    busy = healthy().metric("generator_cpu", value=0.99, source="worker.1").build()
    dropping = healthy().load("checkout", "fault", rate=80, dropped_below_cap=0.02).build()
    at_cap = healthy().load("checkout", "fault", rate=80, dropped=0.5).build()
    assert "sent late in fault" in generator_gate(behind).because
    assert "of a core" in generator_gate(busy).because
    assert "dropped" in generator_gate(dropping).because
    assert [generator_gate(history).open for history in (behind, busy, dropping)] == [False] * 3
    assert generator_gate(at_cap).open, "drops at the cap are the target's failure, not the generator's"


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
