from __future__ import annotations

import time

import pytest

from chaoskit.interfaces import Address
from chaoskit.probes.asking import ask
from tests.probes.conftest import Behaviour, Server, answer, drip, hang, say


def test_it_gives_the_status_and_the_body_where_that_is_wanted(server: Server) -> None:
    server.behave["/a"] = answer(503, "no")
    assert ask(server.address, "/a", 1.0)[:2] == (503, b"")
    assert ask(server.address, "/a", 1.0, body=True)[:2] == (503, b"no")


def test_it_reads_chunked_bodies_and_those_without_a_length(server: Server) -> None:
    server.behave["/chunked"] = say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    server.behave["/open"] = say(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert ask(server.address, "/chunked", 1.0, body=True).body == b"ab"
    assert ask(server.address, "/open", 1.0, body=True).body == b"abc"


@pytest.mark.parametrize("behaviour", [hang, drip], ids=["hangs", "answers a byte at a time"])
def test_a_peer_that_takes_its_time_is_given_up_when_the_time_is_over(server: Server, behaviour: Behaviour) -> None:
    server.behave["/slow"] = behaviour
    began = time.monotonic()
    got = ask(server.address, "/slow", 0.2)
    assert (got.status, got.because) == (None, "no answer within 0.2 s")
    assert time.monotonic() - began < 2.0


def test_nobody_there_is_an_answer_too() -> None:
    gone = Server()
    gone.close()
    assert ask(gone.address, "/", 1.0).because == "refused"
    assert ask(Address("host.invalid", 80), "/", 1.0).status is None


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b"\x00" * 70000, b"HTTP/1.1 200 OK\r\n"]
)
def test_what_is_not_http_is_an_answer_too(server: Server, data: bytes) -> None:
    server.behave["/odd"] = say(data)
    got = ask(server.address, "/odd", 1.0, body=True)
    assert got.status in (None, 200)
    assert got.status == 200 or got.because
