"""The client's answers, connections and second tries, against servers that keep to a script."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.load.conftest import Sender
from tests.load.servers import Peer, Server, polite

Make = Callable[..., Sender]


def test_connections_are_used_again(sender: Make) -> None:
    with Server(polite) as server:
        user = sender(server.url)
        assert [user.send() for _ in range(5)] == [""] * 5
        assert server.connections == 1


def test_without_keep_alive_each_request_has_its_own(sender: Make) -> None:
    with Server(polite) as server:
        user = sender(server.url, keep_alive=False)
        assert [user.send() for _ in range(3)] == [""] * 3
        assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_answer_is_whole_however_it_is_cut(sender: Make, answer: bytes, size: int) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            for at in range(0, len(answer), size):
                peer.say(answer[at : at + size])
                time.sleep(0.0005)

    with Server(script) as server:
        user = sender(server.url)
        assert [user.send(), user.send()] == ["", ""]
        assert server.connections == 1


def test_a_body_without_length_ends_with_its_connection(sender: Make) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    check = {"checks": [{"body": "until the end"}]}
    with Server(script) as server:
        user = sender(server.url, requests=[{"path": "/", **check}])
        assert [user.send(), user.send()] == ["", ""]


def test_the_answer_to_head_has_no_body_whatever_it_says(sender: Make) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")

    with Server(script) as server:
        user = sender(server.url, requests=[{"method": "HEAD", "path": "/"}])
        assert [user.send(), user.send(), user.send()] == ["", "", ""]
        assert server.connections == 1


def test_a_body_larger_than_the_sockets_buffer_is_sent_whole(sender: Make) -> None:
    def slow_reader(peer: Peer) -> None:
        time.sleep(0.2)
        peer.request()
        peer.answer()

    with Server(slow_reader) as server:
        user = sender(server.url, requests=[{"method": "POST", "path": "/", "body": "x" * 8_000_000}])
        assert user.send() == ""
        assert len(server.requests[0].partition(b"\r\n\r\n")[2]) == 8_000_000


def close_after_each(idle: float) -> Callable[[Peer], None]:
    """Answers one request as if more could follow, then closes after `idle` seconds."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.answer()
        time.sleep(idle)

    return script


def test_an_idle_close_that_was_noticed_is_no_failure_and_no_second_try(sender: Make) -> None:
    import gevent

    with Server(close_after_each(0.0)) as server:
        user = sender(server.url, requests=[{"method": "POST", "path": "/"}])
        assert user.send() == ""
        gevent.sleep(0.1)
        assert user.send() == ""
        assert (server.connections, user.view.reconnects) == (2, 0)


class HangUp:
    """Answers the first request of each of the first connections, and hangs up on the second one, unanswered."""

    def __init__(self, *, reset: bool = False, half: bool = False) -> None:
        self.reset, self.half = reset, half

    def __call__(self, peer: Peer) -> None:
        peer.request()
        peer.answer()
        if not peer.request():
            return
        if self.half:
            peer.say(b"HTTP/1.1 200 OK\r\n")
        if self.reset:
            peer.reset()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("request_", "again"),
    [
        ({"method": "GET"}, True),
        ({"method": "PUT", "body": "x"}, True),
        ({"method": "DELETE"}, True),
        ({"method": "POST", "body": "x"}, False),
        ({"method": "PATCH", "body": "x"}, False),
        ({"method": "POST", "body": "x", "idempotent": True}, True),
        ({"method": "POST", "body": "x", "headers": {"Idempotency-Key": "1"}}, True),
        ({"method": "GET", "idempotent": False}, False),
    ],
)
def test_an_idempotent_request_on_a_reused_connection_goes_out_once_more(
    sender: Make, request_: dict[str, object], again: bool, reset: bool
) -> None:
    with Server(HangUp(reset=reset)) as server:
        user = sender(server.url, requests=[{"path": "/", **request_}])
        assert user.send() == ""
        cause = user.send()
        assert user.view.reconnects == (1 if again else 0)
        assert len(server.requests) == (3 if again else 2)
        assert cause == ("" if again else "reset" if reset else "closed unanswered")


def test_it_does_not_go_out_again_once_a_byte_of_the_answer_came(sender: Make) -> None:
    with Server(HangUp(half=True)) as server:
        user = sender(server.url)
        user.send()
        assert user.send() == "closed early"
        assert (len(server.requests), user.view.reconnects) == (2, 0)


def test_it_does_not_go_out_again_where_the_connection_was_fresh(sender: Make) -> None:
    def script(peer: Peer) -> None:
        peer.request()

    with Server(script) as server:
        user = sender(server.url)
        assert user.send() == "closed unanswered"
        assert (len(server.requests), user.view.reconnects) == (1, 0)


def test_it_goes_out_again_once_only(sender: Make) -> None:
    gate = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        if not gate.is_set():
            peer.answer()
            peer.request()

    with Server(script) as server:
        user = sender(server.url)
        user.send()
        gate.set()
        assert user.send() == "closed unanswered"
        assert (len(server.requests), user.view.reconnects) == (3, 1)


def test_every_request_has_a_trace_id_of_its_own_that_repeats_with_the_seed(sender: Make) -> None:
    def traces() -> list[bytes]:
        with Server(polite) as server:
            user = sender(server.url)
            for number in range(20):
                user.send(number=number)
            lines = [
                line for data in server.requests for line in data.split(b"\r\n") if line.startswith(b"traceparent")
            ]
            return [line.split(b": ")[1] for line in lines]

    first, second = traces(), traces()
    assert first == second
    assert len({trace.split(b"-")[1] for trace in first}) == 20
    assert all(trace.startswith(b"00-") and len(trace) == 55 and trace.endswith(b"-01") for trace in first)


def test_what_was_counted_adds_up(sender: Make) -> None:
    with Server(polite) as server:
        user = sender(server.url)
        for _ in range(50):
            user.send()
        view = user.view
        assert view.requests == view.ok == 50
        assert view.statuses == {"200": 50}
        assert sum(slot.bytes_out for slot in user.slots) == sum(len(data) for data in server.requests)
        assert sum(slot.bytes_in for slot in user.slots) == 50 * len(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert view.percentile(0.5) > 0
