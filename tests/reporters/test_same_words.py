"""A finding's sentence is the same wherever it is told: terminal, page, JUnit, Markdown, JSON."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from chaoskit.cli.common.outcome import tell_run
from chaoskit.cli.console import Screen
from chaoskit.model.run import Run
from chaoskit.model.verdict import Verdict
from chaoskit.registry import kinds
from tests.reporters.runs import shop_history, shop_run

TOLD_BY = {"html", "junit", "markdown", "json"}


def plain(text: str) -> str:
    """What a reader sees of a file: tags, escapes and line breaks undone."""
    without_tags = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(without_tags).replace("\\", "").split())


@pytest.mark.parametrize("kind", sorted(TOLD_BY))
@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_report_has_the_sentence_of_every_finding(kind: str, verdict: Verdict, tmp_path: Path) -> None:
    history = shop_history(broken=verdict is Verdict.REFUTED)
    run = shop_run(history, verdict=verdict)
    text = kinds("reporters")[kind]().write(run, history, tmp_path).read_text(encoding="utf-8")
    said = {"json": lambda: json.dumps(json.loads(text), ensure_ascii=False), "junit": lambda: html.unescape(text)}.get(
        kind, lambda: plain(text)
    )()
    told = [one for one in run.findings if kind != "junit" or one.verdict is not Verdict.SUPPORTED]  # what failed
    assert run.findings
    for finding in told:
        assert finding.because in said, finding.because


@pytest.mark.parametrize("verdict", list(Verdict))
def test_so_has_the_terminal(
    verdict: Verdict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    history = shop_history(broken=verdict is Verdict.REFUTED)
    run: Run = shop_run(history, verdict=verdict)
    tell_run(Screen(), run)
    said = " ".join(capsys.readouterr().out.split())
    for finding in run.findings:
        assert finding.because in said, finding.because
