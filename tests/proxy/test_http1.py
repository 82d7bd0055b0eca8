"""Where messages begin and end: against the parser that uvicorn and Node use, cut at every place."""

from __future__ import annotations

import itertools

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.proxy.http1 import BODY, HEAD, MORE, OPAQUE, Requests, Responses


class Reference:
    """What llhttp (through httptools) makes of a stream."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, bytes]] = []
        self._line = ""
        self._url = b""
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)


class ReferenceRequests(Reference):
    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        self.messages.append((self.parser.get_method().decode(), self._url, b"".join(self._body)))
        self._url, self._body = b"", []


class ReferenceResponses(Reference):
    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        self.messages.append((str(self.parser.get_status_code()), b"", b"".join(self._body)))
        self._body = []


def read(parser: Requests | Responses, data: bytes, cuts: list[int]) -> list[tuple[str, bytes, bytes]]:
    """Messages that our framing finds in `data`, fed in pieces."""
    messages: list[tuple[str, bytes, bytes]] = []
    body: list[bytes] = []
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        piece, at = data[begin:end], 0
        while at < len(piece):
            event, to = parser.step(piece, at)
            assert to > at
            if event == BODY:
                body.append(piece[at:to])
            at = to
            if parser.over and event != OPAQUE:
                assert parser.head is not None
                if isinstance(parser, Requests):
                    messages.append((parser.head.method.decode(), parser.head.path, b"".join(body)))
                else:
                    messages.append((str(parser.head.status), b"", b"".join(body)))
                body = []
    return messages


chunk = st.binary(max_size=40)
name = st.sampled_from([b"X-A", b"Accept", b"content-type", b"Idempotency-Key", b"x-content-length"])
value = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.encode)
headers = st.lists(st.tuples(name, value), max_size=4).map(
    lambda pairs: b"".join(b"%s: %s\r\n" % pair for pair in pairs)
)


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\nX-Trailer: y\r\n\r\n"


@st.composite
def request(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH"]))
    path = draw(st.sampled_from([b"/", b"/a?b=c", b"http://h/x", b"/%20"]))
    head = b"%s %s HTTP/1.1\r\nHost: h\r\n%s" % (method, path, draw(headers))
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return head + b"\r\n"
    if kind == 1:
        body = draw(chunk)
        name = draw(st.sampled_from([b"Content-Length", b"content-length", b"CONTENT-LENGTH"]))
        return head + b"%s:%s%d\r\n\r\n%s" % (name, draw(st.sampled_from([b"", b" ", b"  "])), len(body), body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(draw(st.lists(chunk, max_size=3)))


@st.composite
def response(draw: st.DrawFn) -> bytes:
    head = b"HTTP/1.1 %d Some Words\r\n%s" % (draw(st.sampled_from([200, 204, 304, 404, 503])), draw(headers))
    if head[9:12] in (b"204", b"304"):
        return head + b"\r\n"
    if draw(st.booleans()):
        body = draw(chunk)
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(draw(st.lists(chunk, max_size=3)))


cuts = st.lists(st.integers(0, 10_000), max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.lists(request(), min_size=1, max_size=4), cuts)
def test_requests_are_framed_as_llhttp_frames_them(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(messages)
    reference = ReferenceRequests()
    reference.parser.feed_data(data)
    assert read(Requests(), data, cuts) == reference.messages


@settings(max_examples=300, deadline=None)
@given(st.lists(response(), min_size=1, max_size=4), cuts)
def test_responses_are_framed_as_llhttp_frames_them(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(messages)
    reference = ReferenceResponses()
    reference.parser.feed_data(data)
    parser = Responses()
    parser.methods.extend([b"GET"] * len(messages))
    assert read(parser, data, cuts) == reference.messages


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), cuts)
def test_no_bytes_at_all_break_it(data: bytes, cuts: list[int]) -> None:
    read(Requests(), data, cuts)
    read(Responses(), data, cuts)


@settings(max_examples=200, deadline=None)
@given(st.one_of(request(), response(), st.binary(max_size=80)))
def test_the_short_way_says_the_same_as_the_long_one(data: bytes) -> None:
    short, long = Requests(), Requests()
    head = short.whole(data)
    if head is not None:
        assert long.step(data, 0) == (HEAD, len(data)) and long.over
        assert long.head is not None and (head.method, head.path) == (long.head.method, long.head.path)
    answers, slow = Responses(), Responses()
    answers.methods.append(b"GET")
    slow.methods.append(b"GET")
    status = answers.whole(data)
    if status:
        assert read(slow, data, []) == [(str(status), b"", data.partition(b"\r\n\r\n")[2])]
        assert not answers.methods and not slow.methods
    else:
        assert answers.methods


def one(parser: Requests | Responses, data: bytes) -> tuple[int, bool]:
    event, _ = parser.step(data, 0)
    return event, parser.over


def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    parser = Responses()
    parser.methods.append(b"HEAD")
    assert one(parser, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") == (HEAD, True)
    assert parser.between


def test_interim_answers_leave_their_request_waiting() -> None:
    parser = Responses()
    parser.methods.append(b"POST")
    one(parser, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert parser.interim and list(parser.methods) == [b"POST"]
    one(parser, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    assert not parser.interim and not parser.methods


def test_an_upgrade_makes_the_rest_opaque() -> None:
    parser = Responses()
    parser.methods.append(b"GET")
    assert one(parser, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") == (HEAD, True)
    assert parser.upgraded and parser.opaque
    assert parser.step(b"HTTP/1.1 200 OK\r\n\r\n", 0) == (OPAQUE, 19)


def test_a_tunnel_that_is_granted_is_opaque_too() -> None:
    parser = Responses()
    parser.methods.append(b"CONNECT")
    one(parser, b"HTTP/1.1 200 OK\r\n\r\n")
    assert parser.upgraded


def test_without_a_length_the_answer_ends_with_the_stream() -> None:
    parser = Responses()
    parser.methods.append(b"GET")
    assert one(parser, b"HTTP/1.1 200 OK\r\n\r\n") == (HEAD, False)
    assert parser.step(b"body", 0) == (BODY, 4) and not parser.over
    assert parser.end_of_stream()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET /\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"x" * 40,
        b"GET /" + b"a" * 140_000,
    ],
)
def test_what_is_not_http_1_is_opaque_for_good(data: bytes) -> None:
    parser = Requests()
    assert one(parser, data)[0] == OPAQUE and parser.opaque
    assert one(parser, b"GET / HTTP/1.1\r\n\r\n")[0] == OPAQUE


def test_broken_chunks_are_opaque() -> None:
    parser = Requests()
    data = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    _, at = parser.step(data, 0)
    assert parser.step(data, at)[0] == OPAQUE


def test_half_a_head_waits_for_the_rest() -> None:
    parser = Requests()
    assert parser.step(b"GET / HT", 0) == (MORE, 8)
    assert not parser.between
    assert parser.step(b"TP/1.1\r\n\r\n", 0) == (HEAD, 10)
    assert parser.between and parser.head is not None and parser.head.raw == b"GET / HTTP/1.1\r\n\r\n"
