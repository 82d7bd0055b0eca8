"""The same requests to both servers, whatever they are: the answers must be the same, word for word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.proxy.install import find_toxiproxy
from tests.proxy.serving import Api, embedded, real
from tests.requires import requires

pytestmark = requires("toxiproxy")

Step = tuple[str, str, bytes]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Api, Api]]:
    with embedded("--strict", "--proxy-metrics") as ours, real(find_toxiproxy(), "-proxy-metrics") as theirs:
        yield ours, theirs


names = st.sampled_from(["a", "b", "", "a/b", "<&>", "é", "\u2028"])
numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 1.5, 1e3, 1e50, -0.0, 0.1, 1e-7, 123456789.123]),
)
odd = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(["", "x", [], {}, [1], {"a": 1}]))


def mostly(good: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(good, good, good, odd)


def some(fields: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    """Some of the fields, in any case of their names."""

    def cased(value: dict[str, object], upper: bool) -> dict[str, object]:
        return {key.upper(): item for key, item in value.items()} if upper else value

    return st.builds(cased, st.fixed_dictionaries({}, optional=fields), st.sampled_from([False, False, False, True]))


listens = st.one_of(
    st.just("127.0.0.1:0"),
    st.sampled_from(["127.0.0.1:0", "localhost:0", "bad", "127.0.0.1:70000", "1:2:3", "[::1", "a\0b:0"]),
    # Ports without a digit that another process may hold; what stands behind a space the C library would read.
    st.text("0_+-xé٣", max_size=4).map("127.0.0.1:{}".format),
)
proxy = some(
    {
        "name": mostly(names),
        "upstream": mostly(st.sampled_from(["127.0.0.1:9", "127.0.0.1:10", ""])),
        "listen": mostly(listens),
        "enabled": mostly(st.booleans()),
        "toxics": odd,
        "Logger": odd,
    }
)
attributes = some(
    {
        name: mostly(st.integers(0, 5))
        for name in ("latency", "jitter", "rate", "timeout", "delay", "average_size", "bytes", "unknown")
    }
)
toxic = some(
    {
        "name": mostly(names),
        "type": mostly(
            st.sampled_from(["latency", "bandwidth", "slow_close", "timeout", "slicer", "limit_data", "noop", "x"])
        ),
        "stream": mostly(st.sampled_from(["upstream", "downstream", "UPSTREAM", "", "up"])),
        "toxicity": mostly(numbers),
        "attributes": mostly(attributes),
    }
)
cuts = st.integers(0, 30)


def body_of(value: object, cut: int, tail: str) -> bytes:
    """JSON, now and then cut short or followed by something."""
    text = json.dumps(value, ensure_ascii=False)
    if cut < 3:
        text = text[: len(text) * cut // 3]
    return (text + tail).encode()


def bodies(values: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    tails = st.sampled_from(["", "", "", "", " ", "}", "garbage"])
    return st.builds(body_of, st.one_of(values, values, values, odd), cuts, tails)


proxy_paths = st.sampled_from(["/proxies/a", "/proxies/b", "/proxies/%61", "/proxies/a%2Fb", "/proxies/nope"])
toxic_paths = st.builds(
    lambda p, t: f"{p}/toxics/{t}", proxy_paths, st.sampled_from(["a", "b", "noop_downstream", "x"])
)
steps = st.one_of(
    st.tuples(st.just("POST"), st.just("/proxies"), bodies(proxy)),
    st.tuples(st.sampled_from(["POST", "PATCH"]), proxy_paths, bodies(proxy)),
    st.tuples(st.just("POST"), proxy_paths.map(lambda path: f"{path}/toxics"), bodies(toxic)),
    st.tuples(st.just("POST"), st.just("/proxies/a/toxics"), bodies(toxic)),
    st.tuples(st.sampled_from(["POST", "PATCH"]), toxic_paths, bodies(toxic)),
    st.tuples(st.just("POST"), st.just("/populate"), bodies(st.lists(proxy, max_size=3))),
    st.tuples(st.sampled_from(["GET", "DELETE"]), st.one_of(proxy_paths, toxic_paths), st.just(b"")),
    st.tuples(
        st.just("GET"), st.sampled_from(["/proxies", "/proxies/a/toxics", "/nope", "/proxies/", "//x"]), st.just(b"")
    ),
    st.tuples(
        st.sampled_from(["PUT", "OPTIONS", "POST"]), st.sampled_from(["/reset", "/version", "/proxies/a"]), st.just(b"")
    ),
)

_PORTS = re.compile(rb"(127\.0\.0\.1|\[::\]|\[::1\]):\d+")


def told(server: Api, step: Step) -> tuple[int, dict[str, str], bytes]:
    status, headers, data = server.raw(*step)
    kept = {name: headers[name] for name in ("content-type", "x-content-type-options", "location") if name in headers}
    kept["id"] = str("x-toxiproxy-request-id" in headers)
    return status, kept, _PORTS.sub(rb"\1:PORT", data)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=8))
def test_both_answer_the_same(both: tuple[Api, Api], story: list[Step]) -> None:
    first = ("POST", "/proxies", b'{"name":"a","upstream":"127.0.0.1:9","listen":"127.0.0.1:0"}')
    for server in both:
        for name in server.ok("GET", "/proxies"):
            server.raw("DELETE", f"/proxies/{quote(name, safe='')}")  # names with a slash stay: neither can find them
    assert list(both[0].ok("GET", "/proxies")) == list(both[1].ok("GET", "/proxies"))
    for step in (first, *story):
        ours, theirs = (told(server, step) for server in both)
        assert ours == theirs, step
