"""compare: a gate that is about nothing is refused before anything runs, with what may have been meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import chaoskit.runner
from tests.cli.conftest import Said
from tests.experiments import write
from tests.studies.kept import sides

REFUSED = [
    ("p95 of chekout +10%", "did you mean 'checkout'?"),
    ("p95 of checkout in faul +10%", "did you mean 'fault'?"),
    ("p95 of checkout in warmup +10%", "no request 'checkout in warmup'"),
    ("p95 +nan%", "is no gate"),
]


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def carry_out(*_: object) -> None:
        raise AssertionError("nothing may run")

    monkeypatch.setattr(chaoskit.runner, "carry_out", carry_out)


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize(("gate", "said"), [*REFUSED, ("p95 in recovery +10%", "there are: baseline, fault")])
def test_nothing_runs_for_a_gate_that_is_about_nothing(
    chaoskit: Callable[..., Said], here: Path, gate: str, said: str
) -> None:
    write(here, ("name: page", "name: checkout"), ("of: page", "of: checkout"), ("recovery: 6s", "recovery: 0s"),
          ("  - {kind: recovery, within: 3s}\n", ""))  # fmt: skip
    code, _, err = chaoskit("compare", "it.yaml:calm", "it.yaml:hasty", "--repeat", "5", "--fail-if", gate)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(("gate", "said"), REFUSED)
def test_stored_sides_have_the_requests_that_they_have(
    chaoskit: Callable[..., Said], here: Path, gate: str, said: str
) -> None:
    sides(here / "reports", 1)
    code, _, err = chaoskit("compare", "shop:a", "shop:b", "--fail-if", gate)
    assert code == 2
    assert said in err
    assert not (here / "reports" / "compare.html").exists()
