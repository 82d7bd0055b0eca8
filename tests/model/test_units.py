"""Numbers with units have exactly one meaning, and those without are refused."""

import pytest

from chaoskit.model.units import (
    DeltaValue,
    duration_text,
    parse_delta,
    parse_duration,
    parse_rate,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200ms", 0.2), ("5s", 5.0), ("1m", 60.0), ("1m30s", 90.0), ("0.5 s", 0.5), ("250us", 250e-6), (0, 0.0)],
)
def test_durations_are_read_as_seconds(text: object, expected: float) -> None:
    assert parse_duration(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", [5, 0.2, "5", "5 sec", "-1s", "1s2", "", True, None, "s", "1m 30"])
def test_durations_without_a_clear_unit_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration with its unit"):
        parse_duration(text)


def test_rates_shares_and_sizes_are_read() -> None:
    assert parse_rate("50/s") == 50.0
    assert parse_rate("300/m") == pytest.approx(5.0)
    assert parse_share("0.5%") == pytest.approx(0.005)
    assert parse_size("64KB") == 64_000
    assert parse_size("1KiB") == 1024


@pytest.mark.parametrize("text", [50, "50", "50 per second", "fast"])
def test_rates_without_a_unit_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a rate"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["150%", 0.5, "half"])
def test_shares_above_the_whole_or_without_percent_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="expected a share"):
        parse_share(text)


def test_what_is_added_is_absolute_or_relative_but_never_doubtful() -> None:
    assert parse_delta("300ms") == DeltaValue(seconds=0.3) == parse_delta("+300ms")
    assert parse_delta("+50%") == DeltaValue(share=0.5)
    assert str(parse_delta("+50%")) == "+50%"
    with pytest.raises(ValueError, match="expected a sign"):
        parse_delta("50%")
    with pytest.raises(ValueError, match="expected what to add"):
        parse_delta("much")


def test_durations_are_written_as_people_write_them() -> None:
    texts = [duration_text(value) for value in (0.0, 0.00035, 0.0123, 1.5, 125.0, float("inf"), float("nan"))]
    assert texts == ["0 s", "350 µs", "12.3 ms", "1.5 s", "2m 5s", "∞", "–"]
