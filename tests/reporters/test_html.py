"""The HTML report as text: complete, escaped, bounded, and honest about what is not there."""

from __future__ import annotations

import gc
import html
import re

import msgspec
import numpy as np
import pytest

from chaoskit.model.histogram import encode
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import BreakerChange, Event, LoadSlot, TapSlot
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.columns import LoadColumns
from chaoskit.reporters.html import HtmlReporter, report_html
from chaoskit.reporters.story import distribution_of
from chaoskit.reporters.timeline import bin_edges
from tests.reporters.runs import SHOP, WINDOWS, load_slots, shop_history, shop_run

NASTY = "<script>document.title='pwned'</script><img src=x onerror=alert(1)>\"'`{{7*7}}"


def text_of(page: str) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", body).split()))


def test_the_verdict_and_the_answer_come_first(tmp_path):
    history = shop_history(broken=True)
    path = HtmlReporter().write(shop_run(history, verdict=Verdict.REFUTED), history, tmp_path)
    text = text_of(path.read_text())
    assert path.name == "report.html"
    head = text[: text.index("Asked")]
    assert "Refuted as expected of the variant unprotected" in head
    assert "p95 of checkout was 2 s in fault" in head
    assert gc.isenabled()


def test_everything_that_the_issue_lists_is_on_the_page(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "orders.log").write_text("\x1b[31m2026-11-22T17:30:20.500Z\x1b[0m ERROR payments is slow\n")
    history = shop_history(broken=True)
    text = text_of(report_html(shop_run(history, verdict=Verdict.REFUTED), history, tmp_path))
    for said in (
        "Timeline", "Response time", "p95", "Failures by cause", "timeout", "In flight", "Send lag", "Health checks",
        "orders/ready", "latency +50 ms on orders->payments", "Calls on orders->payments",
        "Share of requests by response time", "Who calls whom", "broken by the fault", "95% interval",
        "Was the target well before anything was broken?",
        "The experiment as written", "rate: 80/s", "chaoskit run experiments/payments-50-percent-slower.yaml",
        "--seed 7", "locust", "2.47.0", "ERROR payments is slow", "from 2 s before the fault",
    ):  # fmt: skip
        assert said in text, said


def test_an_unexpected_answer_is_a_failure_on_the_users_edge_which_no_tap_can_know(tmp_path):
    """202, paid later, where 201 was expected: the load's requests failed, and the gateway answered every one."""
    requests = [("checkout", i / 80, 0.02, "status 202" if 7.98 <= i / 80 < 18 else "") for i in range(24 * 80)]
    taps = [seen for seen in shop_history().observations if isinstance(seen, TapSlot)]
    history = History([*load_slots(requests), *taps], SHOP, WINDOWS, shop_history().faults)
    page = report_html(shop_run(history), history, tmp_path)
    row = text_of(page[page.index('<th scope="row"><span class="nowrap">load-&gt;') :].partition("</tr>")[0])
    assert row.startswith("load-> gateway hurt")
    assert [word for word in row.split() if word.endswith("%")] == ["0%", "100%", "0%"]
    assert re.search(r'class="note hurt"[^>]*>100% failed<', page)
    assert re.search(r"gateway-> orders fine( [\d.]+(/s|%| m?s| µs))+ ", text_of(page))
    assert "What failed on the users' edge ( load->gateway ) the load says" in text_of(page)


def test_what_was_in_flight_at_the_injection_is_drawn_before_it_and_the_page_says_with_what_it_counts(tmp_path):
    requests = [("a", i / 80, 1.5, "timeout" if 7 <= i / 80 < 8 else "") for i in range(24 * 80)]
    history = History(load_slots(requests), SHOP, WINDOWS, shop_history().faults)
    text = text_of(report_html(shop_run(history), history, tmp_path))
    assert "all baseline 360 0%" in text  # six seconds but for the 1.5 s that were still in flight
    assert "those that were in flight when it went in stand before the band, and count with the fault" in text


