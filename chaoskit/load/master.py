"""Locust's master of one load's workers: admits them, measures their clocks, passes on what they saw, and gives a lost
one's share to the others. Worker side only.

Batches are passed on as they come, so merging is the harness' addition of slots. A worker that is lost is told to
quit; what it was to send until the others take over counts as dropped by the generator.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Protocol

import gevent
import locust
import msgspec
from gevent.event import Event as Signal
from gevent.queue import Empty, Queue
from locust.env import Environment

from chaoskit.load.channel import HEARTBEAT, secure
from chaoskit.load.clocks import Offset, Ping, clock_id, drifted, offset
from chaoskit.load.generator import Declared
from chaoskit.load.locust_users import lead
from chaoskit.load.losses import Told, horizon, unaccounted
from chaoskit.load.plugins import load_listeners, user_classes
from chaoskit.load.wire import (
    Batch,
    Command,
    Done,
    Drained,
    Failed,
    Frames,
    LoadPlan,
    Lost,
    Ready,
    Report,
    Start,
    Stop,
    pack,
    read_report,
)
from chaoskit.model.observation import Event, LoadSlot, Observation

__all__ = ["Master"]

log = logging.getLogger("chaoskit.load")

_JOIN = 60.0
"""Seconds that a master waits for its workers."""
_PINGS = 8
_TAKEOVER = 0.3
"""Seconds from the loss of a worker to the first send that the others make in its place."""
_STOPPED = 0.7
"""Seconds beyond the grace in which workers must have said Done."""


class Upstream(Protocol):
    """The connection to the harness (`worker.Harness`)."""

    commands: Queue[Command | None]

    def tell(self, report: Report) -> None: ...
    def pass_on(self, packed: bytes) -> None: ...


class _Node:
    """A worker as its master sees it."""

    def __init__(self, client: str, index: int, told: Told) -> None:
        self.client = client
        self.index = index
        self.source = f"worker.{index + 1}"
        self.owned = {index}
        self.clock = Offset(0.0, 0.0)
        self.ready = self.drained = self.done = self.lost = False
        self.pongs: Queue[tuple[Ping, str]] = Queue()
        """Answers to pings, each with the boot it came from."""
        self.told = told


class Master:
    """Locust's master of one load's workers."""

    def __init__(self, plan: LoadPlan, harness: Upstream) -> None:
        self._plan = plan
        self._harness = harness
        self._nodes: dict[str, _Node] = {}
        self._all_ready, self._all_drained, self._all_done = Signal(), Signal(), Signal()
        self._start: Start | None = None
        self._stopping = False
        self._vessels = 0
        host, port = plan.listen or ("127.0.0.1", 0)
        secure(plan.token)
        self._environment = Environment(user_classes=[Declared], events=locust.events, host=plan.entry)
        load_listeners(plan.listeners)
        if plan.locustfile:
            self._environment.user_classes = user_classes(plan.locustfile, plan.user_classes)
        self._runner = self._environment.create_master_runner(host, port)
        self._join_at = f"{host}:{self._runner.server.port}"
        for name, hear in (("chaoskit_join", self._on_join), ("chaoskit_clock", self._on_clock)):
            self._runner.register_message(name, hear)
        self._runner.register_message("chaoskit_frame", self._on_frame)

    def serve(self) -> None:
        """Do what the harness says, to the end."""
        self._harness.tell(Ready(join=self._join_at))
        gevent.spawn(self._report_ready)
        gevent.spawn(self._watch)
        while (command := self._harness.commands.get()) is not None:
            if isinstance(command, Start):
                self._begin(command)
            elif isinstance(command, Lost):
                self._lose(next((n for n in self._nodes.values() if n.source == command.source), None), command.because)
            elif isinstance(command, Stop):
                self._end(command)
                break
        gevent.spawn(self._runner.quit).join(timeout=1.0)

    def _alive(self) -> list[_Node]:
        return [node for node in self._nodes.values() if not node.lost]

    # ------------------------------------------------------------------------------------------------------ joining

    def _on_join(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 - Locust calls by name
        client = msg.node_id
        if client in self._nodes:
            return
        taken = {node.index for node in self._nodes.values()}
        # Those that the harness launched say which they are; others take what is left, from the end.
        wanted = [int(msg.data["index"])] if msg.data["index"] >= 0 else range(self._plan.workers - 1, -1, -1)
        index = next((each for each in wanted if each not in taken), -1)
        if not 0 <= index < self._plan.workers:
            because = f"the load has its {self._plan.workers} workers already"
            self._runner.send_message("chaoskit_refuse", {"because": because}, client_id=client)
            return
        node = self._nodes[client] = _Node(client, index, Told(horizon(self._plan)))
        gevent.spawn(self._admit, node)

    def _admit(self, node: _Node) -> None:
        try:
            node.clock = self._measure_clock(node)
        except ValueError as error:
            log.warning("%s: %s", node.source, error)
            return  # whoever it is does not speak with us; the wait for all of them says who is missing
        work = {
            "plan": msgspec.msgpack.encode(self._plan),
            "owned": sorted(node.owned),
            "source": node.source,
            "ahead": node.clock.ahead,
        }
        self._runner.send_message("chaoskit_work", work, client_id=node.client)

    def _measure_clock(self, node: _Node, count: int = _PINGS) -> Offset:
        """The lead of a worker's clock over ours. Raises ValueError where it does not answer."""
        pings = []
        for _ in range(count):
            self._runner.send_message("chaoskit_clock", {"at": time.monotonic()}, client_id=node.client)
            try:
                ping, boot = node.pongs.get(timeout=1.0)
            except Empty:
                continue
            if boot == clock_id():
                return Offset(0.0, 0.0)  # the same clock
            pings.append(ping)
        return offset(pings)

    def _on_clock(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 - Locust calls by name
        if (node := self._nodes.get(msg.node_id)) is not None:
            node.pongs.put((Ping(msg.data["at"], msg.data["now"], time.monotonic()), msg.data["boot"]))

    def _report_ready(self) -> None:
        if self._all_ready.wait(_JOIN):
            self._harness.tell(Ready())
        else:
            count = sum(node.ready for node in self._nodes.values())
            because = f"{count} of {self._plan.workers} workers joined within {_JOIN:g} s"
            self._harness.tell(Failed(because=because))

    # ------------------------------------------------------------------------------------------------------ running

    def _begin(self, start: Start) -> None:
        self._start = start
        self._say(start)
        if self._plan.locustfile:
            planning = lambda: not self._stopping and time.monotonic() < start.t0 + start.duration  # noqa: E731
            gevent.spawn(lead, self._runner, self._plan.legs, start.t0, planning)
        else:
            self._spawn_users()

    def _spawn_users(self) -> None:
        """As many Locust users on each worker as the one with most has to live; the others wait for a life."""
        nodes = self._alive()
        users = len(nodes)
        if not self._plan.open:
            total = max(1, round(max(max(first, last) for _, _, first, last in self._plan.legs)))
            largest = max(len(node.owned) for node in nodes)
            users = len(nodes) * largest * -(-total // self._plan.workers)
        if users != self._vessels:
            self._vessels = users
            gevent.spawn(self._runner.start, users, users)

    def _report_clocks(self) -> None:
        """Say how well the clocks of other machines were known, in hindsight."""
        for node in self._alive():
            if not node.clock.uncertainty:
                continue
            with contextlib.suppress(ValueError):  # it does not answer any more, and will be missed for that
                uncertainty = drifted(node.clock, self._measure_clock(node, 3))
                text = f"the clock of {node.source} was known to within {uncertainty * 1000:.3g} ms"
                about = {"uncertainty": f"{uncertainty:.6f}", "source": node.source}
                self._emit([Event(at=time.monotonic(), source="load", kind="clock", text=text, about=about)])

    def _on_frame(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 - Locust calls by name
        node = self._nodes.get(msg.node_id)
        if node is None or node.lost:
            return  # its share is in other hands: what it says now would count twice
        for body in Frames().feed(msg.data["frame"]):
            report = read_report(body)
            if isinstance(report, Batch):
                for seen in report.observations:
                    if isinstance(seen, LoadSlot):
                        node.told.add(seen, time.monotonic())
                self._harness.pass_on(msg.data["frame"])
            elif isinstance(report, Ready):
                node.ready = True
                if sum(each.ready for each in self._nodes.values()) == self._plan.workers:
                    self._all_ready.set()
            elif isinstance(report, Drained):
                node.drained = True
            elif isinstance(report, Done):
                node.done = node.drained = True
            elif isinstance(report, Failed):
                self._harness.tell(report)
        self._look_at_ends()

    def _look_at_ends(self) -> None:
        nodes = self._alive()
        if self._start is None or not nodes:
            return
        if all(node.drained for node in nodes) and not self._all_drained.is_set():
            self._all_drained.set()
            self._harness.tell(Drained())
        if all(node.done for node in nodes):
            self._all_done.set()

    def _watch(self) -> None:
        """Notice workers that Locust misses."""
        while True:
            gevent.sleep(HEARTBEAT / 2)
            missing = {client.id for client in self._runner.clients.missing}
            for node in self._alive():
                gone = node.client in missing or (self._start is not None and node.client not in self._runner.clients)
                if gone and not node.done and not self._stopping:
                    self._lose(node, "its heartbeats stopped")

    # ------------------------------------------------------------------------------------------------- losing a worker

    def _lose(self, node: _Node | None, because: str) -> None:
        """Give a lost worker's share to the others, and account for what nobody sent."""
        if node is None or node.lost or node.done or self._stopping:
            return
        node.lost = True
        text = f"{node.source} was lost ({because})"
        self._emit(
            [Event(at=time.monotonic(), source="load", kind="worker_lost", text=text, about={"part": node.source})]
        )
        # It may live and only be slow: two senders of one share would be one too many.
        self._runner.send_message("chaoskit_refuse", {"because": "it was lost"}, client_id=node.client)
        client = self._runner.clients.pop(node.client, None)
        if client is not None and self._runner._users_dispatcher is not None:
            # Locust itself notices only when heartbeats are overdue.
            self._runner._users_dispatcher.remove_worker(client)
        others = self._alive()
        if not others:
            self._harness.tell(Failed(because=f"{text}, and it was the last one"))
            return
        now = time.monotonic()
        since = now + _TAKEOVER
        for number, share in enumerate(sorted(node.owned)):
            others[number % len(others)].owned.add(share)
        for other in others:
            other.drained = False
            own = {"owned": sorted(other.owned), "since": since + other.clock.ahead}
            self._runner.send_message("chaoskit_own", own, client_id=other.client)
        if self._start is not None:
            if self._plan.open:
                missing = unaccounted(self._plan, self._start, now, since, node.owned, node.told)
                self._emit([msgspec.structs.replace(slot, source=node.source) for slot in missing])
            if not self._plan.locustfile:
                self._vessels = 0
                self._spawn_users()

    # ------------------------------------------------------------------------------------------------------- the end

    def _end(self, stop: Stop) -> None:
        self._stopping = True
        self._report_clocks()
        if self._start is None:
            for node in self._alive():
                node.drained = node.done = True
        self._say(stop)
        if self._alive() and not all(node.done for node in self._alive()):
            self._all_done.wait(stop.grace + _STOPPED)
        silent = [node for node in self._alive() if not node.done]
        for node in silent:
            text = f"{node.source} did not answer: what it had not reported yet is not known"
            self._emit([Event(at=time.monotonic(), source="load", kind="load_cut", text=text)])
        self._harness.tell(Done())

    def _say(self, command: Command) -> None:
        for node in self._alive():
            self._runner.send_message("chaoskit_frame", {"frame": pack(command)}, client_id=node.client)

    def _emit(self, observations: list[Observation]) -> None:
        if observations:
            self._harness.tell(Batch(observations=observations))
