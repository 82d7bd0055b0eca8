"""One embedded server in its default mode for each module."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.proxy.serving import Api, Taps, embedded


@pytest.fixture(scope="module")
def running() -> Iterator[Api]:
    with embedded("--seed", "7") as api:
        yield api


@pytest.fixture
def server(running: Api) -> Iterator[Api]:
    """A server without proxies."""
    running.clear()
    yield running
    running.clear()
    time.sleep(0.12)  # what the taps of this test still say is told to nobody


@pytest.fixture
def taps(server: Api) -> Iterator[Taps]:
    with Taps(server) as reading:
        yield reading
