"""Histories that several tests of judges start from: a healthy shop, and a breaker that does what it should."""

from __future__ import annotations

from functools import cache

from chaoskit.testing import HistoryBuilder

EDGE = "orders->payments"


def healthy() -> HistoryBuilder:
    """80 checkouts/s of 100 ms, one call to payments each, a fault that nobody notices."""
    return _healthy().copy()


@cache
def _healthy() -> HistoryBuilder:
    return (
        HistoryBuilder()
        .steady_state(error_rate=0.01, p95=0.25)
        .load("checkout", rate=80, response=0.1)
        .load("catalogue", rate=40, response=0.01)
        .calls("gateway->orders", rate=80, took=0.1, path="/checkout")
        .calls(EDGE, rate=80, took=0.09)
        .probe("orders/ready")
        .probe("orders/live")
        .fault("latency", on=EDGE, says="latency +50 ms")
    )


def with_breaker(
    *,
    opens_after: float = 0.5,
    trials: tuple[float, ...] = (10.9, 13.4, 15.9),
    calls_at_trial: int = 1,
    closing_trial: float | None = 18.4,
    fails_in: float = 0.01,
) -> HistoryBuilder:
    """A breaker around a fault of 8 to 18 s: open between its trials, closed again after the last one."""
    built = healthy().calls("gateway->orders", (8.0, 24.0), rate=80, took=fails_in, path="/checkout")
    built.calls(EDGE, (8.0, 24.0), rate=0)
    if opens_after:
        built.calls(EDGE, (8.0, 8.0 + opens_after), rate=80, took=0.4, spread=0, failures={"abandoned": 1.0})
    for at in trials:
        for number in range(calls_at_trial):
            built.call("orders->payments.2", at + number / 80, 0.4, outcome="abandoned")
    if closing_trial is not None:
        for number in range(calls_at_trial):
            built.call("orders->payments.1", closing_trial + number / 80, 0.2)
        built.calls("gateway->orders", (closing_trial + 0.2, 24.0), rate=80, took=0.1, path="/checkout")
        built.calls(EDGE, (closing_trial + 0.2, 24.0), rate=80, took=0.09)
    return built
