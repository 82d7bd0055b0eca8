"""The channel between a load's master and its workers: Locust's, closed to whoever does not know the token. Worker side
only.

    worker → master    chaoskit_join {index} · chaoskit_clock {at, now, boot} · chaoskit_frame {frame}
    master → worker    chaoskit_clock {at} · chaoskit_work {plan, owned, source, ahead} · chaoskit_frame {frame}
                       chaoskit_own {owned, since} · chaoskit_refuse {because}

Frames are `wire` messages: Ready, Batch, Drained, Done, Failed one way, Start and Stop the other. ZeroMQ's CURVE
encrypts and authenticates with keys that both sides derive from the token.
"""

from __future__ import annotations

import hashlib
from typing import Any

import locust.runners
import zmq
import zmq.utils.z85
from locust.rpc import zmqrpc

__all__ = ["HEARTBEAT", "TOKEN", "secure"]

TOKEN = "CHAOSKIT_LOAD_TOKEN"  # noqa: S105 - the name of the variable that holds it
HEARTBEAT = 0.5
_LIVES = 4
"""A worker that missed so many heartbeats is lost."""


def secure(token: str) -> None:
    """Make every ZeroMQ socket that Locust opens from now on speak CURVE with keys derived from the token."""
    secret: bytes = zmq.utils.z85.encode(hashlib.sha256(f"chaoskit load {token}".encode()).digest())
    public = zmq.curve_public(secret)
    plain = zmqrpc.BaseSocket.__init__

    def init(self: Any, sock_type: int, ipv4_only: bool) -> None:
        plain(self, sock_type, ipv4_only)  # type: ignore[no-untyped-call]
        if sock_type == zmq.ROUTER:
            self.socket.curve_server = True
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
        else:
            self.socket.curve_publickey, self.socket.curve_secretkey = zmq.curve_keypair()
            self.socket.curve_serverkey = public
        self.socket.linger = 500

    zmqrpc.BaseSocket.__init__ = init  # type: ignore[method-assign] # the one place before connect and bind
    locust.runners.HEARTBEAT_INTERVAL = HEARTBEAT  # type: ignore[assignment] # whole seconds are too slow for us
    locust.runners.HEARTBEAT_LIVENESS = _LIVES
    locust.runners.MASTER_HEARTBEAT_TIMEOUT = 10
    locust.runners.CONNECT_TIMEOUT = 1
