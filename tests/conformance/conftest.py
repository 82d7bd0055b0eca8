"""One suite, two servers: the embedded one in strict mode and a real Toxiproxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaoskit.proxy.install import find_toxiproxy
from tests.proxy.serving import Api, embedded, real
from tests.requires import requires


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=requires("toxiproxy"))])
def running(request: pytest.FixtureRequest) -> Iterator[Api]:
    if request.param == "embedded":
        with embedded("--strict", "--proxy-metrics") as api:
            yield api
    else:
        with real(find_toxiproxy(), "-proxy-metrics") as api:
            yield api


@pytest.fixture
def server(running: Api) -> Iterator[Api]:
    """A server without proxies."""
    running.clear()
    yield running
    running.clear()
