"""The embedded Toxiproxy-compatible server, as a process of its own: `python -m chaoskit.proxy.server --port 8474`.

Prints one line of JSON, `{"port": N}`, once it listens; what goes wrong later goes to standard error. Ends on SIGINT
and SIGTERM, after reporting what its taps still hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from chaoskit.model.observation import SLOT, slot_start
from chaoskit.proxy import addresses
from chaoskit.proxy.api import Api
from chaoskit.proxy.collection import Collection
from chaoskit.proxy.context import Context
from chaoskit.proxy.control import Control, Streaming
from chaoskit.proxy.tap import CALLS_PER_SECOND, Hub
from chaoskit.proxy.timers import Timers

__all__ = ["main"]

_LATE = 0.002
"""A slot is written this long after its end, so that what happened at its very end is in it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it; the exit status is 2 for what cannot be served, else 0."""
    options = _options(argv)
    if options.version:
        print("toxiproxy-server version 2.12.0 (chaoskit)")  # noqa: T201 - what -version is for
        return 0
    if options.host not in ("localhost", "127.0.0.1", "::1") and not options.token:
        return _fail(f"listening on {options.host} lets anyone on the network break things: it needs --token")
    _many_descriptors()
    # What lives here lives as long as its connection: a collection now and then costs milliseconds and finds little.
    gc.set_threshold(100_000, 50, 50)
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory(options.loop)) as runner:
        return runner.run(_serve(options))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaoskit proxy serve", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("-host", "--host", default="localhost")
    add("-port", "--port", type=int, default=8474, help="0 picks a free one")
    add("-config", "--config", default="", help="JSON file of proxies to begin with, as POST /populate takes it")
    add("-seed", "--seed", type=int, default=None, help="of every roll of toxicity, jitter and corruption")
    add(
        "-proxy-metrics",
        "--proxy-metrics",
        action="store_true",
        help="counters at /metrics (always on without --strict)",
    )
    add("-runtime-metrics", "--runtime-metrics", action="store_true")
    add("-version", "--version", action="store_true")
    add("--strict", action="store_true", help="behave like Toxiproxy 2.12 even where it is odd")
    add("--token", default=os.environ.get("CHAOSKIT_PROXY_TOKEN", ""), help="asked of every request as a bearer token")
    add("--calls-per-second", type=int, default=CALLS_PER_SECOND, help="single calls that a tap keeps, on each edge")
    add("--dial-timeout", type=float, default=10.0, help="seconds for an upstream to take a connection")
    add("--announce", default="", metavar="HOST:PORT", help='connect there and say {"port": N}, or {"error": …}')
    add("--loop", choices=("auto", "uvloop", "asyncio"), default="auto")
    return parser.parse_args(argv)


def _loop_factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if choice == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if choice == "uvloop":
            raise
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _many_descriptors() -> None:
    """Two sockets a connection and one a proxy: take all that the system gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    context = Context(
        loop=loop,
        timers=Timers(loop),
        hub=Hub(max(1, options.calls_per_second)),
        seed=seed,
        strict=options.strict,
        dial_timeout=options.dial_timeout,
    )
    collection = Collection(context)
    streaming = Streaming()
    api = Api(
        collection,
        streaming,
        host=options.host,
        token=options.token,
        proxy_metrics=options.proxy_metrics,
        runtime_metrics=options.runtime_metrics,
    )
    problem = await _configure(collection, options.config) if options.config else ""
    if problem and not options.strict:
        return _fail(problem, options.announce)
    if problem:
        _say(problem)
    ending = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    connections: set[Control] = set()
    try:
        host, _ = addresses.resolve(addresses.shown(options.host, options.port))
        sock = addresses.listener(options.host, host, options.port)
    except addresses.AddressError as error:
        if not options.strict:
            return _fail(f"the control port cannot be opened: {error}", options.announce)
        _say(f"Server finished with error: {error}")  # a real one stays up without its API
        await ending.wait()
        return 0
    server = await loop.create_server(
        lambda: Control(api.answer, streaming, connections, loop), sock=sock, backlog=1024
    )
    _announce(json.dumps({"port": sock.getsockname()[1]}), options.announce)
    ticker = _Ticker(context, api)
    await ending.wait()
    server.close()
    ticker.stop()
    await _end(collection, api, streaming, connections)
    return 0


async def _configure(collection: Collection, path: str) -> str:
    """Make the proxies of a config file; returns what is wrong with it."""
    try:
        body = await asyncio.to_thread(Path(path).read_bytes)
    except OSError as error:
        return f"Error reading config file {path}: {error.strerror}"
    _, problem = await collection.populate(body)
    if problem is None:
        return ""
    where = "" if collection.context.strict else _broken_at(body)
    return f"Failed to populate proxies from file {path}{where}: {problem.message}"


def _broken_at(body: bytes) -> str:
    """`:3:14`, where a text is no JSON."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return f":{error.lineno}:{error.colno}"
    except ValueError:
        pass  # no UTF-8: nothing says where
    return ""


class _Ticker:
    """Ticks just after the end of every slot."""

    def __init__(self, context: Context, api: Api) -> None:
        self._context = context
        self._api = api
        self._timer = context.timers.at(slot_start(monotonic()) + SLOT + _LATE, self._tick)

    def _tick(self) -> None:
        now = monotonic()
        self._timer = self._context.timers.at(slot_start(now) + SLOT + _LATE, self._tick)
        self._api.tick(now)

    def stop(self) -> None:
        self._timer.cancel()


async def _end(collection: Collection, api: Api, streaming: Streaming, connections: set[Control]) -> None:
    """Report open calls, close everything, and give sockets a moment to say so."""
    api.flush()
    for proxy in collection.proxies.values():
        await proxy.stop()
    for door in collection.doors.values():
        await door.close()
    await asyncio.sleep(0)
    if streaming.open:
        api.tick(monotonic() + SLOT)
    streaming.end()
    for control in tuple(connections):
        control.close()
    await asyncio.sleep(0.02)
    collection.context.timers.close()


def _announce(line: str, where: str) -> None:
    """Say it on standard output, or to whoever started us and listens."""
    if not where:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    host, port = addresses.split(where)
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(line.encode() + b"\n")


def _say(message: str) -> None:
    sys.stderr.write(json.dumps({"level": "error", "message": message}) + "\n")
    sys.stderr.flush()


def _fail(message: str, announce: str = "") -> int:
    if announce:
        _announce(json.dumps({"error": message}), announce)
    sys.stderr.write(f"error: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
