"""metric, saturation, prometheus and alert: within bounds, out of them, counters that reset, series that vanish."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.alert import Alert
from chaoskit.hypotheses.metric import Metric
from chaoskit.hypotheses.prometheus import Prometheus
from chaoskit.hypotheses.saturation import Saturation
from chaoskit.interfaces import Hypothesis
from chaoskit.model.observation import Event
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
SLOTS = Metric(metric="slots_used", service="orders", max=40)


def gauge(**values: float) -> HistoryBuilder:
    """A gauge of 8, with other values in the phases that are named."""
    return HistoryBuilder().metric("slots_used", None, lambda at: values.get("fault", 8.0) if 8 <= at < 18 else 8.0)


def counter(per_second: float, *, resets_at: float | None = None) -> HistoryBuilder:
    def value(at: float) -> float:
        since = resets_at if resets_at is not None and at >= resets_at else 0.0
        return (at - since) * per_second

    return HistoryBuilder().metric("retries_total", None, value)


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (SLOTS, gauge(fault=30), SUPPORTED, "slots_used of orders was 30 in fault (10 samples), at most 40"),
        (SLOTS, gauge(fault=50), REFUTED, "above 40; it broke first at 8.0 s"),
        (Metric(metric="slots_used", min=10), gauge(fault=30), SUPPORTED, "at least 10"),
        (Metric(metric="slots_used", min=10), gauge(), REFUTED, "below 10"),
        (Metric(metric="slots_used", min=10, max=20), gauge(fault=15), SUPPORTED, "at most 20 and at least 10"),
        (Metric(metric="slots_used", min=10, max=20), gauge(fault=5), REFUTED, "below 10"),
        (Metric(metric="slots_used", max=40, take="mean"), gauge(fault=50), REFUTED, "mean of slots_used"),
        (Metric(metric="retries_total", reads="rate", max=10), counter(5), SUPPORTED, "was 5 in fault"),
        (Metric(metric="retries_total", reads="rate", max=10), counter(20), REFUTED, "was 20 in fault"),
        (Metric(metric="retries_total", reads="rate", max=10), counter(5, resets_at=12.5), SUPPORTED, "was 5 in fault"),
        (Metric(metric="retries_total", reads="increase", max=10), counter(5), SUPPORTED, "increase of retries_total"),
        (SLOTS, HistoryBuilder().metric("slots_used", "fault", math.nan), INCONCLUSIVE, "had no sample in fault"),
        (SLOTS, HistoryBuilder(), INCONCLUSIVE, "had no sample in fault"),
        (SLOTS, HistoryBuilder().metric("slots_used", (0.0, 10.0), 8.0), INCONCLUSIVE, "was gone for 9 s of 10 s"),
        (SLOTS, HistoryBuilder().phases(fault=0).metric("slots_used", None, 8.0), INCONCLUSIVE, "never reached fault"),
    ],
    ids=[
        "below", "above", "at least", "too little", "between", "not between", "mean", "rate", "fast", "reset",
        "increase", "no number", "never there", "vanishes", "cut short",
    ],
)  # fmt: skip
def test_a_metric_is_judged(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_series_are_judged_each_or_together() -> None:
    built = HistoryBuilder()
    for replica, value in (("payments.1", 3.0), ("payments.2", 4.0)):
        built.metric("busy", None, value, source=replica, name="cards")
    history = built.build()
    assert Metric(metric="busy", max=5).judge(history).verdict is SUPPORTED
    assert Metric(metric="busy", max=5, across="sum").judge(history).measured == 7.0
    assert Metric(metric="busy", max=5, across="sum").judge(history).verdict is REFUTED
    assert Metric(metric="busy", service="payments.1", max=3.5).judge(history).verdict is SUPPORTED
    assert Metric(metric="busy", labels={"name": "other"}, max=3.5).judge(history).verdict is INCONCLUSIVE
    assert "payments.2" in Metric(metric="busy", labels={"name": "cards"}, max=3.5).judge(history).because


def test_why_there_is_no_sample_is_told() -> None:
    warning = Event(
        at=9.0, source="probe.prometheus", kind="warning", text="Prometheus at http://x did not answer: Timeout"
    )
    finding = Prometheus(query="up", min=1).judge(HistoryBuilder().observe(warning).build())
    assert (finding.verdict, finding.because) == (
        INCONCLUSIVE,
        "up had no sample in fault: Prometheus at http://x did not answer: Timeout",
    )


def test_a_query_is_asked_by_a_probe_and_judged_from_its_answers() -> None:
    claim = Prometheus(query="sum(up)", min=2)
    assert claim.probes() == [("prometheus", {"server": "prometheus", "queries": ["sum(up)"], "ask": "instant"})]
    built = HistoryBuilder().metric("sum(up)", None, 2.0, source="prometheus")
    assert claim.judge(built.build()).verdict is SUPPORTED
    lower = HistoryBuilder().metric("sum(up)", None, lambda at: 1.0 if at > 12 else 2.0, source="prometheus")
    assert claim.judge(lower.build()).because == (
        "sum(up) was 1 in fault (10 samples), below 2; it broke first at 13.0 s"
    )


def test_a_server_is_a_service_of_the_target_or_a_url() -> None:
    topology = healthy().build().topology
    assert Prometheus(query="up", min=1).check(topology, [])[0][0] == "server"
    assert not Prometheus(query="up", min=1, server="http://127.0.0.1:9090").check(topology, [])
    assert not Alert(alert="Down", silent=True, server="redis").check(topology, [])


POOL = Saturation(edge=EDGE, capacity=16, max=0.9)
FULL = Saturation(metric="slots_used", service="orders", capacity=40, max=0.8)


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (FULL, gauge(fault=30), SUPPORTED, "p95 of slots_used of orders was 30 of 40 in fault (75%, 10 samples)"),
        (FULL, gauge(fault=39), REFUTED, "above 80%; it broke first at 8.0 s"),
        (FULL, HistoryBuilder(), INCONCLUSIVE, "nothing tells how much of slots_used was used"),
        (Saturation(edge=EDGE, capacity=16, max=0.9), healthy(), SUPPORTED, "at most 90%"),
        (
            Saturation(edge=EDGE, capacity=16, max=0.9),
            healthy().calls(EDGE, "fault", rate=80, took=0.3),
            REFUTED,
            "above",
        ),
        (Saturation(edge=EDGE, capacity=16, max=0.9), HistoryBuilder(), INCONCLUSIVE, "nothing tells"),
    ],
    ids=["free", "full", "unknown", "edge free", "edge full", "edge unknown"],
)
def test_saturation_is_judged(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def alarm(*spans: tuple[float, float]) -> HistoryBuilder:
    def state(at: float) -> float:
        return 2.0 if any(start <= at < end for start, end in spans) else 0.0

    built = HistoryBuilder().fault("partition", on=EDGE)
    return built.metric("alert", None, state, source="prometheus", alert="Down")


ALERT = Alert(alert="Down", fires_within=3.0, resolves_within=3.0)
SILENT = Alert(alert="Down", silent=True)


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (
            ALERT,
            alarm((10.0, 20.0)),
            SUPPORTED,
            "fired 2 s after the fault went in, within 3 s; Down resolved 2 s",
        ),
        (Alert(alert="Down", fires_within=0.0), alarm((13.0, 20.0)), REFUTED, "Down fired 5 s after"),
        (ALERT, alarm((13.0, 20.0)), REFUTED, "Down fired 5 s after the fault went in, later than 3 s"),
        (ALERT, alarm(), REFUTED, "Down did not fire in the 10 s of the fault"),
        (ALERT, alarm((10.0, 23.0)), REFUTED, "Down resolved 5 s after the fault's end"),
        (ALERT, alarm((10.0, 24.0)), REFUTED, "Down still fired 6 s after the fault's end"),
        (ALERT, alarm((3.0, 4.0), (10.0, 20.0)), REFUTED, "false alarm: it fired in baseline at 3.0 s"),
        (ALERT, HistoryBuilder().fault("partition", on=EDGE), INCONCLUSIVE, "Prometheus hardly answered"),
        (SILENT, alarm(), SUPPORTED, "Down did not fire"),
        (SILENT, alarm((10.0, 11.0)), REFUTED, "where it should have been silent"),
        (ALERT, alarm().window("fault", (8.0, 10.0)), REFUTED, "did not fire"),
        (Alert(alert="Down", fires_within=12.0), alarm(), INCONCLUSIVE, "the fault lasted 10 s: too short for Down"),
        (
            Alert(alert="Down", resolves_within=9.0),
            alarm((10.0, 24.0)),
            INCONCLUSIVE,
            "6 s after the fault are too short to see Down resolve",
        ),
        (Alert(alert="Down", resolves_within=3.0), alarm(), INCONCLUSIVE, "never fired, so it could not resolve"),
    ],
    ids=[
        "in time", "not at once", "late", "never", "resolves late", "never resolves", "false alarm", "unknown",
        "silent", "loud", "never in a window cut short", "short fault", "short recovery", "nothing to resolve",
    ],
)  # fmt: skip
def test_alerts_are_judged(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


@pytest.mark.parametrize(
    ("kind", "written", "said"),
    [
        (Metric, {"metric": "x"}, "max or min"),
        (Metric, {"metric": "x", "max": 1, "take": "most"}, "expected max, min, mean"),
        (Saturation, {"capacity": 1, "max": "80%"}, "metric or edge"),
        (Alert, {"alert": "Down"}, "fires_within"),
        (Alert, {"alert": "Down", "silent": True, "fires_within": "1s"}, "fires_within"),
    ],
)
def test_claims_that_make_no_sense_are_refused(kind: type[Hypothesis], written: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        kind.model_validate(written)


def two(name: str, value: float, *, until: float, source: str = "payments.2") -> HistoryBuilder:
    """A series of each replica, one of which is gone from `until` on."""
    built = healthy().metric(name, None, value, source="payments.1")
    return built.metric(name, (0.0, until), value, source=source)


@pytest.mark.parametrize(
    "claim",
    [
        Metric(metric="used", max=10),
        Metric(metric="used", max=100, across="sum"),
        Metric(metric="used", min=1, across="min"),
        Saturation(metric="used", capacity=10, max=0.9),
    ],
    ids=["each", "sum", "min", "saturation"],
)
def test_a_series_that_vanished_is_not_judged_by_those_that_are_left(claim: Hypothesis) -> None:
    assert claim.judge(two("used", 5.0, until=24.0).build()).verdict is SUPPORTED
    finding = claim.judge(two("used", 5.0, until=8.0).build())
    assert (finding.verdict, "was gone for" in finding.because) == (INCONCLUSIVE, True), finding.because


def test_a_series_is_meant_to_vanish_with_the_replica_that_a_fault_takes_down() -> None:
    claim = Metric(metric="used", max=10)
    assert claim.judge(two("used", 5.0, until=8.0).fault("kill", on="payments.2").build()).verdict is SUPPORTED
    assert claim.judge(two("used", 5.0, until=8.0).fault("kill", on="payments.1").build()).verdict is INCONCLUSIVE


NO_ERRORS = Metric(metric="answers_total", labels={"status": "500"}, reads="increase", across="sum", max=0)


def page(*, errors_from: float | None) -> HistoryBuilder:
    """A page that counts answers, and its first error, if any, at an instant."""
    built = healthy().metric("scrape_samples_scraped", None, 2.0, source="orders")
    built.metric("answers_total", None, lambda at: at * 50, source="orders", status="200")
    return built if errors_from is None else built.metric("answers_total", (errors_from, 24.0), 7.0, status="500")


def test_a_counter_that_appears_in_the_fault_has_grown_from_nothing() -> None:
    finding = NO_ERRORS.judge(page(errors_from=12.0).build())
    assert finding.verdict is REFUTED
    assert "increase of answers_total of sum of 1 was 7 in fault" in finding.because
    assert NO_ERRORS.judge(page(errors_from=3.0).build()).verdict is SUPPORTED, "it grew before the fault"


def test_a_counter_that_never_counted_is_0_where_its_page_was_read() -> None:
    assert NO_ERRORS.judge(page(errors_from=None).build()).verdict is SUPPORTED
    slip = NO_ERRORS.model_copy(update={"labels": {"stauts": "500"}})
    assert slip.judge(page(errors_from=None).build()).verdict is INCONCLUSIVE, "no series has such a label"


def test_two_samples_tell_nothing() -> None:
    built = healthy().metric("used", (9.0, 11.0), 5.0).window("fault", (8.5, 11.5))
    assert "2 samples in fault: it takes 3" in Metric(metric="used", max=10).judge(built.build()).because
    assert Saturation(metric="used", capacity=10, max=0.9).judge(built.build()).verdict is INCONCLUSIVE


def test_two_servers_and_two_ways_of_asking_are_told_apart() -> None:
    first, second = "http://127.0.0.1:1", "http://127.0.0.1:2"
    built = healthy().metric("up", None, 1.0, source=f"prometheus {first}")
    built.metric("up", None, 0.0, source=f"prometheus {second}").metric("up", None, 3.0, source="prometheus (range)")
    history = built.build()
    assert Prometheus(query="up", server=first, min=1).judge(history).verdict is SUPPORTED
    assert Prometheus(query="up", server=second, max=0).judge(history).verdict is SUPPORTED
    assert Prometheus(query="up", ask="range", min=3).judge(history).verdict is SUPPORTED
    assert Prometheus(query="up", min=1).judge(history).verdict is INCONCLUSIVE


def told(*spans: tuple[float, float], fires: tuple[float, float] = (99.0, 99.0)) -> HistoryBuilder:
    """A Prometheus that answered in these spans alone."""
    built = HistoryBuilder().fault("partition", on=EDGE)
    for span in spans:
        state = lambda at: 2.0 if fires[0] <= at < fires[1] else 0.0  # noqa: E731 - one line
        built.metric("alert", span, state, source="prometheus", alert="Down")
    return built


@pytest.mark.parametrize(
    ("claim", "built", "verdict"),
    [
        (ALERT, told((0.0, 18.0), fires=(10.0, 99.0)), INCONCLUSIVE),
        (ALERT, told((0.0, 10.0), (17.5, 24.0)), INCONCLUSIVE),
        (ALERT, told((0.0, 9.0), (15.0, 24.0), fires=(10.0, 20.0)), INCONCLUSIVE),
        (ALERT, told((0.0, 13.0), (18.0, 24.0), fires=(20.0, 20.5)), REFUTED),
        (ALERT, told((0.0, 21.5), fires=(10.0, 99.0)), REFUTED),
        (SILENT, told((0.0, 16.5)), INCONCLUSIVE),
        (SILENT, told((0.0, 16.5), fires=(9.0, 11.0)), REFUTED),
    ],
    ids=[
        "down after the fault", "down when it should fire", "found firing later", "known not to have fired in time",
        "known to have fired too long", "down in recovery", "loud before it was down",
    ],
)  # fmt: skip
def test_an_alert_is_not_judged_over_what_prometheus_did_not_say(
    claim: Hypothesis, built: HistoryBuilder, verdict: Verdict
) -> None:
    finding = claim.judge(built.build())
    assert finding.verdict is verdict, finding.because
    assert verdict is REFUTED or "Prometheus said nothing of Down from" in finding.because


@pytest.mark.parametrize(
    ("now", "verdict", "said"),
    [(30.0, SUPPORTED, "75%, 10 samples), at most 80% (20% in baseline)"), (36.0, REFUTED, "above 80%")],
)
def test_saturation_is_held_against_the_baseline(now: float, verdict: Verdict, said: str) -> None:
    claim = Saturation(metric="slots_used", service="orders", capacity=40, max="+60%")
    finding = claim.judge(gauge(fault=now).build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    late = HistoryBuilder().metric("slots_used", (8.0, 24.0), 8.0).build()
    assert claim.judge(late).verdict is INCONCLUSIVE, "there is no baseline to hold it against"