@pytest.mark.parametrize("borders", [(8.3,), (8.3, 18.42), (8.3, 8.5, 8.6), (0.05, 23.99)])
@pytest.mark.parametrize("focus", [(), (8.3,)])
def test_no_bin_lies_across_an_injection_or_an_undo(borders, focus):
    edges = bin_edges((0.0, 24.0), 200, focus, borders)
    assert (edges[0], edges[-1]) == (0.0, 24.0)
    assert (np.diff(edges) > 0).all()
    for border in borders:
        slot = np.floor(border * 10 + 1e-6) / 10
        assert abs(edges - slot).min() < 1e-9, f"the bin of {border} began before its slot"
    assert len(edges) <= len(bin_edges((0.0, 24.0), 200, focus)) + len(borders)


def test_what_was_broken_reads_as_a_sentence_and_the_colours_of_breakers_have_words(tmp_path):
    opened = BreakerChange(at=9.0, source="orders", edge="orders->payments", state="open")
    before = shop_history()
    history = History([*before.observations, opened], SHOP, WINDOWS, before.faults)
    text = text_of(report_html(shop_run(history), history, tmp_path))
    assert "Broken orders->payments : latency +50 ms, from 8 s to 18.01 s" in text
    assert "Circuit breakers closed half-open open orders->payments" in text


@pytest.mark.parametrize("slowest", [0.12, 0.3, 1.6, 4.0, 30.0, 700.0])
def test_the_scale_of_a_distribution_names_its_slow_end_and_no_two_labels_meet(slowest, tmp_path):
    columns = LoadColumns([(0.0, slot) for slot in load_slots([("a", 0.0, 0.1, ""), ("a", 0.0, slowest, "")])])
    made = distribution_of("", ["fault"], columns, np.zeros(len(columns.at), dtype=np.int64))
    for some, room in ((made.x_ticks, 12), ([tick for tick in made.x_ticks if not tick.minor], 17)):
        places = [tick.place for tick in some]
        assert len(places) >= 2
        assert places[-1] == made.x_ticks[-1].place > 70
        assert min(np.diff(places)) > room


def test_nothing_is_fetched_and_nothing_foreign_may_run(tmp_path):
    history = shop_history()
    page = report_html(shop_run(history), history, tmp_path)
    assert "default-src 'none'" in html.unescape(page)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "url(" not in page.replace("url(#", "")


def test_markup_in_names_and_texts_stays_text(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "orders.log").write_text(NASTY)
    slots = [msgspec.structs.replace(slot, name=NASTY, causes=dict.fromkeys([NASTY], slot.failed)) for slot in
             load_slots([("a", 0.1 * i, 0.01, "x" if i % 9 == 0 else "") for i in range(240)])]  # fmt: skip
    seen = [*slots, Event(at=9.0, kind="died", text=NASTY, about={"replica": NASTY})]
    history = History(seen, SHOP, WINDOWS, shop_history().faults)
    finding = Finding(
        hypothesis=NASTY, kind="latency", verdict=Verdict.REFUTED, because=NASTY, expected=NASTY, lane=NASTY
    )
    run = shop_run(
        history, title=NASTY, findings=[finding], source=NASTY, notes=[NASTY], environment={NASTY: NASTY},
        variant=NASTY, undo_left=[Undo(id="x", owner="y", args={}, says=NASTY)], error=NASTY, target=NASTY,
    )  # fmt: skip
    page = report_html(run, history, tmp_path)
    assert "<script>document" not in page
    assert "<img" not in page
    assert "49" not in re.findall(r"<h1>.*?</h1>", page)[0]
    assert page.count("<script>") == 1


def test_a_gap_in_the_load_is_a_gap_in_the_lines(tmp_path):
    requests = [("a", i / 80, 0.02, "") for i in range(24 * 80) if not 10 <= i / 80 < 14]
    history = History(load_slots(requests), SHOP, WINDOWS)
    page = report_html(shop_run(history, faults=[]), history, tmp_path)
    p95 = re.search(r'class="series look-p95 line"[^>]* d="([^"]*)"', page).group(1)
    assert p95.count("M") == 2
    points = [float(x) for x in re.findall(r"[ML]([\d.]+) ", p95)]
    assert not [x for x in points if 10 < x < 14]


