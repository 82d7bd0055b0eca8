"""Ask a service directly, not through a proxy, whether it is ready."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

from chaoskit.interfaces import Address

__all__ = ["ask_http", "ask_tcp", "wait_until"]


def ask_http(address: Address, path: str, *, timeout: float = 1.0) -> str:
    """Empty where it answers with a 2xx status, else what it did instead."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"GET {path}: {_words(error)}"
    finally:
        connection.close()
    return "" if 200 <= answer.status < 300 else f"GET {path} answered {answer.status}"


def ask_tcp(address: Address, *, timeout: float = 1.0, stays: float = 0.0) -> str:
    """Empty where it accepts connections, else what it did instead.

    `stays`: seconds for which the connection must last. An engine's forwarder accepts at once, and closes where nobody
    listens behind it.
    """
    try:
        with socket.create_connection(address, timeout=timeout) as connection:
            if stays:
                connection.settimeout(stays)
                if _closed(connection):
                    return f"connecting to {address}: closed at once"
    except OSError as error:
        return f"connecting to {address}: {_words(error)}"
    return ""


def _closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except TimeoutError:
        return False


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def wait_until(
    ask: Callable[[], str], within: float, *, clock: Callable[[], float], sleep: Callable[[float], bool]
) -> str:
    """Ask every 20 ms, then more and more slowly up to every 100 ms, until the answer is empty or time is up.

    Returns the last answer. `sleep` returns whether to give up.
    """
    until = clock() + within
    pause = 0.02
    while said := ask():
        if clock() + pause > until or sleep(pause):
            return said
        pause = min(0.1, pause * 1.2)
    return ""
