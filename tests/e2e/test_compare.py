"""chaoskit compare on real runs, and a store browsed by its own command."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Command, document

pytestmark = pytest.mark.live


def test_two_variants_are_run_in_turns_and_one_run_a_side_cannot_tell(
    chaoskit: Callable[..., Command], tmp_path: Path
) -> None:
    sides = [f"{TINY}:patient", f"{TINY}:hasty"]
    gate = "error_rate of page +5%"
    code, out, err = chaoskit("compare", "--repeat", "1", *sides, "--fail-if", gate, "--json").finish(110.0)
    assert code == 3, out + err
    found = document(out)
    assert found["verdict"] == "inconclusive"
    assert "1 run a side cannot tell" in found["gates"][0]["because"]
    [errors] = [one for one in found["differences"] if (one["phase"], one["measure"]) == ("fault", "error_rate")]
    assert errors["b"] > 0.5 > errors["a"]
    page = (tmp_path / "reports" / "compare.html").read_text()
    assert "Both in one picture" in page

    results = sorted((tmp_path / "reports").glob("*/2*/result.json"))
    assert [json.loads(one.read_text())["runs"][0]["variant"] for one in results] == ["patient", "hasty"]

    # The same runs by name, without a gate: differences are shown, and nothing is claimed.
    name = TINY.stem
    code, out, err = chaoskit("compare", f"{name}:patient", f"{name}:hasty").finish(60.0)
    assert code == 0, out + err
    assert "One run a side" in out

    browse = chaoskit("report", "--serve")
    line = browse.process.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+/", line).group()
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert "runs came out as expected" in answer.read().decode()
    browse.process.send_signal(signal.SIGINT)
    assert browse.finish(20.0)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["one"], "two sides"),
        (["one", "two"], "no run 'one'"),
        (["one", "two", "--baseline", "latest"], "two sides"),
        (["one", "two", "--fail-if", "p95 10%"], "is no gate"),
        (["one", "--baseline", "latest", "--repeat", "5"], "two sides in turns"),
        ([str(TINY), str(TINY), "--repeat", "1"], "has variants: patient, hasty"),
    ],
)
def test_what_makes_no_sense_is_refused(chaoskit: Callable[..., Command], arguments: list[str], said: str) -> None:
    code, out, err = chaoskit("compare", *arguments).finish(30.0)
    assert code == 2, out + err
    assert said in err
