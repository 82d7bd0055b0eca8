"""Where HTTP/1.1 messages begin and end in a byte stream: framing with exact offsets, nothing more.

A tap must say when a call began and ended, and a toxic that answers one call must not touch its neighbours: both must
know at which byte each message starts. This follows RFC 9112 section 6 for framing; what is not HTTP/1 (TLS, HTTP/2, an
upgraded connection, a message that contradicts itself) turns the stream `opaque` for good.

    START ─head─► BODY ─► START                  content-length, or no body at all
                  LINE ─► DATA ─► CRLF ─► LINE … ─► TRAILER ─► START          chunked
                  UNTIL_EOF                      a response without either
"""

from __future__ import annotations

import re
from collections import deque

__all__ = ["BODY", "FRAME", "HEAD", "MORE", "OPAQUE", "Head", "Requests", "Responses"]

MORE, HEAD, BODY, FRAME, OPAQUE = range(5)
"""What `step` found: too little · a whole head · bytes of a body · framing around it · bytes we cannot read."""

_START, _BODY, _LINE, _DATA, _CRLF, _TRAILER, _UNTIL_EOF, _OPAQUE = range(8)
_MOST_HEAD = 128 * 1024
_MOST_LINE = 16 * 1024
_REQUEST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^\s]+ HTTP/1\.[01]$")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [0-9]{3}(?: |$)")
_WHOLE_REQUEST = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) [^\s]+ HTTP/1\.[01]\r\n")
_WHOLE_STATUSES = {
    b"HTTP/1.%d %d" % (minor, status): status
    for minor in (0, 1)
    for status in range(200, 600)
    if status not in (204, 304)
}
"""How answers begin that may have a body."""
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Head:
    """A message's head as it came (`raw`, with its empty line), and lower-cased to look headers up in."""

    __slots__ = ("low", "raw")

    def __init__(self, raw: bytes, low: bytes = b"") -> None:
        self.raw = raw
        self.low = low or raw.lower()

    @property
    def line(self) -> bytes:
        return self.raw[: self.raw.index(b"\r\n")]

    def header(self, name: bytes) -> bytes | None:
        """Value of the first header `name` (in lower case); its case is kept."""
        at = self.low.find(b"\r\n" + name + b":")
        if at < 0:
            return None
        at += len(name) + 3
        return self.raw[at : self.raw.index(b"\r\n", at)].strip(b" \t")

    @property
    def method(self) -> bytes:
        return self.raw[: self.raw.index(b" ")]

    @property
    def path(self) -> bytes:
        """Target of a request, query included."""
        return self.raw.split(b" ", 2)[1]

    @property
    def status(self) -> int:
        return int(self.raw[9:12])


class _Messages:
    """One direction of a connection, fed in pieces of any size."""

    __slots__ = ("head", "left", "over", "partial", "state")

    def __init__(self) -> None:
        self.state = _START
        self.left = 0
        self.partial = b""
        self.head: Head | None = None
        """Of the message that `step` last found a HEAD of."""
        self.over = False
        """Whether the message ended with the last `step`."""

    @property
    def between(self) -> bool:
        """Whether the stream stands exactly between two messages."""
        return self.state == _START and not self.partial

    @property
    def inside(self) -> bool:
        """Whether a head has been read and its body has not."""
        return self.state not in (_START, _OPAQUE)

    @property
    def opaque(self) -> bool:
        return self.state == _OPAQUE

    def step(self, data: bytes, at: int) -> tuple[int, int]:
        """Read on from `at` (< len(data)): what was found and where it ends. MORE and OPAQUE end with `data`."""
        state = self.state
        self.over = False
        if state == _START:
            return self._start(data, at)
        if state in (_BODY, _DATA):
            end = at + self.left
            if end > len(data):
                self.left -= len(data) - at
                return BODY, len(data)
            self.left = 0
            if state == _BODY:
                self.state = _START
                self.over = True
            else:
                self.state = _CRLF
                self.left = 2
            return BODY, end
        if state == _UNTIL_EOF:
            return BODY, len(data)
        if state == _OPAQUE:
            return OPAQUE, len(data)
        return self._frame(data, at)

    def _start(self, data: bytes, at: int) -> tuple[int, int]:
        if self.partial:
            before = len(self.partial)
            joined = self.partial + data[at:]
            begin = 0
        else:
            before, joined, begin = 0, data, at
            while joined[begin : begin + 1] in (b"\r", b"\n"):
                begin += 1  # empty lines before a message are to be ignored
            if begin == len(joined):
                return FRAME, len(data)
        end = joined.find(b"\r\n\r\n", begin)
        if end < 0:
            if not self.plausible(joined, begin) or len(joined) - begin > _MOST_HEAD:
                return self._give_up(data)
            self.partial = joined[begin:]
            return MORE, len(data)
        end += 4
        self.partial = b""
        head = Head(joined[begin:end])
        if not self.understood(head):
            return self._give_up(data)
        self.head = head
        return HEAD, end if not before else at + end - before

    def _frame(self, data: bytes, at: int) -> tuple[int, int]:
        if self.state == _CRLF:
            expected = b"\r\n"[2 - self.left :]
            part = data[at : at + self.left]
            if not expected.startswith(part):
                return self._give_up(data)
            self.left -= len(part)
            if not self.left:
                self.state = _LINE
            return FRAME, at + len(part)
        end = data.find(b"\n", at)
        if end < 0:
            self.partial += data[at:]
            return self._give_up(data) if len(self.partial) > _MOST_LINE else (FRAME, len(data))
        line = (self.partial + data[at:end]).rstrip(b"\r")
        self.partial = b""
        if self.state == _LINE:
            size = line.partition(b";")[0].strip(b" \t")
            if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
                return self._give_up(data)
            self.left = int(size, 16)
            self.state = _DATA if self.left else _TRAILER
        elif not line:
            self.state = _START
            self.over = True
        return FRAME, end + 1

    def _give_up(self, data: bytes) -> tuple[int, int]:
        self.state = _OPAQUE
        self.partial = b""
        return OPAQUE, len(data)

    def _framed(self, head: Head) -> bool | None:
        """Set the state that the head's own framing asks for: True where it did, None where it says nothing,
        False where it contradicts itself."""
        low = head.low
        coding = head.header(b"transfer-encoding") if low.find(b"\r\ntransfer-encoding:") >= 0 else None
        if coding is not None:
            if coding.lower().rpartition(b",")[2].strip() != b"chunked":
                return None
            self.state = _LINE
            return True
        if low.find(b"\r\ncontent-length:") < 0:
            return None
        length = head.header(b"content-length") or b""
        if not length.isdigit():
            parts = {part.strip() for part in length.split(b",")}
            length = parts.pop()
            if parts or not length.isdigit():
                return False
        self.left = int(length)
        self.state = _BODY if self.left else _START
        self.over = not self.left
        return True

    def plausible(self, data: bytes, begin: int) -> bool:
        """Whether an unfinished head can still become one."""
        raise NotImplementedError

    def understood(self, head: Head) -> bool:
        """Set the state for what follows the head; False where it is none of ours."""
        raise NotImplementedError


