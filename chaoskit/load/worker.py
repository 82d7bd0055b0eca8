"""The load worker's process: `python -m chaoskit.load.worker --connect HOST:PORT` talks to the harness and runs Locust;
with a plan for several workers it is their master. `--join HOST:PORT` is one of those."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import resource
import sys
import traceback

import gevent
import gevent.lock
import gevent.socket

# First of all: locust patches the standard library for gevent, and what was imported before keeps the old one.
import locust
from gevent.queue import Queue
from locust.env import Environment

from chaoskit.load.generator import Declared, Generator
from chaoskit.load.wire import (
    TOKEN_VARIABLE,
    Batch,
    Command,
    Done,
    Drained,
    Failed,
    Frames,
    Hello,
    LoadPlan,
    Plan,
    Ready,
    Report,
    Start,
    Stop,
    pack,
    read_command,
)
from chaoskit.model.observation import Observation

__all__ = ["Harness", "main"]

log = logging.getLogger("chaoskit.load")

_QUIT = 0.4
"""Seconds that Locust's own shutdown may take."""


class Harness:
    """The connection to the harness. Its end is this process' end."""

    def __init__(self, where: str) -> None:
        """`where` is HOST:PORT on loopback; the token in the environment says that it is we."""
        host, _, port = where.rpartition(":")
        self._socket = gevent.socket.create_connection((host, int(port)))
        self._socket.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
        self._socket.sendall(os.environ.pop(TOKEN_VARIABLE, "").encode())
        self._lock = gevent.lock.RLock()
        self.commands: Queue[Command | None] = Queue()
        """What the harness says, in order; None at its end."""
        gevent.spawn(self._read)

    def tell(self, report: Report) -> None:
        self.pass_on(pack(report))

    def pass_on(self, packed: bytes) -> None:
        """Send a report that is packed already. Silent where the harness is gone: its end is in `commands`."""
        with self._lock, contextlib.suppress(OSError):
            self._socket.sendall(packed)

    def batch(self, observations: list[Observation]) -> None:
        self.tell(Batch(observations=observations))

    def _read(self) -> None:
        frames = Frames()
        try:
            while data := self._socket.recv(65536):
                for body in frames.feed(data):
                    self.commands.put(read_command(body))
        except OSError:
            log.warning("lost the harness")
        self.commands.put(None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaoskit.load.worker", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--connect", metavar="HOST:PORT", help="where the harness listens")
    where.add_argument("--join", metavar="HOST:PORT", help="master to join; CHAOSKIT_LOAD_TOKEN holds the token")
    parser.add_argument("--index", type=int, default=-1, help="which of the master's workers this is, from 0")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("locust").setLevel(logging.WARNING)
    raise_file_limit()
    if arguments.join:
        from chaoskit.load.member import join

        status = join(arguments.join, arguments.index)
    else:
        status = serve(Harness(arguments.connect))
    # Listeners may have left threads or greenlets that never end.
    sys.stderr.flush()
    os._exit(status)


def serve(harness: Harness) -> int:
    """Do what the harness says, to the end."""
    harness.tell(Hello(pid=os.getpid()))
    said = harness.commands.get()
    if not isinstance(said, Plan):
        return 1
    try:
        if said.plan.workers > 1:
            from chaoskit.load.master import Master

            Master(said.plan, harness).serve()
        else:
            _alone(said.plan, harness)
    except Exception as error:  # noqa: BLE001 - the harness must learn why, whatever it was
        traceback.print_exc()
        harness.tell(Failed(because=f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _alone(plan: LoadPlan, harness: Harness) -> None:
    environment = Environment(user_classes=[Declared], events=locust.events)
    environment.create_local_runner()
    generator = Generator(plan, environment, harness.batch, source=plan.source)
    generator.drained.rawlink(lambda _: gevent.spawn(harness.tell, Drained()))
    harness.tell(Ready())
    while (command := harness.commands.get()) is not None:
        if isinstance(command, Start):
            generator.start(command)
        elif isinstance(command, Stop):
            generator.stop(command.grace)
            harness.tell(Done())
            break
    generator.quit(_QUIT)


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_000_000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
