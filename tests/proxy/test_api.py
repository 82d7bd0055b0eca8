"""The API without a control port: who may ask, what is refused, and what happens where we are at fault."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.proxy.control import Control, Request, Response, Streaming
from tests.proxy.inside import inside

P = {"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}


@pytest.mark.parametrize("strict", [False, True])
def test_a_token_is_asked_of_everybody_in_both_modes(strict: bool) -> None:
    with inside(strict=strict, token="secret") as server:
        assert server.raw("POST", "/proxies", P).status == 401
        for wrong in ("Bearer wrong", "Bearer ", "secret", "Bearer s\xe9cret"):
            assert server.raw("GET", "/proxies", Authorization=wrong).status == 401
        assert server.raw("GET", "/nowhere").status == 401, "whoever has no token learns nothing"
        assert server("GET", "/proxies", Authorization="Bearer secret") == (200, {})


def test_a_strict_server_asks_for_no_host_and_no_origin() -> None:
    with inside(strict=True) as server:
        assert server.raw("GET", "/proxies", Host="evil.example", Origin="https://evil.example").status == 200


def test_a_strict_server_answers_503_where_the_work_takes_longer_than_its_patience() -> None:
    with inside(strict=True) as server:
        server.ok("POST", "/proxies", P)
        server.ok("POST", "/proxies/p/toxics", {"type": "noop", "name": "t"})
        assert server.api.patience == 25.0
        server.api.patience = 0.01
        proxy = server.collection.get("p")
        proxy.remove_toxic = lambda toxic: proxy.toxics.remove(toxic) or 0.1  # type: ignore[method-assign,func-returns-value]  # a reset that waits
        answer = server.raw("DELETE", "/proxies/p/toxics/t")
        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert answer.body == b"<html><head><title>Timeout</title></head><body><h1>Timeout</h1></body></html>"
        assert "X-Toxiproxy-Request-Id" in answer.headers
        assert server.ok("GET", "/proxies/p/toxics") == [], "what was asked is done all the same"
        server.wait(0.12)  # nothing is left running behind it


addresses = st.one_of(
    st.builds(
        lambda host, port: f"{host}:{port}",
        st.sampled_from(["127.0.0.1", "localhost", "", "[::1]", "[::1", "a\0b", "..", "é\ud800", "127.0.0.1%lo", "::"]),
        st.one_of(
            st.text(max_size=6),
            st.text("0123456789_ +-\0٣", max_size=8),
            st.sampled_from(["0", "8\0", "2_9998", "29998 ", "99999", "\ud800", "9" * 5000, "http"]),
        ),
    ),
    st.text(max_size=12),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["POST", "PATCH", "populate"]), addresses, addresses, st.booleans())
def test_any_address_is_taken_or_refused(
    monkeypatch: pytest.MonkeyPatch, way: str, listen: str, upstream: str, strict: bool
) -> None:
    monkeypatch.setattr("chaoskit.proxy.addresses.socket.getaddrinfo", _offline)
    body = {"name": "p", "listen": listen, "upstream": upstream, "enabled": False}
    with inside(strict=strict) as server:
        if way == "PATCH":
            server.ok("POST", "/proxies", {**P, "enabled": False})
            status, answer = server("PATCH", "/proxies/p", body)
        else:
            status, answer = server(
                "POST", "/proxies" if way == "POST" else "/populate", body if way == "POST" else [body]
            )
        assert status in (200, 201) or (status in (400, 500) and answer["error"]), (status, answer)


def _offline(host: str, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
    """What a name resolves to is not asked here, only whether it could be."""
    host.encode("idna")
    if "\0" in host:
        raise ValueError("embedded null character")
    raise OSError("no such host")


def test_a_mistake_of_ours_is_an_answer_and_a_line_in_the_log() -> None:
    async def fail(request: Request) -> Response:
        raise ZeroDivisionError("oops")

    logged: list[dict[str, object]] = []

    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: logged.append(context))
        streaming = Streaming()
        server = await loop.create_server(lambda: Control(fail, streaming, set(), loop), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"GET /proxies HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()
        return answer

    head, _, body = asyncio.run(ask()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body) == {"error": "internal error, see the log of the server", "status": 500}
    assert [type(context["exception"]) for context in logged] == [ZeroDivisionError]
    assert "GET /proxies" in str(logged[0]["message"])
