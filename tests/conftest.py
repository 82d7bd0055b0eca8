"""What every test shares: parts that are required, a state folder of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from chaoskit.probes.scheduling import stolen_and_used
from tests.requires import KEPT_FROM_A_CORE, missing

# A pipeline looks at the same examples each time; on a desk they are new ones each time.
settings.register_profile("pipeline", derandomize=True)
if os.environ.get("CHAOSKIT_REQUIRE") == "all":
    settings.load_profile("pipeline")


TAKEN = 0.1
"""Share of the machine's cores that the machine beneath it takes away from a test that may then be run again."""


class TakenAway(AssertionError):
    """A live test failed while the machine beneath this one took cores away from it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A live test that fails where others kept this machine busy (the product says so of a run, or the kernel of the
    test's time) is run again: then, and only then, and it is listed as such at the end. A machine that is shared does
    that for a minute now and then."""
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=10, only_rerun=[KEPT_FROM_A_CORE, TakenAway]))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    began, before = time.monotonic(), stolen_and_used()
    try:
        return (yield)
    except Exception as error:
        after, took = stolen_and_used(), time.monotonic() - began
        if before and after and pyfuncitem.get_closest_marker("live"):
            cores, stolen = os.cpu_count() or 1, (after[0] - before[0]) / took
            if stolen > TAKEN * cores:
                raise TakenAway(f"the machine beneath took {stolen:.2g} of {cores} cores away meanwhile") from error
        raise


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
