"""Where the load may go, and what a name stands for: checked for every connection, after resolution. Worker side."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

__all__ = ["HostNotAllowed", "Hosts", "Origin", "is_here"]

_KEPT = 60.0
"""Seconds for which a name keeps its addresses."""


class HostNotAllowed(OSError):
    """Neither this machine nor a host that the operator allowed."""


class Origin:
    """Scheme, host (in ASCII) and port. One object each (`Hosts.origin`), compared by identity: this is looked up per
    request."""

    __slots__ = ("host", "port", "tls")

    def __init__(self, tls: bool, host: str, port: int) -> None:
        self.tls = tls
        self.host = host
        self.port = port

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def is_here(address: str) -> bool:
    """Whether an address is this machine's loopback (or 0.0.0.0 and ::, which connect there)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    return ip.is_loopback or ip.is_unspecified


class Hosts:
    """Origins, their addresses, and which of them may be connected to."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = {_ascii(_plain(host)) for host in allowed}
        self._origins: dict[tuple[bool, str, int], Origin] = {}
        self._addresses: dict[Origin, tuple[float, list[tuple[int, Any]]]] = {}

    def origin(self, url: str) -> Origin:
        """Of an absolute http(s) URL. Raises ValueError for any other, and for what is no name of a host."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL that starts with http:// or https://, not {url!r}")
        tls = parts.scheme == "https"
        port = parts.port if parts.port is not None else 443 if tls else 80
        key = (tls, _ascii(_plain(parts.hostname)), port)
        if key not in self._origins:
            self._origins[key] = Origin(*key)
        return self._origins[key]

    def known(self, origin: Origin) -> list[tuple[int, Any]] | None:
        """(family, socket address) of each place to try in turn; None where `resolve` must be asked.

        Raises HostNotAllowed.
        """
        kept = self._addresses.get(origin)
        if kept is not None and kept[0] > monotonic():
            return kept[1]
        try:
            ip = ipaddress.ip_address(origin.host)
        except ValueError:
            return None
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        return self._keep(origin, [(family, (origin.host, origin.port))])

    def resolve(self, origin: Origin) -> list[tuple[int, Any]]:
        """Ask the resolver; blocks the greenlet. Raises OSError (gaierror), HostNotAllowed."""
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        return self._keep(origin, [(family, address) for family, _, _, _, address in found])

    def _keep(self, origin: Origin, addresses: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        if origin.host not in self._allowed:
            addresses = [item for item in addresses if self.permits(str(item[1][0]))]
        if not addresses:
            raise HostNotAllowed(f"{origin.host} is neither this machine nor an allowed host")
        self._addresses[origin] = (monotonic() + _KEPT, addresses)
        return addresses

    def permits(self, address: str) -> bool:
        """Whether a numeric address may be connected to."""
        return is_here(address) or _plain(address) in self._allowed

    def permits_address_of_name(self, address: str) -> bool:
        """Whether a numeric address is one of an allowed name's. Asks the resolver; blocks the greenlet."""
        for name in list(self._allowed):
            try:
                found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            except OSError:
                continue  # a name that stands for nothing now permits nothing
            if any(str(item[4][0]) == address for item in found):
                self._allowed.add(address)
                return True
        return False


def _plain(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _ascii(host: str) -> str:
    """A host's name as the resolver and the Host header have it. Raises UnicodeError, a ValueError."""
    return host.encode("idna").decode()
