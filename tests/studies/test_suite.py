"""The index of a store, and what its many bounds make likely."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from chaoskit.model.verdict import Finding, Verdict
from chaoskit.studies.chances import chances_of, p_value
from chaoskit.studies.suite import collect, index_html, write_index
from tests.reporters.runs import SOURCE, shop_history, shop_run
from tests.reporters.test_html import NASTY, text_of
from tests.studies.kept import keep

TAGGED = SOURCE.replace("target: shop", "tags: [bulkhead]\ntarget: shop")


def bounded(measured: float, interval: tuple[float, float], verdict: Verdict, bound: float = 1.0) -> Finding:
    return Finding(hypothesis="latency", kind="latency", verdict=verdict, because="…", expected="p95 ≤ 1 s", unit="s",
                   measured=measured, interval=interval, bound=bound)  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    good, bad = shop_history(), shop_history(broken=True)
    return shop_run(good, source=TAGGED), shop_run(bad, verdict=Verdict.REFUTED, source=TAGGED)


def at(run, day, **changes):
    return msgspec.structs.replace(
        run,
        id=f"{day:02}-{run.variant}",
        started=run.started + day * 86400,
        finished=run.finished + day * 86400,
        **changes,
    )


def test_the_latest_run_of_each_variant_counts_and_earlier_ones_are_trends(tmp_path, runs):
    for day in range(8):
        slower = [
            msgspec.structs.replace(f, measured=f.measured and f.measured * (1 + day / 10)) for f in runs[0].findings
        ]
        keep(tmp_path, at(runs[0], day, findings=slower, as_expected=day != 3))
        keep(tmp_path, at(runs[1], day))
    suite = collect(tmp_path)
    assert (suite.held, len(suite.latest)) == (2, 2)
    [group] = suite.groups
    assert [row.variant for row in group.rows] == ["protected", "unprotected"]
    assert [len(row.runs) for row in group.rows] == [8, 8]
    assert group.rows[0].series[0].says == "drifts up: +52% over 8 runs"
    assert "no drift" in group.rows[1].series[0].says
    cell = suite.cell("bulkhead", "latency")
    assert (cell.held, cell.total) == (2, 2)
    text = text_of(index_html(suite))
    assert "2 of 2 runs came out as expected" in text
    assert "bulkhead" in text


def test_what_came_out_otherwise_stands_first(tmp_path, runs):
    keep(tmp_path, runs[0], experiment="a")
    keep(tmp_path, msgspec.structs.replace(runs[1], expected=Verdict.SUPPORTED, as_expected=False), experiment="b")
    suite = collect(tmp_path)
    assert [group.name for group in suite.groups] == ["b", "a"]
    assert "1 of 2 runs" in text_of(index_html(suite))


def test_runs_that_could_not_tell_are_told_apart_from_those_that_failed(tmp_path, runs):
    unsure = msgspec.structs.replace(runs[0], verdict=Verdict.INCONCLUSIVE, as_expected=False)
    keep(tmp_path, unsure, experiment="a")
    suite = collect(tmp_path)
    assert (suite.held, suite.unsure, suite.look) == (0, 1, "inconclusive")
    assert suite.cell("bulkhead", "latency").look == "inconclusive"
    keep(tmp_path, msgspec.structs.replace(runs[1], as_expected=False), experiment="b")
    suite = collect(tmp_path)
    assert (suite.unsure, suite.look) == (1, "refuted")
    assert "0 as expected, 1 could not tell, 1 otherwise" in text_of(index_html(suite))
    assert re.findall(r'class="dot (\w+)"', index_html(suite)) == ["inconclusive", "refuted"]


def test_runs_that_cannot_be_read_are_told_and_do_not_stop_the_others(tmp_path, runs):
    keep(tmp_path, runs[0])
    for name, text in (("old", '{"format_version": 0}'), ("cut", '{"format_version": 1, "id"'), ("none", "{}")):
        (tmp_path / "shop" / name).mkdir()
        (tmp_path / "shop" / name / "run.json").write_text(text)
    suite = collect(tmp_path)
    assert len(suite.latest) == 1
    assert dict(suite.unread)["shop/old"].startswith("format version 0")
    assert len(suite.unread) == 3


def test_an_empty_store_has_an_index_too(tmp_path):
    assert "no run in this store yet" in text_of(write_index(tmp_path).read_text())


def test_markup_in_titles_and_folders_stays_text(tmp_path, runs):
    keep(tmp_path, msgspec.structs.replace(runs[0], title=NASTY, variant=NASTY), name="a%2F..&<b>")
    page = index_html(collect(tmp_path))
    assert "<script>document" not in page
    assert 'href="shop/a%252F..%26%3Cb%3E/report.html"' in page


def test_links_lead_to_the_reports(tmp_path, runs):
    folder = keep(tmp_path, runs[0])
    (folder / "report.html").write_text("here")
    assert f'href="{folder.relative_to(tmp_path).as_posix()}/report.html"' in write_index(tmp_path).read_text()


def test_a_refutation_far_beyond_its_bound_stands_among_many_and_a_close_one_does_not(runs):
    clear = bounded(1.5, (1.4, 1.6), Verdict.REFUTED)
    close = bounded(1.10, (1.01, 1.19), Verdict.REFUTED)
    fine = [bounded(0.5, (0.4, 0.6), Verdict.SUPPORTED) for _ in range(40)]
    run = msgspec.structs.replace(runs[0], findings=[clear, close, *fine])
    chances = chances_of([run])
    assert chances.bounds == 42
    assert chances.expected_alarms == pytest.approx(1.05)
    assert 0.6 < chances.any_alarm < 0.7
    assert [doubt.stands for doubt in chances.refuted] == [True, False]
    alone = chances_of([msgspec.structs.replace(run, findings=[close])])
    assert alone.refuted[0].stands


def test_what_a_twin_broke_as_it_must_is_no_alarm(runs):
    assert chances_of([runs[1]]).bounds == 0


def test_p_values_come_from_the_side_towards_the_bound():
    assert p_value(bounded(1.1, (1.0, 1.2), Verdict.REFUTED)) == pytest.approx(0.025, abs=0.001)
    assert p_value(bounded(0.9, (0.8, 1.0), Verdict.REFUTED)) == pytest.approx(0.025, abs=0.001)
    assert p_value(bounded(0.9, (0.8, 0.95), Verdict.SUPPORTED)) == 1.0
    assert p_value(bounded(float("inf"), (2.0, float("inf")), Verdict.REFUTED)) == 0.0
    assert p_value(msgspec.structs.replace(bounded(1, (1, 1), Verdict.REFUTED), bound=None)) is None


def test_many_runs_are_bounded(tmp_path, runs):
    for day in range(40):
        keep(tmp_path, at(runs[0], day))
    suite = collect(tmp_path)
    assert len(suite.groups[0].rows[0].runs) == 30
    assert suite.latest[0].run.id == "39-protected"


def test_the_index_reads_no_history(tmp_path, runs):
    folder = keep(tmp_path, runs[0])
    (folder / "history.jsonl").write_text("not even JSON")
    assert json.loads((folder / "run.json").read_text())["id"] == collect(tmp_path).latest[0].run.id
