"""Free ports on loopback that nobody takes between choosing and listening, or while a killed service is down."""

from __future__ import annotations

import random
import socket
import time

from chaoskit.errors import DeployError
from chaoskit.interfaces import Address

__all__ = ["Reserved", "reserve"]

# Below the range that the kernel gives to outgoing connections (32768 to 60999 on Linux, 49152 to 65535 on macOS): a
# load of thousands of them must not sit on the port of a service that is down for a moment.
_RANGE = range(20000, 32000)
_FREED_WITHIN = 1.0
"""Seconds; whoever starts there after that says what is wrong."""


class Reserved:
    """A port that is bound until it is given away."""

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self._socket = sock
        self.address = address

    def release(self) -> None:
        """Right before whoever listens on it is started; idempotent. Returns when it can be bound.

        A child that another thread forks has the socket too, until it executes its program some milliseconds later:
        closing ours does not yet free the port.
        """
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        until = time.monotonic() + _FREED_WITHIN
        while not _free(self.address) and time.monotonic() < until:
            time.sleep(0.002)


def _free(address: Address) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError:
            return False
    return True


def reserve(host: str = "127.0.0.1") -> Reserved:
    """Bind a free port. Raises DeployError where there is none."""
    chance = random.SystemRandom()
    for _ in range(200):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.bind((host, chance.choice(_RANGE)))
        except OSError:
            sock.close()
            continue
        return Reserved(sock, Address(*sock.getsockname()))
    raise DeployError(f"no free port between {_RANGE.start} and {_RANGE.stop} on {host}")
