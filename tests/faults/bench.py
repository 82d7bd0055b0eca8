"""A real mesh with a caller on each of many edges, to try every fault on real traffic at the same time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from chaoskit.guardian_client import Guardian
from chaoskit.injection import Injection
from chaoskit.interfaces import Address, Fault, ProxyControl
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import Observation, slot_start
from chaoskit.model.topology import Edge, Topology
from chaoskit.proxy.mesh import Mesh
from chaoskit.recorder import on_run_clock
from chaoskit.registry import undo_owners
from chaoskit.testing import FakeSystem, topology_of
from tests.faults.caller import keep_calling


class Callee(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        time.sleep(0.005)
        body = b"x" * 2000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Connections that faults cut are no errors of ours."""


class MeshSystem(FakeSystem):
    """Real proxies on the edges of a made-up target."""

    def __init__(self, topology: Topology, folder: Path, mesh: Mesh) -> None:
        super().__init__(topology, folder=folder)
        self.mesh = mesh

    def proxy(self, edge: Edge) -> ProxyControl:
        return self.mesh.control(edge)


class Tried:
    """What came of it: the history, and what callers saw on each edge after all faults were out."""

    def __init__(self, history: History, recovered: Mapping[str, Sequence[int]], errors: Mapping[str, str]) -> None:
        self.history = history
        self.recovered = recovered
        self.errors = errors


@contextlib.contextmanager
def callees() -> Iterator[Address]:
    server = Server(("127.0.0.1", 0), Callee)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Address("127.0.0.1", server.server_address[1])
    server.shutdown()
    server.server_close()


def try_faults(faults: Sequence[Fault], toxiproxy: str, folder: Path, *, seconds: float = 2.0) -> Tried:
    """Carry out all faults at once, each on the edge that it names (`web->latency`), on traffic of its own."""
    edges = [place for fault in faults for place in fault.places]
    topology = topology_of("load->web", *edges)
    observations: list[Observation] = []
    stop_taps, stop_calls = threading.Event(), threading.Event()
    answers: dict[str, list[int]] = {edge: [] for edge in edges}
    with Guardian(f"bench-{time.monotonic_ns()}") as guardian, callees() as callee:
        mesh = Mesh(guardian, toxiproxy, 1, guardian.will_undo, guardian.undone)
        mesh.start()
        undo_owners()
        system = MeshSystem(topology, folder, mesh)
        listening = {edge.name: mesh.open(edge, callee) for edge in topology.edges}
        taps = threading.Thread(target=mesh.taps, args=(observations.append, stop_taps))
        taps.start()
        callers = [
            threading.Thread(
                target=keep_calling,
                args=(listening[edge], "/close" if "slow_close" in edge else "/", stop_calls, answers[edge]),
            )
            for edge in edges
        ]
        t0 = slot_start(time.monotonic() + 0.1)
        windows = {
            Phase.BASELINE: [(0.3, 0.3 + seconds)],
            Phase.FAULT: [(0.3 + seconds, 0.3 + 2 * seconds)],
            Phase.RECOVERY: [(0.3 + 2 * seconds, 1.3 + 2 * seconds)],
        }
        for caller in callers:
            caller.start()
        injections = [
            Injection(
                fault,
                system,
                t0=t0,
                window=windows[Phase.FAULT][0],
                emit=observations.append,
                will_undo=guardian.will_undo,
                undone=guardian.undone,
            )
            for fault in faults
        ]
        time.sleep(max(0.0, t0 + windows[Phase.FAULT][0][0] - 0.3 - time.monotonic()))
        for injection in injections:
            injection.prepare()
        for injection in injections:
            injection.join()
        time.sleep(0.5)  # what was cut off reconnects
        so_far = {edge: len(got) for edge, got in answers.items()}
        time.sleep(1.0)
        stop_calls.set()
        for caller in callers:
            caller.join()
        time.sleep(0.25)
        stop_taps.set()
        taps.join()
        mesh.close()
    return Tried(
        History([on_run_clock(seen, t0) for seen in observations], topology, windows, [i.span() for i in injections]),
        {edge: got[so_far[edge] :] for edge, got in answers.items()},
        {injection.fault.id: injection.error for injection in injections if injection.error},
    )
