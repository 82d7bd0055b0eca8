"""The pages of suites and comparisons in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chaoskit.model.verdict import Verdict
from chaoskit.studies.compare import compare
from chaoskit.studies.compare_page import comparison_html
from chaoskit.studies.fail_if import FailIf
from chaoskit.studies.sides import read_side
from chaoskit.studies.suite import write_index
from tests.browser import Browser, axe_source
from tests.reporters.runs import shop_history, shop_run
from tests.reporters.test_html import NASTY
from tests.requires import requires
from tests.studies.kept import keep, sides

pytestmark = [requires("chromium"), requires("npm"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_source(tmp_path_factory.mktemp("axe"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("store")
    sides(root, 5, broken=True)
    found = compare(read_side("shop:a", root), read_side("shop:b", root), [FailIf.parse("p50 of checkout +10%")])
    (root / "compare.html").write_text(comparison_html(found))
    keep(root, shop_run(shop_history(), title=NASTY, variant=NASTY), experiment="nasty", name="one")
    bad = shop_run(shop_history(broken=True), verdict=Verdict.REFUTED, expected=Verdict.SUPPORTED, as_expected=False)
    keep(root, bad, experiment="bad", name="one")
    keep(root, msgspec.structs.replace(bad, id="two", as_expected=True), experiment="bad", name="two")
    (root / "bad" / "old").mkdir()
    (root / "bad" / "old" / "run.json").write_text('{"format_version": 0}')
    return {"index": write_index(root), "compare": root / "compare.html"}


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["index", "compare"])
def test_the_page_is_quiet_offline_narrow_enough_and_accessible(browser, pages, axe, name, dark, width):
    page = browser.page(width=width, dark=dark)
    page.open(pages[name])
    assert page.complaints() == []
    assert page.requests() == []
    assert page.ask("document.documentElement.scrollWidth") == width
    assert page.ask("document.title") != "pwned"
    assert page.violations(axe) == []
    page.close()


def test_both_sides_are_read_out_at_the_cursor(browser, pages):
    page = browser.page()
    page.open(pages["compare"])
    page.ask("document.querySelector('[role=slider]').focus()")
    page.key("End")
    for _ in range(5):
        page.key("ArrowLeft", shift=True)
    outputs = "document.querySelector('.chart').querySelectorAll('.legend output')"
    values = page.ask(f"Array.from({outputs}, (one) => one.textContent)")
    assert len(values) == 2
    assert all(value.endswith(("ms", " s")) for value in values)
    page.close()
