"""What every test shares: parts that are required, a state folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.requires import missing


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
