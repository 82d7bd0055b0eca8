"""One socket, driven by callbacks of the gevent loop: connect, TLS, send, parse, keep alive. Worker side only.

A connection carries one exchange at a time and waits, unread, in its user's pool in between, so that an idle close is
noticed when it happens. Nothing here blocks.
"""

from __future__ import annotations

import _socket
import errno
import socket
import ssl
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from chaoskit.load.answer import header
from chaoskit.load.exchange import Exchange

__all__ = ["Connection", "Owner"]

_CHUNK = 256 * 1024
_HEAD_LIMIT = 64 * 1024

_CAUSES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timeout connecting",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
_OURS = {
    errno.EMFILE: "generator out of files",
    errno.ENFILE: "generator out of files",
    errno.EADDRNOTAVAIL: "generator out of ports",
    errno.ENOBUFS: "generator out of buffers",
    errno.ENOMEM: "generator out of memory",
}


class Owner(Protocol):
    """The client, as its connections know it."""

    loop: Any
    keep_alive: bool
    max_body: int
    connections: set[Connection]

    def tls(self) -> ssl.SSLContext: ...
    def end(self, exchange: Exchange, cause: str = "") -> None: ...
    def again(self, exchange: Exchange, cause: str) -> None: ...


class Connection:
    """One socket. Its methods are called in the loop."""

    def __init__(self, client: Owner, exchange: Exchange, addresses: list[tuple[int, Any]]) -> None:
        self.client = client
        self.origin = exchange.origin
        self.pool = exchange.pool
        self.exchange: Exchange | None = exchange
        self.ready = False
        self.closed = False
        self._addresses = addresses
        self._next_address = 0
        self._unsent = b""
        self._parser: HttpResponseParser | None = None
        self._complete = False
        self._extra = False
        self._keep = False
        self._headers_done = False
        self._headless = False
        self._body: list[bytes] | None = None
        self._tls: ssl.SSLObject | None = None
        if self.origin.tls:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._socket: _socket.socket | None = None
        self._reader: Any = None
        self._writer: Any = None
        exchange.connection = self
        client.connections.add(self)
        self._connect()

    # ------------------------------------------------------------------------------------------------ connecting

    def _connect(self) -> None:
        family, address = self._addresses[self._next_address]
        self._next_address += 1
        try:
            self._socket = _socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._socket.connect_ex(address)
        except OSError as error:
            number = error.errno or errno.EIO
        if number == 0:
            self._connected()
        elif number == errno.EINPROGRESS and self._socket is not None:
            self._writer = self.client.loop.io(self._socket.fileno(), 2)
            self._writer.start(self._on_connect)
        else:
            self._not_connected(number)

    def _on_connect(self) -> None:
        assert self._socket is not None
        self._stop_writer()
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._not_connected(number)
        else:
            self._connected()

    def _not_connected(self, number: int) -> None:
        if number not in _OURS and self._next_address < len(self._addresses):
            self._drop_socket()
            self._connect()
            return
        self._fail_with(number)

    def _fail_with(self, number: int) -> None:
        exchange = self._detach()
        if exchange is not None:
            exchange.ours = number in _OURS
            cause = _OURS.get(number) or _CAUSES.get(number) or errno.errorcode.get(number, "socket error").lower()
            self.client.end(exchange, cause)

    def _connected(self) -> None:
        assert self._socket is not None
        self._reader = self.client.loop.io(self._socket.fileno(), 1)
        if self.origin.tls:
            try:
                context = self.client.tls()
                self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=self.origin.host)
            except (OSError, ValueError) as error:
                self._detach_and_end(f"tls: {error}")
                return
        self._reader.start(self._on_readable)
        if self._tls is None:
            self._begin()
        else:
            self._shake(b"")

    def _shake(self, data: bytes) -> None:
        """One step of the TLS handshake."""
        assert self._tls is not None
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush_tls()
            return
        except ssl.SSLCertVerificationError as error:
            self._flush_tls()
            self._detach_and_end(f"tls: {error.verify_message}")
            return
        except (ssl.SSLError, ValueError, OSError) as error:
            self._detach_and_end(f"tls: {getattr(error, 'reason', None) or error}")
            return
        self._flush_tls()
        self._begin()

    def _begin(self) -> None:
        self.ready = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None and not exchange.ended:
            self._carry(exchange)

    # ---------------------------------------------------------------------------------------------------- sending

    def carry(self, exchange: Exchange) -> None:
        """Send a request on this idle connection."""
        exchange.reused = True
        exchange.connection = self
        self._carry(exchange)

    def _carry(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._complete = self._extra = self._headers_done = False
        self._headless = exchange.request.headless
        self._body = exchange.body
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        data = exchange.data
        exchange.bytes_out += len(data)
        if self._tls is not None:
            try:
                self._tls.write(data)
            except (ssl.SSLError, OSError):
                self._broken("reset")
                return
            self._flush_tls()
            return
        try:
            count = self._socket.send(data)  # type: ignore[union-attr] # an idle connection has its socket
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._broken(_CAUSES.get(error.errno or 0, "reset"))
            return
        if count < len(data):
            self._write_later(data[count:])

    def _flush_tls(self) -> None:
        data = self._outgoing.read()
        if data:
            self._write_later(data)

    def _write_later(self, data: bytes) -> None:
        """Queue bytes behind those that the kernel has not taken yet, and try."""
        self._unsent += data
        if self._writer is None:
            self._on_writable()

    def _on_writable(self) -> None:
        assert self._socket is not None
        try:
            count = self._socket.send(self._unsent)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._unsent = b""
            # What the server said before it hung up may be waiting to be read; the reader meets the end after it.
            self._stop_writer()
            if self.exchange is not None and not self.ready:
                self._broken(_CAUSES.get(error.errno or 0, "reset"))
            return
        self._unsent = self._unsent[count:]
        if self._unsent and self._writer is None:
            self._writer = self.client.loop.io(self._socket.fileno(), 2)
            self._writer.start(self._on_writable)
        elif not self._unsent:
            self._stop_writer()

    # -------------------------------------------------------------------------------------------------- receiving

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)  # type: ignore[union-attr] # the watcher ends before the socket
        except BlockingIOError:
            return
        except OSError as error:
            self._broken(_CAUSES.get(error.errno or 0, "reset"))
            return
        if self._tls is not None:
            data = self._decrypt(data)
            if data is None:
                return
        if not data:
            self._at_end()
            return
        exchange = self.exchange
        if exchange is None:
            self.close()  # nobody asked: an answer beyond the last one's length, or a server's goodbye
            return
        exchange.bytes_in += len(data)
        if not self._headers_done:
            exchange.head = exchange.head + data if exchange.head else data
        try:
            self._parser.feed_data(data)  # type: ignore[union-attr] # there is one while an exchange is carried
        except HttpParserUpgrade:
            self._complete = self._extra = True
        except HttpParserError:
            if not self._complete:
                self._detach_and_end("not http" if not self._headers_done else "garbled body")
                return
            self._extra = True
        if self._complete:
            self._finish(exchange)
        elif exchange.bytes_in > self.client.max_body:
            self._detach_and_end("body too large")
        elif not self._headers_done and len(exchange.head) > _HEAD_LIMIT:
            self._detach_and_end("head too large")

    def _decrypt(self, data: bytes) -> bytes | None:
        """Plain bytes of TLS ones; None where there are none yet."""
        assert self._tls is not None
        if not self.ready:
            if data:
                self._shake(data)
            else:
                self._broken("reset")
            return None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        plain = []
        ended = False
        try:
            while part := self._tls.read(_CHUNK):
                plain.append(part)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            ended = True
        if plain:
            if ended:
                self.client.loop.run_callback(self._at_end_later)
            return b"".join(plain)
        return b"" if ended else None

    def _at_end_later(self) -> None:
        if not self.closed:
            self._at_end()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._headers_done = True
        if self._headless and self._parser.get_status_code() >= 200:  # type: ignore[union-attr] # called by it
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # type: ignore[union-attr]

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._body is not None and not self._complete:
            self._body.append(body)

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self._complete:
            self._extra = True

    def on_message_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()  # type: ignore[union-attr] # called by it
        if status < 200 and status != 101:
            self._headers_done = False  # an interim answer: the real one follows
            if self.exchange is not None:
                self.exchange.head = self.exchange.head.partition(b"\r\n\r\n")[2]
        else:
            self._complete = True
            self._keep = self._parser.should_keep_alive()  # type: ignore[union-attr]

    def _finish(self, exchange: Exchange) -> None:
        exchange.status = status = self._parser.get_status_code()  # type: ignore[union-attr] # it has just finished
        self.exchange = None
        cause = ""
        if self._extra or self._unsent or not self._keep or not self.client.keep_alive:
            if self._extra and not self._headless and status != 101:
                cause = "longer than promised"
            self.close()
        else:
            if self._headless:
                self._parser = None  # it waits for a body that never comes
            idle = self.pool.get(self.origin)
            if idle is None:
                self.pool[self.origin] = [self]
            else:
                idle.append(self)
        self.client.end(exchange, cause)

    def _at_end(self) -> None:
        """The server hung up."""
        exchange = self.exchange
        if exchange is None or not exchange.bytes_in:
            self._broken("closed unanswered")
        elif self._headers_done and _until_close(exchange.head):
            exchange.status = self._parser.get_status_code()  # type: ignore[union-attr] # it read the headers
            self.exchange = None
            self.close()
            self.client.end(exchange)
        else:
            self._broken("closed early")

    # ------------------------------------------------------------------------------------------------------ ending

    def _broken(self, cause: str) -> None:
        exchange = self._detach()
        if exchange is not None:
            self.client.again(exchange, cause)

    def _detach_and_end(self, cause: str) -> None:
        exchange = self._detach()
        if exchange is not None:
            self.client.end(exchange, cause)

    def _detach(self) -> Exchange | None:
        """Close, and return the exchange that was carried if it has not ended."""
        exchange, self.exchange = self.exchange, None
        self.close()
        return None if exchange is None or exchange.ended else exchange

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.client.connections.discard(self)
        idle = self.pool.get(self.origin)
        if idle and self in idle:
            idle.remove(self)
        self._drop_socket()
        self._parser = None
        self._tls = None
        self.exchange = None

    def _drop_socket(self) -> None:
        # Watchers go first: the number of a closed socket may be another one's a moment later.
        self._stop_writer()
        if self._reader is not None:
            self._reader.stop()
            self._reader.close()
            self._reader = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
            self._writer = None


def _until_close(head: bytes) -> bool:
    """Whether the answer's body ends where the connection does."""
    return header(head, "content-length") is None and header(head, "transfer-encoding") is None
