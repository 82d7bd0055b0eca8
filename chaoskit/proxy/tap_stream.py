"""Reads what the taps of our server say, slot by slot, until told to stop; silence means that it is dead."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable

import msgspec

from chaoskit.errors import ProxyError
from chaoskit.model.observation import TapSlot
from chaoskit.proxy.client import Toxiproxy

__all__ = ["read_taps"]

_SILENCE = 1.5
"""Seconds without a line after which the server counts as dead (it says something each 0.1 s)."""
_FLUSHED = b'{"flushed":true}\n'


def read_taps(
    server: Toxiproxy, emit: Callable[[TapSlot], None], stop: threading.Event, ready: threading.Event | None = None
) -> None:
    """Emit every slot until `stop`, and then what was still open. Blocks; raises ProxyError where the server died."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_SILENCE)
    try:
        connection.request("GET", "/chaoskit/taps", headers=server.headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise ProxyError(f"the proxy at {server.url} has no taps (status {answer.status})")
        if ready is not None:
            ready.set()
        _read(answer, server, emit, stop)
    except (OSError, http.client.HTTPException) as error:
        raise ProxyError(f"the proxy at {server.url} died: {error or type(error).__name__}") from None
    finally:
        connection.close()


def _read(
    answer: http.client.HTTPResponse, server: Toxiproxy, emit: Callable[[TapSlot], None], stop: threading.Event
) -> None:
    decoder = msgspec.json.Decoder(TapSlot)
    flushing = False
    while True:
        line = answer.readline()
        if not line:
            if stop.is_set():
                return
            raise ProxyError(f"the proxy at {server.url} died: its stream of taps ended")
        if line == _FLUSHED:
            if flushing:
                return
        elif len(line) > 3:
            emit(decoder.decode(line))
        if stop.is_set() and not flushing:
            flushing = True
            server.request("POST", "/chaoskit/taps/flush")
