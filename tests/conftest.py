"""What every test shares: parts that are required, a state folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.requires import missing

# A pipeline looks at the same examples each time; on a desk they are new ones each time.
settings.register_profile("pipeline", derandomize=True)
if os.environ.get("CHAOSKIT_REQUIRE") == "all":
    settings.load_profile("pipeline")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        because = missing(mark.args[0])
        if because and os.environ.get("CHAOSKIT_REQUIRE") == "all":
            pytest.fail(f"a part is missing under CHAOSKIT_REQUIRE=all: {because}", pytrace=False)
        if because:
            pytest.skip(because)


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals of tests lie apart from the user's."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("CHAOSKIT_STATE", str(folder))
    return folder
