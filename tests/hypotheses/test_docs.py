"""Every hypothesis' docstring is its page: fixed sections, numbers that are the code's, words for every field."""

from __future__ import annotations

import inspect
import re

import pytest

from chaoskit.described import described
from chaoskit.hypotheses import attempts, breaker_parts, no_stale_reads, rate_limit, retries
from chaoskit.model.statistics import requests_for_quantile, requests_for_share
from chaoskit.registry import kinds

SECTIONS = ("What it measures", "Formula", "Example", "Limits")


def sections(kind: str) -> dict[str, str]:
    found: dict[str, str] = {}
    title = ""
    for line in (inspect.getdoc(kinds("hypotheses")[kind]) or "").splitlines():
        if match := re.match(r"([A-Z][a-z ]+):(.*)", line):
            title = match.group(1)
            line = match.group(2)
        if title:
            found[title] = found.get(title, "") + line + "\n"
    return found


@pytest.mark.parametrize("kind", kinds("hypotheses"))
def test_it_has_the_fixed_sections_in_order(kind: str) -> None:
    found = sections(kind)
    assert tuple(found) == SECTIONS
    assert all(len(text.strip()) > 20 for text in found.values())


@pytest.mark.parametrize("kind", kinds("hypotheses"))
def test_every_field_of_its_own_is_described(kind: str) -> None:
    claim = kinds("hypotheses")[kind]
    quantiles = {name for name in claim.model_fields if re.fullmatch(r"p\d+(_\d+)?", name)}
    assert set(claim.model_fields) - set(described(claim)) <= quantiles


def test_numbers_in_the_pages_are_those_of_the_code() -> None:
    assert f"≥ {attempts._GROWS:g}" in sections("retries")["Formula"]
    assert f"≥ {attempts._SPREAD:.0%}" in sections("retries")["Formula"]
    assert f"takes {attempts._ENOUGH} retries" in sections("retries")["Limits"]
    assert f"{breaker_parts._CALLS} to tell how" in sections("breaker")["Limits"]
    assert f"than {no_stale_reads._ENOUGH} answered reads" in sections("no_stale_reads")["Limits"]
    assert f"p95 {requests_for_quantile(0.95)}, p99 {requests_for_quantile(0.99)}" in sections("latency")["Limits"]
    assert f"needs {requests_for_share(0.01)} requests" in sections("error_rate")["Limits"]
    assert f"fewer than {retries._ENOUGH} requests" in sections("retries")["Limits"]
    assert f"fewer than {rate_limit._ENOUGH} requests" in sections("rate_limit")["Limits"]
