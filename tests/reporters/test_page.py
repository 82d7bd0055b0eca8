"""The HTML report in a real browser: what a reader, a keyboard, a screen reader and a phone find."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from chaoskit.model.history import History
from chaoskit.model.observation import LoadSlot
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.html import report_html
from tests.browser import Browser, Page, axe_source
from tests.reporters.runs import shop_history, shop_run
from tests.reporters.test_html import NASTY
from tests.requires import requires

pytestmark = [requires("chromium"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "logs").mkdir()
    (folder / "logs" / "orders.log").write_text("2026-11-22T17:30:20.500Z payments is slow\n" * 80)
    good, bad = shop_history(), shop_history(broken=True)
    nasty = Finding(hypothesis=NASTY, kind="x", verdict=Verdict.REFUTED, because=NASTY, expected=NASTY, lane=NASTY,
                    evidence=((9.0, 10.0),))  # fmt: skip
    slots = [
        msgspec.structs.replace(s, name=s.name + NASTY) if isinstance(s, LoadSlot) else s for s in bad.observations
    ]
    renamed = History(slots, bad.topology, bad.windows, bad.faults)
    made = {
        "supported": report_html(shop_run(good), good, folder),
        "refuted": report_html(shop_run(bad, verdict=Verdict.REFUTED), bad, folder),
        "inconclusive": report_html(shop_run(good, verdict=Verdict.INCONCLUSIVE, as_expected=False), good, folder),
        "nasty": report_html(shop_run(renamed, title=NASTY, findings=[nasty], notes=[NASTY]), renamed, folder),
    }
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    found = browser.page()
    yield found
    found.close()


def view(page: Page) -> list[float]:
    """First and last second that the first chart shows."""
    box = str(page.ask("document.querySelector('svg.data').getAttribute('viewBox')")).split()
    return [round(float(box[0]), 2), round(float(box[0]) + float(box[2]), 2)]


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["supported", "refuted", "inconclusive", "nasty"])
def test_the_page_opens_quietly_asks_no_network_and_never_scrolls_sideways(browser, reports, name, dark, width):
    page = browser.page(width=width, dark=dark)
    page.open(reports[name])
    assert page.complaints() == []
    assert page.requests() == []
    assert page.ask("document.documentElement.scrollWidth") == width
    assert page.ask("document.title") != "pwned"
    page.close()


CUT = """Array.from(document.querySelectorAll('.scroll'), (one) => one.scrollWidth - one.clientWidth)
    .filter((cut) => cut)"""
CLIPPED = """Array.from(document.querySelectorAll('.tile, .tile *'))
    .filter((one) => one.scrollWidth > one.clientWidth && getComputedStyle(one).display !== 'inline')
    .map((one) => one.textContent)"""
OVERLAPS = """(() => {
  const graph = Array.from(document.querySelectorAll('.graph')).find((one) => getComputedStyle(one).display !== 'none');
  const box = (one) => one.getBoundingClientRect();
  const hit = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const notes = Array.from(graph.querySelectorAll('.note')), found = [];
  notes.forEach((note, i) => {
    for (const other of [...notes.slice(i + 1), ...graph.querySelectorAll('.box')])
      if (hit(box(note), box(other))) found.push([note.textContent, other.textContent || other.className.baseVal]);
    if (box(note).left < box(graph).left || box(note).right > box(graph).right) found.push([note.textContent, 'edge']);
  });
  return [notes.length, found];
})()"""


@pytest.mark.parametrize("width", [1280, 760, 360])
def test_no_text_is_clipped_in_a_tile_or_lies_over_another_in_the_graph(browser, reports, width):
    page = browser.page(width=width)
    page.open(reports["refuted"])
    assert "too many did not succeed" in str(page.ask("document.querySelector('.tiles').textContent"))
    assert page.ask(CLIPPED) == []
    notes, overlaps = page.ask(OVERLAPS)
    assert notes >= 3
    assert overlaps == []
    page.close()


@pytest.mark.parametrize("name", ["supported", "refuted", "inconclusive", "nasty"])
def test_no_table_is_cut_on_a_desk_and_paper_is_no_wider_than_its_page(browser, reports, name):
    page = browser.page(width=1280)
    page.open(reports[name])
    assert page.ask(CUT) == []
    page.close()
    page = browser.page(width=718)  # A4 and margins of 1 cm: a printer shrinks all of a page that is wider
    page.open(reports[name])
    page.send("Emulation.setEmulatedMedia", {"media": "print"})
    page.ask("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.ask("document.documentElement.scrollWidth") == 718
    assert page.ask(CUT) == []
    page.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_source(tmp_path_factory.mktemp("axe"))


@requires("npm")
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["supported", "refuted", "inconclusive"])
def test_axe_finds_nothing_to_complain_about(browser, reports, axe, name, dark, width):
    page = browser.page(width=width, dark=dark)
    page.open(reports[name])
    assert page.violations(axe) == []
    page.close()


@requires("npm")
def test_axe_would_complain(page, reports, axe, tmp_path):
    text = reports["supported"].read_text().replace("--soft: #515966", "--soft: #c9ced6")
    (tmp_path / "pale.html").write_text(text)
    page.open(tmp_path / "pale.html")
    assert any(said.startswith("color-contrast") for said in page.violations(axe))


def test_every_finding_is_reached_and_shown_by_keyboard_alone(page, reports):
    page.open(reports["refuted"])
    wanted = int(page.ask("document.querySelectorAll('.finding').length"))
    shown = []
    for _ in range(60):
        page.key("Tab")
        if page.ask("document.activeElement.matches('[data-evidence]')"):
            shown.append(page.ask("document.activeElement.dataset.evidence"))
            page.key("Enter")
            first, last = (float(one) for one in str(shown[-1]).split(";")[0].split())
            start, end = view(page)
            assert start <= first <= last <= end
            assert page.ask("document.querySelectorAll('.evidence').length > 0")
            page.ask(f"document.querySelectorAll('[data-evidence]')[{len(shown) - 1}].focus()")
        if len(shown) == wanted:
            break
    assert len(shown) == wanted == 3


def test_the_evidence_zooms_all_charts_together_and_escape_shows_the_whole_run(page, reports):
    page.open(reports["refuted"])
    assert view(page) == [0, 24]
    page.ask("document.querySelector('[data-evidence]').click()")
    start, end = view(page)
    assert 5 < start < 9.9
    assert 18 < end < 24
    boxes = page.ask(
        "Array.from(document.querySelectorAll('svg[data-time]'), (one) => one.getAttribute('viewBox').split(' ')[0])"
    )
    assert len(set(boxes)) == 1
    assert page.ask("document.activeElement.getAttribute('role')") == "slider"
    page.key("Escape")
    assert view(page) == [0, 24]


def test_the_cursor_reads_out_every_chart_by_keyboard(page, reports):
    page.open(reports["refuted"])
    page.ask("document.querySelector('[role=slider]').focus()")
    page.key("Home")
    for _ in range(3):
        page.key("ArrowRight", shift=True)
    assert page.ask("document.querySelector('[role=slider]').getAttribute('aria-valuenow')") == "7.2"
    said = str(page.ask("document.querySelector('[role=slider]').getAttribute('aria-valuetext')"))
    assert said.startswith("7.2 s, baseline; p50 ")
    values = page.ask("Array.from(document.querySelectorAll('.legend output'), (one) => one.textContent)")
    assert "80/s" in values
    page.key("+")
    start, end = view(page)
    assert end - start == pytest.approx(12, abs=0.1)


def first_plot(page: Page) -> list[float]:
    """Where the first chart is in the window, once the page has come to rest there: left, top, width, height."""
    page.ask("document.querySelector('.chart .plot').scrollIntoView({block: 'center', behavior: 'instant'})")
    where = "(() => { const b = document.querySelector('.chart .plot').getBoundingClientRect(); return"
    where += " [b.x, b.y, b.width, b.height]; })()"
    found, before, until = page.ask(where), None, time.monotonic() + 20.0
    while found != before:
        assert time.monotonic() < until, "the page does not come to rest"
        page.browser.listen(0.5)
        found, before = page.ask(where), found
    assert isinstance(found, list)
    return found


def test_a_finger_looks_closer_reads_and_still_scrolls(browser, reports):
    page = browser.page(width=360, height=700, touch=True)
    page.open(reports["refuted"])
    x, y, width, height = first_plot(page)
    page.finger((x + width / 3, y + height / 2))
    assert page.ask("document.querySelector('.legend output').textContent").endswith("ms")
    across = [(x + width * (0.25 + step / 40), y + height / 2) for step in range(11)]
    page.finger(*across)
    assert view(page) == [pytest.approx(6, abs=0.2), pytest.approx(12, abs=0.2)]
    page.ask("document.querySelector('[data-zoom]').click()")
    assert view(page) == [0, 24]
    before = page.ask("scrollY")
    page.finger(*[(x + width / 2, y + height * (0.9 - step / 20)) for step in range(11)])
    page.browser.listen(0.5)
    assert page.ask("scrollY") > before
    assert view(page) == [0, 24]
    page.close()


def test_a_drag_looks_closer_and_the_cursor_follows_the_mouse(page, reports):
    page.open(reports["refuted"])
    x, y, width, height = first_plot(page)
    page.mouse("mouseMoved", x + width / 4, y + height / 2)
    assert page.ask("document.querySelector('.legend output').textContent").endswith("ms")
    page.mouse("mousePressed", x + width / 4, y + height / 2)
    page.mouse("mouseMoved", x + width / 2, y + height / 2)
    page.mouse("mouseReleased", x + width / 2, y + height / 2)
    assert view(page) == [pytest.approx(6, abs=0.1), pytest.approx(12, abs=0.1)]


def test_charts_can_be_limited_to_one_request(page, reports):
    page.open(reports["refuted"])
    shown = "document.querySelector('.series.look-p95:not(.off)').getAttribute('data-of')"
    assert page.ask(shown) == ""
    page.ask(
        "{ const s = document.getElementById('request'); s.value = 'catalogue'; s.dispatchEvent(new Event('change')); }"
    )
    assert page.ask(shown) == "catalogue"
    assert page.ask("document.querySelector('.dist:not(.off)').dataset.of") == "catalogue"
    top = float(str(page.ask("document.querySelector('svg.data').getAttribute('viewBox')")).split()[3])
    assert top < 100  # milliseconds: the scale is now that of the fast request


def test_the_page_says_the_same_without_a_script(browser, reports):
    page = browser.page(script=False)
    page.open(reports["refuted"])
    tree = page.send("Accessibility.getFullAXTree")["nodes"]
    names = " ".join(str(node.get("name", {}).get("value", "")) for node in tree)
    assert "p95 of checkout was 2 s in fault" in names
    assert "Response time over the run. in baseline: p50 100 ms" in names
    assert "orders/ready said no for" in names
    shown = "Array.from(document.querySelectorAll('.dist'), (one) => one.getBoundingClientRect().height > 0)"
    page.close()
    page = browser.page()
    page.open(reports["refuted"])
    assert page.ask(shown) == [True, False, False]
    seen = "Array.from(document.querySelectorAll('.unscripted')).some((one) => one.checkVisibility())"
    assert page.ask(seen) is False
    page.ask("document.documentElement.classList.remove('js')")  # as it is where no script ran
    assert page.ask(shown) == [True, True, True]
    titles = "Array.from(document.querySelectorAll('.dist > h3'), (one) => [one.textContent, one.checkVisibility()])"
    assert page.ask(titles) == [["checkout", True], ["catalogue", True]]
    page.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_the_scales_of_distributions_can_be_read_to_their_end(browser, reports, width):
    page = browser.page(width=width)
    page.open(reports["refuted"])
    labels = page.ask("""Array.from(document.querySelector('.dist .x i').children)
        .map((one) => [one.textContent, one.checkVisibility(), one.getBoundingClientRect()])
        .map(([text, seen, box]) => [text, seen, box.left, box.right])""")
    seen = [label for label in labels if label[1]]
    assert seen[-1] == labels[-1], "the slowest requests lie beyond the last label"
    assert len(seen) >= 3
    assert all(one[3] < other[2] for one, other in pairwise(seen))
    assert page.ask("document.querySelectorAll('.dist .y')[0].children.length") >= 3
    page.close()


def test_it_prints(page, reports, tmp_path):
    page.open(reports["refuted"])
    printed = page.pdf(tmp_path / "report.pdf")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 20_000


def test_the_readers_choice_of_theme_wins(page, reports):
    page.open(reports["supported"])
    light = page.ask("getComputedStyle(document.body).backgroundColor")
    page.ask("document.getElementById('theme').click()")
    assert page.ask("getComputedStyle(document.body).backgroundColor") != light
