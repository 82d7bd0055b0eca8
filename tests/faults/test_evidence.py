from __future__ import annotations

import math

import pytest

from chaoskit.faults.evidence import Seen, by_chance, quantile, share_text, size_text
from chaoskit.faults.network import Latency
from chaoskit.model.observation import TapSlot
from chaoskit.testing import HistoryBuilder


@pytest.mark.parametrize(
    ("count", "of", "share", "is_chance"),
    [
        (0, 0, 0.05, True),
        (5, 100, 0.05, True),
        (7, 100, 0.05, True),
        (20, 100, 0.05, False),
        (3, 3, 0.05, False),
        (1, 1, 0.05, True),
        (1, 1, 0.002, False),
        (100, 100, 1.0, True),
        (1, 1000, 0.0, False),
    ],
)
def test_what_chance_would_do_too_proves_nothing(count: int, of: int, share: float, is_chance: bool) -> None:
    assert (by_chance(count, of, share) >= 0.01) is is_chance


def test_the_bound_on_chance_is_never_below_the_binomial_tail() -> None:
    for n in (5, 20, 60):
        for p in (0.02, 0.1, 0.4):
            for k in range(n + 1):
                tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
                assert by_chance(k, n, p) >= tail - 1e-12


def test_quantiles_are_by_nearest_rank() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([1.0], 0.95) == 1.0
    assert math.isnan(quantile([], 0.5))


def test_shares_and_sizes_are_told_in_few_digits() -> None:
    assert (share_text(1, 3), share_text(1, 1000), share_text(0, 9), share_text(0, 0)) == ("33%", "0.1%", "0%", "–")
    assert (size_text(64_000), size_text(1_500_000), size_text(12)) == ("64 KB", "1.5 MB", "12 B")


def test_calls_are_counted_before_during_and_after_the_fault() -> None:
    builder = HistoryBuilder().calls("orders->payments", rate=20, took=0.1).fault("latency", on="orders->payments")
    seen = Seen(builder.build(), "latency", "orders->payments")
    assert seen.edges == ["orders->payments.1", "orders->payments.2"]
    assert 115 <= seen.before.total <= 120  # 6 s at 20/s, without those that ended after the injection
    assert 200 <= seen.during.total <= 204  # 10 s, with those that were on their way
    assert seen.after.total == 120
    assert seen.took_text() == "they took 99.7 ms before, 99.8 ms during and 99.9 ms after the fault" or (
        "before" in seen.took_text() and "after the fault" in seen.took_text()
    )


def test_where_single_calls_were_left_out_the_counts_are_exact_all_the_same() -> None:
    builder = HistoryBuilder().calls("orders->payments", rate=20, took=0.1).fault("latency", on="orders->payments")
    seen = Seen(builder.counts_only().build(), "latency", "orders->payments")
    assert not seen.during.exact
    assert 190 <= seen.during.total <= 204
    assert quantile(seen.during.answered, 0.5) == pytest.approx(0.1, rel=0.1)


def test_hits_of_another_fault_are_not_its_own() -> None:
    builder = (
        HistoryBuilder()
        .calls("orders->payments", rate=20, took=0.1)
        .fault("latency", on="orders->payments")
        .hits("orders->payments.1", "chaoskit-0a1b2c3d-db-latency", 9.0, 7)
    )
    assert Seen(builder.build(), "latency", "orders->payments", "latency").during.hits == 0
    builder.hits("orders->payments.1", "chaoskit-0a1b2c3d-latency~upstream", 9.0, 3)
    assert Seen(builder.build(), "latency", "orders->payments", "latency").during.hits == 3


def test_what_the_load_saw_is_told_beside() -> None:
    builder = HistoryBuilder().load("checkout", rate=20).load("checkout", "fault", rate=20, failures={"refused": 0.5})
    builder.fault("partition", on="load->gateway")
    said = Seen(builder.build(), "partition", "load->gateway").users_text()
    assert said == "the load saw 0% of its requests fail before and 50% during"


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ("", "all 120 health checks passed"),
        ("orders/ready", "40 of 120 health checks failed (0% in baseline), those of orders"),
        ("payments/ready", "80 of 120 health checks failed (0% in baseline), those of payments.1, payments.2"),
    ],
)
def test_what_the_health_checks_saw_is_told_beside(failing: str, said: str) -> None:
    builder = HistoryBuilder().probe("orders/ready").probe("payments/ready").fault("latency", on="orders->payments")
    if failing:
        builder.probe(failing, "fault", ok=False)
    assert Seen(builder.build(), "latency", "orders->payments").checks_text() == said


def test_a_trace_joins_taps_load_and_health_checks_where_the_fault_bit_and_ends_with_the_reason_where_not() -> None:
    edge = "orders->inventory"
    builder = HistoryBuilder().calls(edge, rate=20, took=0.05).fault("it", on=edge).probe("orders/ready")
    builder.load("checkout", rate=20).load("checkout", "fault", rate=20, failures={"status 502": 0.5})
    fault = Latency(id="it", on=edge, add="100ms")
    missed = fault.trace(builder.build())
    assert not missed.bit and missed.because.endswith("they did not take as much longer as they should have")
    bit = fault.trace(builder.calls(edge, "fault", rate=20, took=0.15).build())
    assert bit.bit and bit.because.startswith("200 of ")
    assert "; the load saw 0% of its requests fail before and " in bit.because
    assert bit.because.endswith("; all 40 health checks passed")


def test_a_trace_tells_nothing_of_load_and_checks_that_there_were_none_of() -> None:
    edge = "orders->inventory"
    builder = HistoryBuilder().calls(edge, rate=20, took=0.05).calls(edge, "fault", rate=20, took=0.15)
    because = Latency(id="it", on=edge, add="100ms").trace(builder.fault("it", on=edge).build()).because
    assert "load" not in because and "health" not in because


class TestSilence:
    """Why no call crossed while a fault was in, where some did in baseline."""

    EDGE = "orders->inventory"

    def why(self, builder: HistoryBuilder) -> str:
        builder.calls(self.EDGE, rate=20, took=0.05).calls(self.EDGE, (7.9, 24.0), rate=0).fault("it", on=self.EDGE)
        silence = Seen(builder.build(), "it", self.EDGE).silence()
        assert silence is not None and not silence.bit
        return silence.because

    def slots(self, *connections: tuple[float, int]) -> HistoryBuilder:
        slots = [TapSlot(at=at, source="tap", edge=self.EDGE, connections=open_) for at, open_ in connections]
        return HistoryBuilder().observe(*slots)

    def test_a_pool_that_never_reconnected_is_named_where_connections_ended_and_none_came_again(self) -> None:
        assert "a connection pool that never reconnected" in self.why(self.slots((3.0, 4), (8.1, 0)))

    def test_it_is_not_named_where_connections_stayed_open(self) -> None:
        because = self.why(self.slots((3.0, 4), (8.1, 2), (20.0, 0)))
        assert "pool" not in because and "stopped calling, with 2 connections open" in because

    def test_a_load_that_sent_nothing_is_named_alone(self) -> None:
        because = self.why(self.slots((3.0, 4), (8.1, 0)).load("checkout", "baseline", rate=20))
        assert because.endswith("the load sent next to nothing meanwhile")

    def test_where_the_load_went_on_it_is_not_to_blame(self) -> None:
        load = self.slots((3.0, 4), (8.1, 0)).load("checkout", rate=20).load("checkout", "fault", rate=20)
        assert "a connection pool that never reconnected" in self.why(load)
