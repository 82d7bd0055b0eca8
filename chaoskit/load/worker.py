"""The load worker's process: `python -m chaoskit.load.worker --connect SOCKET`. Talks to the harness, runs Locust."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import traceback

import gevent
import gevent.socket

# First of all: locust patches the standard library for gevent, and what was imported before keeps the old one.
import locust  # noqa: F401

from chaoskit.load.generator import Generator
from chaoskit.load.wire import (
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

__all__ = ["main"]

log = logging.getLogger("chaoskit.load")

_QUIT = 0.4
"""Seconds that Locust's own shutdown may take."""


class Harness:
    """The connection to the harness. Its end is this process' end."""

    def __init__(self, path: str) -> None:
        self._socket = gevent.socket.socket(gevent.socket.AF_UNIX)
        self._socket.connect(path)
        self._lock = gevent.lock.RLock()

    def tell(self, report: Report) -> None:
        with self._lock:
            self._socket.sendall(pack(report))

    def batch(self, observations: list[Observation]) -> None:
        self.tell(Batch(observations=observations))

    def commands(self) -> gevent.queue.Queue[Command | None]:
        """What the harness says, read by a greenlet; None at its end."""
        said: gevent.queue.Queue[Command | None] = gevent.queue.Queue()

        def read() -> None:
            frames = Frames()
            try:
                while data := self._socket.recv(65536):
                    for body in frames.feed(data):
                        said.put(read_command(body))
            except OSError:
                log.warning("lost the harness")
            said.put(None)

        gevent.spawn(read)
        return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaoskit.load.worker", description=__doc__)
    parser.add_argument("--connect", required=True, metavar="SOCKET", help="unix socket that the harness listens on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("locust").setLevel(logging.WARNING)
    raise_file_limit()
    harness = Harness(arguments.connect)
    commands = harness.commands()
    harness.tell(Hello(pid=os.getpid()))
    said = commands.get()
    if not isinstance(said, Plan):
        return
    try:
        serve(said.plan, harness, commands)
    except Exception as error:  # noqa: BLE001 - the harness must learn why, whatever it was
        traceback.print_exc()
        harness.tell(Failed(because=f"{type(error).__name__}: {error}"))
    # Listeners may have left threads or greenlets that never end.
    sys.stderr.flush()
    os._exit(0)


def serve(plan: LoadPlan, harness: Harness, commands: gevent.queue.Queue[Command | None]) -> None:
    """Follow the harness' commands to the end."""
    generator = Generator(plan, harness.batch, source=plan.source)
    generator.prepare()
    harness.tell(Ready())
    while True:
        command = commands.get()
        if isinstance(command, Start):
            generator.start(command.t0, command.duration)
            generator.done.rawlink(lambda _: gevent.spawn(harness.tell, Drained()))
        elif isinstance(command, Stop):
            generator.stop(command.grace)
            harness.tell(Done())
            generator.quit(_QUIT)
            return
        elif command is None:
            return


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1_000_000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
