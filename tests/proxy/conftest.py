"""One embedded server in its default mode for each module."""

from __future__ import annotations

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


@pytest.fixture
def taps(server: Api) -> Taps:
    return Taps(server)
