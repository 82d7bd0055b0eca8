from __future__ import annotations

import math

import pytest

from chaoskit.faults.evidence import Seen, by_chance, quantile, share_text, size_text
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