class Requests(_Messages):
    """The caller's side."""

    __slots__ = ()

    def whole(self, data: bytes) -> Head | None:
        """The short way for what most requests are: `data` is exactly one of them, without a body. Else None, and
        `step` has to read it."""
        if self.state or self.partial or data.find(b"\r\n\r\n") != len(data) - 4 or not _WHOLE_REQUEST.match(data):
            return None
        low = data.lower()
        if low.find(b"\r\ncontent-length:") >= 0 or low.find(b"\r\ntransfer-encoding:") >= 0:
            return None
        return Head(data, low)

    def plausible(self, data: bytes, begin: int) -> bool:
        first = data[begin : begin + 32]
        method, space, _ = first.partition(b" ")
        return _TOKEN.issuperset(method) and (bool(space) or len(first) < 32) and not first.startswith(b"PRI ")

    def understood(self, head: Head) -> bool:
        if not _REQUEST_LINE.match(head.line):
            return False
        framed = self._framed(head)
        if framed is None:
            if head.header(b"transfer-encoding") is not None:
                return False
            self.over = True  # neither length nor coding: no body
        return framed is not False


class Responses(_Messages):
    """The callee's side. `methods` holds the methods of the requests that have not been answered yet."""

    __slots__ = ("interim", "methods", "upgraded")

    def __init__(self) -> None:
        super().__init__()
        self.methods: deque[bytes] = deque()
        self.interim = False
        """Whether the last HEAD was of a 1xx answer, which another one follows."""
        self.upgraded = False

    def whole(self, data: bytes) -> int:
        """The short way for what most answers are: `data` is exactly one of them, of known length. Its status, else 0,
        and `step` has to read it."""
        if self.state or self.partial or not self.methods or self.methods[0] in (b"HEAD", b"CONNECT"):
            return 0
        status = _WHOLE_STATUSES.get(data[:12], 0)
        end = data.find(b"\r\n\r\n")
        if not status or end < 0:
            return 0
        low = data[: end + 2].lower()
        at = low.find(b"\r\ncontent-length:")
        if at < 0 or low.find(b"chunked") >= 0:
            return 0
        length = low[at + 17 : low.find(b"\r", at + 17)].strip(b" \t")
        if not length.isdigit() or end + 4 + int(length) != len(data) or data[12] not in b" \r":
            return 0
        self.methods.popleft()
        return status

    def plausible(self, data: bytes, begin: int) -> bool:
        first = data[begin : begin + 7]
        return b"HTTP/1."[: len(first)] == first

    def understood(self, head: Head) -> bool:
        if not _STATUS_LINE.match(head.line):
            return False
        status = head.status
        if 100 <= status < 200 and status != 101:
            self.interim = self.over = True
            return True
        self.interim = False
        method = self.methods.popleft() if self.methods else b"GET"
        if status == 101 or (method == b"CONNECT" and 200 <= status < 300):
            self.upgraded = self.over = True
            self.state = _OPAQUE
            return True
        if method == b"HEAD" or status in (204, 304):
            self.over = True
            return True
        framed = self._framed(head)
        if framed is None:
            self.state = _UNTIL_EOF
        return framed is not False

    def end_of_stream(self) -> bool:
        """The callee has closed: whether that ends a message properly."""
        if self.state == _UNTIL_EOF:
            self.state = _START
            return True
        return False
