"""Addresses as Go's net package reads them, with its error texts."""

from __future__ import annotations

import errno
import os
import re
import socket

__all__ = ["AddressError", "listener", "literal", "port_of", "resolve", "shown", "split"]


_NUMBER = re.compile(r"[+-]?[0-9]*")


class AddressError(Exception):
    """In Go's words, without the `listen tcp` in front."""


def split(text: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[::1]:port`, `:port`."""

    def wrong(why: str) -> AddressError:
        return AddressError(f"address {text}: {why}")

    colon = text.rfind(":")
    if colon < 0:
        raise wrong("missing port in address")
    if text.startswith("["):
        end = text.find("]")
        if end < 0:
            raise wrong("missing ']' in address")
        if end + 1 == len(text):
            raise wrong("missing port in address")
        if end + 1 != colon:
            raise wrong("too many colons in address" if text[end + 1] == ":" else "missing port in address")
        return text[1:end], text[colon + 1 :]
    host = text[:colon]
    if ":" in host:
        raise wrong("too many colons in address")
    return host, text[colon + 1 :]


def resolve(text: str) -> tuple[str, int]:
    """IP address and port; an empty host stays empty (all addresses). May ask a name server: call it in a thread."""
    host, port_text = split(text) if text else ("", "0")
    port = port_of(port_text)
    if host in ("", "::", "0.0.0.0"):  # noqa: S104 - read, not bound
        return host, port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # a ValueError is of a name that no resolver takes: a NUL, a label too long
        raise AddressError(f"lookup {host}: no such host") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)  # Go listens on the IPv4 one
    return str(found[0][4][0]), port


def literal(host: str) -> bool:
    """Whether no name server is needed to resolve it."""
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False


def port_of(text: str) -> int:
    """A port by number or by service name; none is 0."""
    if not _NUMBER.fullmatch(text):
        try:
            return socket.getservbyname(text, "tcp")
        except (OSError, ValueError):  # a ValueError is of what no name can hold: a NUL, half a surrogate pair
            raise AddressError(f"lookup tcp/{text}: unknown port") from None
    digits = text.lstrip("+-").lstrip("0")
    port = int(digits[:6] or 0)  # six digits are too many already, and thousands take their time
    if port > 65535 or (port and text.startswith("-")):
        raise AddressError(f"address {text}: invalid port")
    return port


def shown(host: str, port: int) -> str:
    """As Go prints a resolved address."""
    host = host or "::"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listener(text: str, host: str, port: int) -> socket.socket:
    """A bound, listening, non-blocking socket. Raises AddressError; `text` is the address as it was written."""
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if family != socket.AF_INET6 or host:
            raise AddressError(f"listen tcp {text}: socket: {_go_words(error)}") from None
        family, host = socket.AF_INET, "0.0.0.0"  # noqa: S104 - a host without IPv6, and all addresses were asked for
        sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host and host != "::" else 0)
        sock.bind((host or "::", port))
        sock.listen(4096)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise AddressError(f"listen tcp {shown(host, port)}: bind: {_go_words(error)}") from None
    return sock


def _go_words(error: OSError) -> str:
    words = {
        errno.EADDRINUSE: "address already in use",
        errno.EADDRNOTAVAIL: "cannot assign requested address",
        errno.EACCES: "permission denied",
        errno.EMFILE: "too many open files",
    }
    return words.get(error.errno or 0) or os.strerror(error.errno or 0).lower()
