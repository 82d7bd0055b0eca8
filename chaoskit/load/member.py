"""One of several workers: joins a master, does its share. Worker side only; here or on another machine."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import gevent
import locust
import msgspec
from gevent.queue import Empty, Queue
from locust.env import Environment

from chaoskit.load.channel import TOKEN, secure
from chaoskit.load.clocks import clock_id
from chaoskit.load.generator import Declared, Generator
from chaoskit.load.wire import (
    Batch,
    Done,
    Drained,
    Failed,
    Frames,
    LoadPlan,
    Ready,
    Report,
    Start,
    Stop,
    pack,
    read_command,
)

__all__ = ["join"]

log = logging.getLogger("chaoskit.load")

_WORK = 120.0
"""Seconds that a worker waits for its work."""


def join(address: str, index: int = -1) -> int:
    """Be a worker of the master at HOST:PORT, to the end; the exit status. `index` is which one, from 0; -1 for any."""
    host, _, port = address.rpartition(":")
    secure(os.environ.get(TOKEN, ""))
    environment = Environment(user_classes=[Declared], events=locust.events)
    said: Queue[tuple[str, Any]] = Queue()
    try:
        runner = environment.create_worker_runner(host.strip("[]"), int(port))
    except (ConnectionError, OSError, ValueError) as error:
        log.error("cannot join %s: %s (is the token right?)", address, error or "no answer")  # noqa: TRY400 - for people
        return 1

    def on_clock(environment: Environment, msg: Any) -> None:  # noqa: ARG001 - Locust calls by name
        answer = {"at": msg.data["at"], "now": time.monotonic(), "boot": clock_id()}
        runner.send_message("chaoskit_clock", answer)

    runner.register_message("chaoskit_clock", on_clock)

    def on_said(environment: Environment, msg: Any) -> None:  # noqa: ARG001 - Locust calls by name
        said.put((msg.type, msg.data))

    for name in ("work", "frame", "own", "refuse"):
        runner.register_message(f"chaoskit_{name}", on_said)
    runner.send_message("chaoskit_join", {"index": index})
    return _work(environment, runner, said)


def _work(environment: Environment, runner: Any, said: Queue[tuple[str, Any]]) -> int:
    def tell(report: Report) -> None:
        runner.send_message("chaoskit_frame", {"frame": pack(report)})

    generator: Generator | None = None
    while True:
        try:
            what, data = said.get(timeout=_WORK if generator is None else None)
        except Empty:
            log.error("the master gave no work within %g s", _WORK)  # noqa: TRY400 - for people
            return 1
        if what == "chaoskit_refuse":
            log.error("the master does not want this worker: %s", data["because"])
            return 1
        if what == "chaoskit_work":
            try:
                generator = Generator(
                    msgspec.msgpack.decode(data["plan"], type=LoadPlan),
                    environment,
                    lambda observations: tell(Batch(observations=observations)),
                    source=data["source"],
                    owned=data["owned"],
                    clock_ahead=data["ahead"],
                )
            except Exception as error:
                log.exception("cannot do this work")
                tell(Failed(because=f"{type(error).__name__}: {error}"))
                gevent.sleep(0.3)
                return 1
            generator.drained.rawlink(lambda _: gevent.spawn(tell, Drained()))
            tell(Ready())
        elif generator is None:
            continue
        elif what == "chaoskit_own":
            generator.load.own(data["owned"], data["since"])
            generator.drained.clear()
        else:
            for body in Frames().feed(data["frame"]):
                command = read_command(body)
                if isinstance(command, Start):
                    generator.start(command, spawn=False)
                elif isinstance(command, Stop):
                    generator.stop(command.grace)
                    tell(Done())
                    gevent.sleep(0.1)  # the message goes out in the loop
                    generator.quit(0.4)
                    return 0
