"""Every kind of trouble is a counted failure with its own cause, within the request's deadline."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.load.conftest import Sender
from tests.load.servers import Peer, Script, Server, drip, polite, silent

Make = Callable[..., Sender]


def after_request(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(data)

    return script


def reset_at_once(peer: Peer) -> None:
    peer.request()
    peer.reset()


def big(peer: Peer) -> None:
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(100):
        peer.say(b"x" * 1_000_000)


def endless_head(peer: Peer) -> None:
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.say(b"X-More: " + b"x" * 4000 + b"\r\n")


TROUBLE = {
    "closes before it answers": (after_request(b""), "closed unanswered"),
    "closes in the middle of the head": (after_request(b"HTTP/1.1 200 OK\r\nContent-"), "closed early"),
    "closes in the middle of the body": (
        after_request(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour"),
        "closed early",
    ),
    "closes in the middle of a chunk": (
        after_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nfour"),
        "closed early",
    ),
    "sends garbage": (after_request(b"\x00\x01\x02 nonsense\r\n\r\n"), "not http"),
    "sends a garbled chunk": (
        after_request(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "garbled body",
    ),
    "sends more than it promised": (
        after_request(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and then some"),
        "longer than promised",
    ),
    "answers twice": (
        after_request(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 2),
        "longer than promised",
    ),
    "never answers": (silent, "timeout"),
    "answers byte by byte": (drip, "timeout mid-answer"),
    "resets the connection": (reset_at_once, "reset"),
    "sends 100 MB": (big, "body too large"),
    "sends a head without end": (endless_head, "head too large"),
    "answers with an error": (after_request(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "status 503"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_server_that(trouble: str, sender: Make) -> None:
    script, cause = TROUBLE[trouble]
    with Server(script) as server:
        user = sender(server.url)
        began = time.monotonic()
        user.send()
        assert time.monotonic() - began < 3
        assert dict(user.view.causes) == {cause: 1}
        assert user.view.requests == user.view.failed == 1


def test_a_deadline_is_for_the_whole_request_and_is_met(sender: Make) -> None:
    with Server(drip) as server:
        user = sender(server.url, requests=[{"path": "/", "timeout": "300ms"}])
        began = time.monotonic()
        user.send()
        assert 0.3 <= time.monotonic() - began < 0.6


def test_a_refused_port_is_refused(sender: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = sender(f"http://127.0.0.1:{port}")
    assert user.send() == "refused"


def test_a_port_that_never_accepts_is_a_timeout_connecting(sender: Make) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        user = sender(f"http://127.0.0.1:{full.getsockname()[1]}", requests=[{"path": "/", "timeout": "300ms"}])
        assert user.send() == "timeout connecting"
        for filler in fillers:
            filler.close()


def test_a_name_that_does_not_resolve_is_dns(sender: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert sender("http://nowhere.invalid:80").send() == "dns"


def test_a_host_that_was_not_allowed_is_not_connected_to(sender: Make) -> None:
    assert sender("http://192.0.2.1:80").send() == "host not allowed"


def test_a_name_is_judged_by_what_it_resolves_to(sender: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
    assert sender("http://localhost:80").send() == "host not allowed"


def test_a_redirect_to_a_host_that_was_not_allowed_is_not_followed(sender: Make) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n"
    with Server(after_request(answer)) as server:
        user = sender(server.url, requests=[{"path": "/", "redirects": True}])
        assert user.send() == "host not allowed"


NOWHERE = [
    b"http://[::1",
    b"//[bad",
    b"http://\xe9..b/",
    b"http://127.0.0.1:99999/",
    b"http://" + b"a" * 70 + b".x/",
    b"mailto:x",
]


@pytest.mark.parametrize("place", NOWHERE)
def test_a_redirect_to_no_place_at_all_is_a_failure(sender: Make, place: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place
    with Server(after_request(answer)) as server:
        user = sender(server.url, requests=[{"path": "/", "redirects": True}])
        assert user.send() == "redirected nowhere"
        assert dict(user.view.causes) == {"redirected nowhere": 1}


@pytest.mark.parametrize("wanted", [{"checks": [{"body": "x"}]}, {"capture": {"it": {"pattern": "x"}}}])
def test_a_body_that_unpacks_to_more_than_the_limit_is_too_large(sender: Make, wanted: dict[str, object]) -> None:
    bomb = gzip.compress(b"x" * 20_000_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
    with Server(after_request(answer)) as server:
        user = sender(server.url, requests=[{"path": "/", **wanted}], max_body="1MB")
        tracemalloc.start()
        assert user.send() == "body too large"
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 10_000_000
    assert dict(user.view.causes) == {"body too large": 1}


def test_what_nobody_thought_of_is_counted_and_its_user_goes_on(sender: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ArithmeticError

    with Server(polite) as server:
        user = sender(server.url, requests=[{"path": "/", "checks": [{"status": 200}]}])
        for place in ("chaoskit.load.request.Prepared.render", "chaoskit.load.answer.Condition.holds"):
            with monkeypatch.context() as patch:
                patch.setattr(place, breaks)
                assert user.send() == "generator error: ArithmeticError"
        assert user.send() == ""
    assert (user.view.requests, user.view.ok) == (3, 1)
    assert dict(user.view.causes) == {"generator error: ArithmeticError": 2}


def test_a_redirect_in_circles_ends(sender: Make) -> None:
    def circles(peer: Peer) -> None:
        while peer.request():
            peer.answer(b"", status="302 Found", headers=("Location: /again",))

    with Server(circles) as server:
        user = sender(server.url, requests=[{"path": "/", "redirects": True}])
        assert user.send() == "too many redirects"
        assert len(server.requests) == 11


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_a_certificate_that_nobody_signed_is_a_failure(sender: Make, tls: ssl.SSLContext) -> None:
    with Server(polite, tls=tls) as server:
        assert sender(server.url).send().startswith("tls: self-signed certificate")


def test_a_trusted_certificate_and_an_unchecked_one_work(
    sender: Make, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    with Server(polite, tls=tls) as server:
        trusting = sender(server.url, tls_ca=str(certificate[0]))
        assert [trusting.send(), trusting.send()] == ["", ""]
        assert server.connections == 1
        assert sender(server.url, verify_tls=False).send() == ""


def test_a_server_that_speaks_no_tls_is_a_failure(sender: Make) -> None:
    with Server(after_request(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        url = server.url.replace("http:", "https:")
        assert sender(url, requests=[{"path": "/", "timeout": "1s"}]).send().startswith(("tls: ", "timeout"))


def test_what_is_open_past_the_end_of_files_is_the_generators_failure(
    sender: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import _socket

    def full(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with Server(polite) as server:
        user = sender(server.url)
        monkeypatch.setattr(_socket, "socket", full)
        user.send()
        assert (user.view.dropped, user.view.dropped_below_cap, user.view.failed) == (1, 1, 0)
