"""Thirty runs of a healthy service against itself, with the noise that real ones have: no claim raises an alarm."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import cache

import pytest

from chaoskit.gates import clock_gate, generator_gate, parts_gate, samples_gate, steady_gate
from chaoskit.hypotheses.alert import Alert
from chaoskit.hypotheses.availability import Availability
from chaoskit.hypotheses.breaker import Breaker
from chaoskit.hypotheses.bulkhead import Bulkhead
from chaoskit.hypotheses.bystanders_hold import BystandersHold
from chaoskit.hypotheses.error_rate import ErrorRate
from chaoskit.hypotheses.fallback import Fallback
from chaoskit.hypotheses.health import Health
from chaoskit.hypotheses.latency import Latency
from chaoskit.hypotheses.metric import Metric
from chaoskit.hypotheses.prometheus import Prometheus
from chaoskit.hypotheses.recovery import Recovery
from chaoskit.hypotheses.retries import Retries
from chaoskit.hypotheses.saturation import Saturation
from chaoskit.hypotheses.throughput import Throughput
from chaoskit.hypotheses.timeout import Timeout
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE

RUNS = 30
CLAIMS: dict[str, Hypothesis] = {
    "latency": Latency(p50=0.2, p95=0.4),
    "latency of one": Latency(of="checkout", p95=0.4),
    "latency against baseline": Latency(of="checkout", p95="+100%"),
    "error rate": ErrorRate(max=0.02),
    "error rate against baseline": ErrorRate(max="+2%"),
    "availability": Availability(min=0.98),
    "throughput": Throughput(min=60.0),
    "throughput against baseline": Throughput(min="80%"),
    "recovery": Recovery(within=2.0),
    "breaker": Breaker(edge=EDGE, stays="closed"),
    "breaker that may open": Breaker(edge=EDGE, openings=0),
    "retries": Retries(edge=EDGE, most=1.5, worst_second=3.0),
    "retries of one request": Retries(edge=EDGE, attempts=3, only_safe=True, budget=0.2),
    "health": Health(service="orders", ready="stays"),
    "bystanders": BystandersHold(of="catalogue"),
    "bulkhead": Bulkhead(edge=EDGE, slots=40),
    "timeout": Timeout(edge=EDGE, within=1.0),
    "saturation": Saturation(edge=EDGE, capacity=40, max=0.9),
    "saturation of a metric": Saturation(metric="slots_used", service="orders", capacity=40, max=0.9),
    "metric": Metric(metric="slots_used", max=36),
    "prometheus": Prometheus(query="sum(up)", min=2),
    "alert": Alert(alert="Down", silent=True),
    "fallback": Fallback(mark="degraded", max=0.02),
}


class Weather:
    """What a service cannot help, the same for all that happens at one time: slow and fast spells that last about two
    seconds, a stall of a fifth of a second now and then, a rate that is never quite what was asked for."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        level, self.levels = 0.0, []
        for _ in range(250):  # an autoregressive process over slots of 100 ms
            level = 0.95 * level + self.dice.gauss(0.0, 0.15 * math.sqrt(1 - 0.95**2))
            self.levels.append(level)
        self.stalls = [self.dice.uniform(0.0, 19.0) for _ in range(3)]

    def takes(self, usual: float, at: float) -> float:
        waited = sum(max(0.0, stall + 0.2 - at) for stall in self.stalls if stall <= at < stall + 0.2)
        return usual * math.exp(self.levels[int(at * 10)]) + waited


@cache
def run(seed: int) -> History:
    """A fault that nobody notices, in the weather of one seed."""
    sky = Weather(seed)
    dice = sky.dice
    built = (
        HistoryBuilder(seed=seed)
        .phases(warmup=2, baseline=6, fault=6, recovery=5)
        .steady_state(error_rate=0.02, p95=0.5)
    )
    built.fault("latency", on=EDGE, says="latency +0 ms")
    for name, rate, usual in (("checkout", 60.0, 0.1), ("catalogue", 30.0, 0.01)):
        for second in range(19):
            span = (float(second), second + 1.0)
            failures = {"status 503": 0.03} if name == "checkout" and dice.random() < 0.1 else None
            wobbled = rate * dice.uniform(0.93, 1.07)
            built.load(
                name, span, rate=wobbled, response=lambda at, usual=usual: sky.takes(usual, at), spread=0.3,
                failures=failures, marks={"degraded": 0.005}, send_lag=dice.uniform(0.0001, 0.01),
            )  # fmt: skip
    number, at = 0, 0.0
    while (at := at + dice.expovariate(60.0)) < 18.8:
        number += 1
        trace = f"{seed:016x}{number:016x}"
        took = sky.takes(0.08, at) * math.exp(dice.gauss(0.0, 0.2))
        again = dice.random() < 0.02
        if again:
            built.call("orders->payments.1", at + 0.002, took / 2, trace_id=trace, outcome="cut", key=True)
        built.call(
            f"orders->payments.{1 + number % 2}", at + 0.002 + again * (took / 2 + 0.05), took, trace_id=trace, key=True
        )
        built.call("gateway->orders", at, took + 0.01 + again * (took / 2 + 0.05), trace_id=trace, path="/checkout")
    for check in ("orders/ready", "orders/live", "inventory/ready", "redis/ready"):
        built.probe(check)
    built.metric("slots_used", None, lambda at: 8.0 + dice.gauss(0.0, 3.0))
    built.metric("sum(up)", None, 2.0, source="prometheus")
    built.metric("alert", None, 0.0, source="prometheus", alert="Down")
    built.metric("generator_loop_lag", None, lambda _: dice.expovariate(100.0), every=0.5, source="worker.1")
    built.metric("generator_cpu", None, lambda _: dice.uniform(0.01, 0.2), every=0.5, source="worker.1")
    return built.build()


@pytest.mark.parametrize("name", CLAIMS)
def test_a_healthy_service_against_itself_raises_no_alarm(name: str) -> None:
    found = [CLAIMS[name].judge(run(seed)) for seed in range(RUNS)]
    alarms = [finding.because for finding in found if finding.verdict is Verdict.REFUTED]
    assert not alarms, alarms[0]
    unsure = [finding.because for finding in found if finding.verdict is Verdict.INCONCLUSIVE]
    assert len(unsure) <= RUNS // 10, unsure[0]  # never green by not looking either


def test_its_gates_stay_open() -> None:
    for seed in range(RUNS):
        history = run(seed)
        gates = [
            steady_gate(history.steady_state, history), generator_gate(history), samples_gate(history),
            clock_gate(history), parts_gate(history, []),
        ]  # fmt: skip
        assert all(gate.open for gate in gates), [gate.because for gate in gates if not gate.open]


def test_the_same_weather_does_not_hide_a_service_that_is_broken() -> None:
    """The broken twins: what is judged above as healthy could have been refuted."""
    sky = Counter[str]()
    for seed in range(5):
        history = run(seed)
        claims: dict[str, Hypothesis] = {
            "latency": Latency(of="checkout", p95=0.09),
            "retries": Retries(edge=EDGE, only_safe=True, attempts=1),
            "saturation": Saturation(edge=EDGE, capacity=5, max=0.5),
            "throughput": Throughput(min=120.0),
            "timeout": Timeout(edge=EDGE, within=0.02, grace=0.0),
        }
        sky.update(name for name, claim in claims.items() if claim.judge(history).verdict is Verdict.REFUTED)
    assert set(sky.values()) == {5}, sky
