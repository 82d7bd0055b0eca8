"""Users: templates, data, captured values, cookies, redirects, checks and marks."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.load.hosts import Origin
from chaoskit.load.session import Cookies
from chaoskit.load.wire import Batch, pack
from tests.load.conftest import Sender
from tests.load.servers import Peer, Server, polite

Make = Callable[..., Sender]


def shop(peer: Peer) -> None:
    """Gives a token at /login, and wants it everywhere else."""
    while data := peer.request():
        line = data.split(b"\r\n", 1)[0]
        if b"/login" in line:
            peer.answer(json.dumps({"auth": {"token": f"t{peer.number}\r\nX-Evil: 1"}}).encode())
        elif b"Authorization: Bearer t" in data:
            peer.answer(b'{"ok": true, "items": [{"id": 7}, {"id": 9}]}')
        else:
            peer.answer(status="401 Unauthorized")


LOGIN = {"name": "login", "method": "POST", "path": "/login", "json": {}, "capture": {"token": "$.auth.token"}}
CALL = {"name": "call", "path": "/items", "headers": {"Authorization": "Bearer ${token}"}}


def lines(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_a_user_logs_in_once_and_uses_the_token(sender: Make) -> None:
    with Server(shop) as server:
        user = sender(server.url, requests=[{**LOGIN, "once": True}, CALL])
        assert [user.send(), user.send(), user.send()] == ["", "", ""]
        assert [lines(data)[0].split()[1] for data in server.requests] == [b"/login", b"/items", b"/items", b"/items"]
        assert {slot.name: 0 for slot in user.slots}.keys() == {"login", "call"}
        assert not any(line.startswith(b"X-Evil") for data in server.requests for line in lines(data))


def test_steps_follow_each_other(sender: Make) -> None:
    with Server(shop) as server:
        user = sender(server.url, requests=[{**LOGIN, "then": [CALL]}])
        user.send(number=0)
        user.send(number=1)
        assert user.view.ok == 4
        traces = {line for data in server.requests for line in lines(data) if line.startswith(b"traceparent")}
        assert len(traces) == 4


def test_a_step_whose_forerunner_failed_is_a_failure_of_its_own(sender: Make) -> None:
    def closed(peer: Peer) -> None:
        peer.request()
        peer.answer(status="500 No")

    with Server(closed) as server:
        user = sender(server.url, requests=[{**LOGIN, "then": [CALL]}])
        user.send()
        assert dict(user.view.causes) == {"status 500": 1, "not sent: login failed": 1}


def test_a_value_that_is_not_in_the_answer_fails_what_needs_it(sender: Make) -> None:
    with Server(polite) as server:
        user = sender(server.url, requests=[{**LOGIN, "then": [CALL]}])
        user.send()
        assert dict(user.view.causes) == {"not sent: login failed": 1}


def test_a_group_that_took_no_part_is_no_value(sender: Make) -> None:
    with Server(polite) as server:
        user = sender(server.url, requests=[{"path": "/", "capture": {"it": {"pattern": "ok(!)?"}}}])
        assert user.send() == "no value for it"


HALF = b'{"id": "a\\ud800"}'
"""Half a pair of surrogates: good JSON, and nothing that UTF-8 can say."""


@pytest.mark.parametrize(
    ("then", "sent"),
    [
        ({"path": "/x/${id}"}, b"/x/a%3F HTTP"),
        ({"path": "/x", "headers": {"X-Id": "${id}"}}, b"X-Id: a?\r\n"),
        ({"path": "/x", "method": "POST", "body": "${id}"}, b"\r\n\r\na?"),
        ({"path": "/x", "method": "POST", "json": {"id": "${id}"}}, HALF),
    ],
)
def test_what_no_encoding_has_a_place_for_is_sent_as_well_as_can_be(
    sender: Make, then: dict[str, object], sent: bytes
) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(HALF)

    with Server(script) as server:
        tells = {"as": "o", "write": "$.id", "value": "v"}
        first = {"path": "/", "method": "POST", "capture": {"id": "$.id"}, "tells": tells, "then": [then]}
        user = sender(server.url, requests=[first])
        assert user.send() == ""
        assert user.view.ok == 2
        assert sent in server.requests[1]
        (told,) = user.recorder.told()
        assert json.loads(told.about["rows"])[0][1] == "a?"
        assert pack(Batch(observations=[told]))


def test_data_is_written_where_it_is_named(sender: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "skus.csv").write_text('id,name\n1,"a & b"\n2,ü\n')
    (tmp_path / "users.jsonl").write_text('{"id": 1, "tags": ["x"]}\n{"id": 2, "tags": []}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", "s3cret")
    request = {
        "method": "POST",
        "path": "/buy/${sku.name}?n=${n}",
        "headers": {"X-Key": "${env.KEY}"},
        "json": {
            "user": "${user.id}",
            "tags": "${user.tags}",
            "text": 'say "${sku.name}"',
            "n": "${n}",
            "fixed": [1, None],
        },
    }
    data = {"sku": {"csv": "skus.csv"}, "user": {"jsonl": "users.jsonl"}, "n": {"range": [5, 6]}}
    with Server(polite) as server:
        user = sender(server.url, requests=[request], data=data)
        for number in range(3):
            user.send(number=number)
    heads = [lines(data)[0] for data in server.requests]
    assert heads == [
        b"POST /buy/a%20%26%20b?n=5 HTTP/1.1",
        b"POST /buy/%C3%BC?n=6 HTTP/1.1",
        b"POST /buy/a%20%26%20b?n=5 HTTP/1.1",
    ]
    bodies = [json.loads(data.partition(b"\r\n\r\n")[2]) for data in server.requests]
    assert bodies[0] == {"user": 1, "tags": ["x"], "text": 'say "a & b"', "n": 5, "fixed": [1, None]}
    assert bodies[1] == {"user": 2, "tags": [], "text": 'say "ü"', "n": 6, "fixed": [1, None]}
    assert b"X-Key: s3cret" in lines(server.requests[0])
    assert b"Content-Type: application/json" in lines(server.requests[0])


def test_random_data_repeats_with_the_number_of_the_request(sender: Make) -> None:
    data = {"id": "uuid", "n": {"random": [1, 1_000_000]}, "v": {"values": list("abcdefgh"), "order": "random"}}
    seen = []
    for _ in range(2):
        with Server(polite) as server:
            user = sender(server.url, requests=[{"path": "/${id}/${n}/${v}"}], data=data)
            for number in range(5):
                user.send(number=number)
            seen.append([lines(data)[0] for data in server.requests])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 5


def test_cookies_are_kept_and_forgotten() -> None:
    jar, here = Cookies(), Origin(False, "127.0.0.1", 80)
    jar.keep(here, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\nset-cookie: b=2; Path=/shop\r\n\r\n")
    assert jar.line(here, b"/") == b"a=1"
    assert jar.line(here, b"/shop/x?y") == b"a=1; b=2"
    assert jar.line(here, b"/shopping") == b"a=1"
    assert jar.line(Origin(False, "::1", 80), b"/") == b""
    jar.keep(here, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=; Max-Age=0\r\n\r\n")
    jar.keep(here, b"HTTP/1.1 200 OK\r\nSet-Cookie: b=; Path=/shop; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n")
    assert not jar


@pytest.mark.parametrize(
    "attributes", [b"Max-Age=" + b"9" * 5000, b"Expires=Thu, 01 Jan 99999 00:00:00 GMT", b"Expires=never"]
)
def test_a_cookie_whose_end_nobody_can_read_is_kept(attributes: bytes) -> None:
    jar, here = Cookies(), Origin(False, "127.0.0.1", 80)
    jar.keep(here, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; %b\r\n\r\n" % attributes)
    assert jar.line(here, b"/") == b"a=1"


def test_a_user_sends_its_cookies_back(sender: Make) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(headers=("Set-Cookie: session=abc",))

    with Server(script) as server:
        user = sender(server.url, cookies=True)
        user.send()
        user.send()
    assert b"Cookie: session=abc" not in lines(server.requests[0])
    assert b"Cookie: session=abc" in lines(server.requests[1])


@pytest.mark.parametrize(
    ("status", "method", "followed"),
    [(301, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (302, "GET", "GET")],
)
def test_redirects_are_followed_where_asked(sender: Make, status: int, method: str, followed: str) -> None:
    def script(peer: Peer) -> None:
        while data := peer.request():
            if b" /old" in data:
                peer.answer(status=f"{status} Moved", headers=("Location: new?x=1#part",))
            else:
                peer.answer()

    with Server(script) as server:
        user = sender(server.url, requests=[{"method": method, "path": "/old", "redirects": True}])
        assert user.send() == ""
        assert lines(server.requests[1])[0] == f"{followed} /new?x=1 HTTP/1.1".encode()
        assert user.view.requests == 1
        assert user.view.statuses == {"200": 1}


@pytest.mark.parametrize(
    ("place", "asked"),
    [(b"/a b?c=d e", b"/a%20b?c=d%20e"), ("/ü".encode(), b"/%C3%BC"), (b"?x=1#y", b"/?x=1"), (b"//{0}?x", b"/?x")],
)
def test_what_a_redirect_names_is_asked_for_as_it_stands(sender: Make, place: bytes, asked: bytes) -> None:
    def script(peer: Peer) -> None:
        head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
        peer.request()
        peer.say(head % place.replace(b"{0}", f"127.0.0.1:{server.port}".encode()))
        while peer.request():
            peer.answer()

    with Server(script) as server:
        user = sender(server.url, requests=[{"path": "/", "redirects": True}])
        assert user.send() == ""
        assert lines(server.requests[1])[0] == b"GET %b HTTP/1.1" % asked


def test_redirects_are_not_followed_where_not_asked(sender: Make) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.answer(status="302 Found", headers=("Location: /new",))

    with Server(script) as server:
        user = sender(server.url)
        assert user.send() == ""
        assert user.view.statuses == {"302": 1}


def test_credentials_stay_with_their_host(sender: Make) -> None:
    with Server(polite) as other:

        def script(peer: Peer) -> None:
            peer.request()
            peer.answer(status="302 Found", headers=(f"Location: {other.url}/",))

        with Server(script) as server:
            request = {"path": "/", "redirects": True, "headers": {"Authorization": "Basic x", "X-Keep": "1"}}
            assert sender(server.url, requests=[request]).send() == ""
    assert b"Authorization: Basic x" not in lines(other.requests[0])
    assert b"X-Keep: 1" in lines(other.requests[0])


CHECKS = [
    ({"json": "$.items[1].id", "equals": 9}, True),
    ({"json": "$.items[*].id", "equals": 7}, True),
    ({"json": "$.items[-1]['id']"}, True),
    ({"json": "$.ok", "equals": 1}, False),
    ({"json": "$.missing"}, False),
    ({"body": '"ok": true'}, True),
    ({"pattern": r"id.: \d+"}, True),
    ({"pattern": "nothing"}, False),
    ({"header": "x-degraded: true"}, True),
    ({"header": "X-Degraded"}, True),
    ({"header": "X-Degraded: false"}, False),
    ({"header": "X-Other"}, False),
    ({"status": [200, 201]}, True),
    ({"status": "4xx"}, False),
    ({"within": "5s"}, True),
    ({"within": "1us"}, False),
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("check", "holds"), CHECKS)
def test_checks_and_marks(sender: Make, check: dict[str, object], holds: bool, zipped: bool) -> None:
    body = b'{"ok": true, "items": [{"id": 7}, {"id": 9}]}'

    def script(peer: Peer) -> None:
        peer.request()
        extra = ("Content-Encoding: gzip",) if zipped else ()
        peer.answer(gzip.compress(body) if zipped else body, headers=("X-Degraded: true", *extra))

    with Server(script) as server:
        marks = {} if "within" in check else {"seen": check}
        user = sender(server.url, requests=[{"path": "/", "checks": [{"name": "it", **check}]}], marks=marks)
        assert user.send() == ("" if holds else "check: it")
        assert user.view.marks == ({"seen": 1} if holds and marks else {})


def test_the_expected_statuses_are_the_good_ones(sender: Make) -> None:
    def script(peer: Peer) -> None:
        while peer.request():
            peer.answer(status="404 Not Found")

    with Server(script) as server:
        assert sender(server.url, requests=[{"path": "/", "expect": [200, 404]}]).send() == ""
        assert sender(server.url, requests=[{"path": "/", "expect": "2xx"}]).send() == "status 404"
