"""What is known to be impossible is refused before a run has begun, also where nobody has read a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.faults.disk import DiskFull
from chaoskit.reading import load
from chaoskit.runner import Asked, carry_out
from tests.experiments import write


@pytest.mark.parametrize(
    ("path", "deployer", "says"), [("/there/is/none", "process", "is no folder"), ("/", "docker", "of a container")]
)
def test_a_fault_that_this_machine_has_no_means_for(tmp_path: Path, path: str, deployer: str, says: str) -> None:
    fault = DiskFull(id="full", on="db", path=path)
    asked = Asked(deployer=deployer, store=tmp_path / "reports")
    experiment = load(write(tmp_path)).model_copy(update={"faults": (fault,), "blast_radius": ("db",)})
    with pytest.raises(CouldNotRun, match=f"fault 'full': .*{says}"):
        carry_out(experiment, asked)
    assert not (tmp_path / "reports").exists()


def test_a_toxiproxy_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_TOXIPROXY", "embeded")
    with pytest.raises(UsageError, match="no Toxiproxy 'embeded'"):
        carry_out(load(write(tmp_path)), Asked(store=tmp_path / "reports"))
    assert not (tmp_path / "reports").exists()