def test_where_too_many_failed_there_is_no_response_time_to_draw(tmp_path):
    requests = [("a", i / 80, 0.02, "timeout" if 10 <= i / 80 < 14 else "") for i in range(24 * 80)]
    history = History(load_slots(requests), SHOP, WINDOWS)
    page = report_html(shop_run(history, faults=[]), history, tmp_path)
    over = re.search(r'class="series look-p50 line"[^>]*data-over="M([\d.]+) 0H([\d.]+)"', page)
    assert (float(over.group(1)), float(over.group(2))) == (10.0, 14.0)


@pytest.mark.parametrize(
    ("windows", "requests"),
    [
        ({}, []),
        ({Phase.WARMUP: [(0.0, 1.3)]}, [("a", 0.2, None, "")]),
        ({Phase.BASELINE: [(2.0, 2.1)]}, []),
        ({Phase.BASELINE: [(2.0, 8.0)], Phase.FAULT: [(8.0, 8.4)]}, [("a", 3.0, 0.01, "")]),
        ({Phase.LOAD: [(0.0, 5.0)]}, [("a", 0.1 * i, 0.01, "refused") for i in range(50)]),
        (
            {Phase.BASELINE: [(0.0, 2.0), (5.0, 7.0)], Phase.FAULT: [(2.0, 5.0)]},
            [("a", i * 0.1, 0.01, "") for i in range(70)],
        ),
    ],
    ids=["never began", "cut in warmup", "no load", "one sample", "no success", "windows in several pieces"],
)
def test_runs_cut_short_and_empty_windows_are_told(windows, requests, tmp_path):
    history = History(load_slots(requests), SHOP, windows)
    run = shop_run(
        history, windows={phase.value: spans for phase, spans in windows.items()}, verdict=Verdict.INCONCLUSIVE
    )
    page = report_html(run, history, tmp_path)
    assert "Inconclusive" in page
    assert "nan" not in text_of(page).lower().replace("finance", "")


def test_five_thousand_names_make_a_page_of_bounded_size(tmp_path):
    rng = np.random.default_rng(1)
    names = [f"/very/long/endpoint/{n}?q={'x' * 40}" for n in range(5000)]
    requests = [(names[n % 5000], float(at), 0.05, "") for n, at in enumerate(np.sort(rng.uniform(0, 24, 15000)))]
    history = History(load_slots(requests), SHOP, WINDOWS, shop_history().faults)
    page = report_html(shop_run(history), history, tmp_path)
    assert len(page) < 1_000_000
    assert "4,950 more names" in text_of(page)


def test_an_hour_at_a_thousand_a_second_stays_below_two_megabytes(tmp_path):
    lag, fast, slow = encode({560: 200}), encode({1150: 150, 1160: 50}), encode({1200: 200})
    slots = []
    for s in range(0, 36000, 2):
        for name in ("checkout", "catalogue", "cart", "login", "search"):
            bad = s % 7 == 0 and 12000 <= s < 24000
            slots.append(
                LoadSlot(at=s / 10, ended=s / 10 + 0.1, name=name, ok=200 - bad, failed=int(bad), send_lag=lag,
                         response=slow if bad else fast, causes={"timeout": 1} if bad else {})
            )  # fmt: skip
    windows = {Phase.BASELINE: [(0.0, 1200.0)], Phase.FAULT: [(1200.0, 2400.0)], Phase.RECOVERY: [(2400.0, 3600.0)]}
    history = History(slots, SHOP, windows)
    run = shop_run(history, windows={phase.value: spans for phase, spans in windows.items()}, faults=[])
    page = report_html(run, history, tmp_path)
    assert len(page.encode()) < 2_000_000
    assert "1:00:00" in page


def test_the_page_of_a_run_read_back_from_disk_is_the_same(tmp_path):
    from chaoskit.store import HISTORY, load_run, save_run

    history = shop_history(broken=True)
    run = shop_run(history, verdict=Verdict.REFUTED)
    save_run(tmp_path, run)
    (tmp_path / HISTORY).write_bytes(msgspec.json.Encoder().encode_lines(history.observations))
    again, seen = load_run(tmp_path)
    assert report_html(again, seen, tmp_path) == report_html(run, history, tmp_path)


def test_a_full_disk_leaves_no_half_of_a_page(tmp_path, monkeypatch):
    history = shop_history()

    def full(*_: object, **__: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        HtmlReporter().write(shop_run(history), history, tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
