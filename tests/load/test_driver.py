"""The driver and a real worker process: what was planned is what was counted, whatever the target does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaoskit.errors import LoadError, UsageError
from chaoskit.load.driver import LoadDriver
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import Event, LoadSlot, MetricPoint, Observation, slot_start
from chaoskit.traffic import LoadSpec
from tests.load.conftest import PlainLauncher
from tests.load.servers import Peer, Server, polite, silent


class Load:
    """One load on a server, driven to its end."""

    def __init__(self, launcher: PlainLauncher, folder: Path, url: str, load: dict[str, Any], seed: int = 1) -> None:
        self.seen: list[Observation] = []
        load.setdefault("requests", [{"name": "r", "path": "/", "timeout": "1s"}])
        spec = LoadSpec.model_validate(load)
        self.driver = LoadDriver(spec, url, launcher, self.seen.append, seed, folder)
        self.driver.prepare()

    def start(self, duration: float) -> None:
        self.t0 = slot_start(time.monotonic() + 0.3)
        self.driver.start(self.t0, duration)

    def run(self, duration: float) -> LoadView:
        self.start(duration)
        time.sleep(self.t0 + duration - time.monotonic())
        self.driver.drain(3.0)
        self.driver.stop()
        return self.view()

    def view(self) -> LoadView:
        slots = [slot for slot in self.seen if isinstance(slot, LoadSlot)]
        return LoadView([(slot.at - self.t0, slot) for slot in slots], [(0.0, 100.0)])


Make = Callable[..., Load]


@pytest.fixture
def load(launcher: PlainLauncher, tmp_path: Path) -> Make:
    def make(url: str, *, seed: int = 1, **spec: Any) -> Load:
        return Load(launcher, tmp_path, url, spec, seed)

    return make


def test_an_open_load_sends_all_that_was_planned_and_none_early(load: Make) -> None:
    with Server(polite) as server:
        it = load(server.url, rate="200/s")
        view = it.run(2.0)
    assert view.requests == view.ok == 400
    assert len(server.requests) == 400
    assert sum(slot.ok for at, slot in view.entries if 0 <= at < 1) == 200
    assert view.percentile(0.5, of="send_lag") < 0.05
    names = {point.name for point in it.seen if isinstance(point, MetricPoint)}
    assert names == {"generator_cpu", "generator_loop_lag", "generator_in_flight"}
    assert {observation.source for observation in it.seen} == {"worker.1"}


def test_what_the_setup_captured_is_given_at_the_start(load: Make) -> None:
    with Server(polite) as server:
        requests = [{"path": "/", "headers": {"Authorization": "Bearer ${token}"}}]
        it = load(server.url, rate="50/s", requests=requests, data={"token": "setup"})
        it.t0 = slot_start(time.monotonic() + 0.3)
        it.driver.start(it.t0, 1.0, {"token": "abc"})
        time.sleep(it.t0 + 1.0 - time.monotonic())
        it.driver.drain(2.0)
        it.driver.stop()
        assert len(server.requests) == it.view().ok == 50
        assert all(b"Authorization: Bearer abc\r\n" in data for data in server.requests)


def test_what_nobody_gave_is_a_failure(load: Make) -> None:
    with Server(polite) as server:
        view = load(server.url, rate="50/s", requests=[{"path": "/${x}"}], data={"x": "setup"}).run(1.0)
    assert dict(view.causes) == {"no value for x": 50}


def test_the_same_seed_sends_the_same_mix(load: Make) -> None:
    requests = [{"path": "/a"}, {"path": "/b", "weight": 2}]
    mixes = []
    for seed in (5, 5, 6):
        with Server(polite) as server:
            load(server.url, seed=seed, rate="100/s", arrivals="poisson", requests=requests).run(1.0)
            mixes.append(sorted(data.split(b"\r\n\r\n")[0] for data in server.requests))
    a, b, c = ([line.split(b"Host: ")[0] for line in mix] for mix in mixes)
    assert a == b
    traces = [[line.split(b"traceparent: ")[1] for line in mix] for mix in mixes]
    assert sorted(traces[0]) == sorted(traces[1])
    assert a != c


def test_a_server_that_stalls_is_seen_in_full(load: Make) -> None:
    """Held for 2 s of 10 at 100/s: p95 is 1.5 s, p99 1.9 s (and what a busy machine adds)."""
    began = time.monotonic()
    hold: list[float] = [0.0, 0.0]

    def script(peer: Peer) -> None:
        while peer.request():
            now = time.monotonic()
            if hold[0] <= now < hold[1]:
                time.sleep(hold[1] - now)
            peer.answer()

    with Server(script) as server:
        it = load(server.url, rate="100/s", requests=[{"path": "/", "timeout": "5s"}])
        it.start(10.0)
        hold[:] = [it.t0 + 4.0, it.t0 + 6.0]
        time.sleep(it.t0 + 10.0 - time.monotonic())
        it.driver.drain(3.0)
        it.driver.stop()
        view = it.view()
    assert view.ok == 1000
    assert view.percentile(0.95) == pytest.approx(1.6, abs=0.3)
    assert view.percentile(0.99) == pytest.approx(2.0, abs=0.3)
    assert time.monotonic() - began < 30


def test_what_never_ends_is_unfinished_and_stopping_is_quick(load: Make) -> None:
    with Server(silent) as server:
        it = load(server.url, rate="50/s", requests=[{"path": "/", "timeout": "30s"}])
        it.start(30.0)
        time.sleep(it.t0 + 1.0 - time.monotonic())
        began = time.monotonic()
        it.driver.stop()
        assert time.monotonic() - began < 2.0
        view = it.view()
    assert view.unfinished == view.requests >= 50
    assert not it.driver.alive()


def test_a_grace_lets_what_is_in_flight_end(load: Make) -> None:
    def slow(peer: Peer) -> None:
        while peer.request():
            time.sleep(0.4)
            peer.answer()

    with Server(slow) as server:
        it = load(server.url, rate="20/s")
        it.start(30.0)
        time.sleep(it.t0 + 1.0 - time.monotonic())
        it.driver.stop(grace=1.0)
        assert it.view().unfinished == 0
        assert it.view().ok == it.view().requests >= 20


def test_above_the_cap_sends_are_dropped_and_blamed_on_the_target(load: Make) -> None:
    with Server(silent) as server:
        it = load(server.url, rate="100/s", max_in_flight=20, requests=[{"path": "/", "timeout": "30s"}])
        it.start(1.0)
        time.sleep(it.t0 + 1.1 - time.monotonic())
        it.driver.stop()
        view = it.view()
    assert (view.unfinished, view.dropped, view.dropped_below_cap) == (20, 80, 0)


def test_a_worker_that_was_stopped_for_a_while_blames_itself(load: Make, launcher: PlainLauncher) -> None:
    import signal

    with Server(polite) as server:
        it = load(server.url, rate="100/s")
        it.start(4.0)
        time.sleep(it.t0 + 0.5 - time.monotonic())
        launcher.children[0].signal(signal.SIGSTOP)
        time.sleep(2.0)
        launcher.children[0].signal(signal.SIGCONT)
        time.sleep(it.t0 + 4.0 - time.monotonic())
        it.driver.drain(2.0)
        it.driver.stop()
        view = it.view()
    assert view.requests == 400
    assert 60 <= view.dropped_below_cap == view.dropped <= 140
    assert view.percentile(0.99, of="send_lag") > 0.5


def test_closed_users_wait_for_their_answers(load: Make) -> None:
    def slow(peer: Peer) -> None:
        while peer.request():
            time.sleep(0.1)
            peer.answer()

    with Server(slow) as server:
        view = load(server.url, users=4, think="100ms").run(2.0)
    assert 30 <= view.ok <= 44
    assert view.percentile(1.0, of="send_lag") == 0
    assert server.connections <= 4


def test_pacing_spaces_a_users_requests(load: Make) -> None:
    with Server(polite) as server:
        view = load(server.url, users=2, pacing="250ms").run(2.0)
    assert 14 <= view.ok <= 18


def test_users_come_and_go_with_the_stages(load: Make) -> None:
    stages = [{"users": 1, "for": "1s"}, {"users": 10, "for": "1s"}, {"users": 2, "for": "1s"}]
    with Server(polite) as server:
        view = load(server.url, stages=stages, think="50ms").run(3.0)
    seconds = [sum(slot.ok for at, slot in view.entries if second <= at < second + 1) for second in range(3)]
    assert seconds[1] > 5 * seconds[0]
    assert seconds[2] < seconds[1] / 3


def test_users_of_a_refused_port_do_not_storm(load: Make) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    view = load(f"http://127.0.0.1:{port}", users=20).run(1.0)
    assert view.failed == view.requests
    assert 100 <= view.requests <= 260
    assert dict(view.causes) == {"refused": view.requests}


LOCUSTFILE = """
from locust import FastHttpUser, HttpUser, constant, events, task

heard = []

@events.request.add_listener
def on_request(name, exception, **_):
    heard.append((name, str(exception)))

@events.test_stop.add_listener
def on_stop(environment, **_):
    open("heard.txt", "w").write(f"{len(heard)} {environment.stats.total.num_requests}")

class Slow(HttpUser):
    wait_time = constant(0.02)
    @task
    def look(self):
        self.client.get("/look")

class Fast(FastHttpUser):
    wait_time = constant(0.02)
    @task
    def buy(self):
        with self.client.post("/buy", json={"n": 1}, catch_response=True) as answer:
            answer.failure("sold out")
    @task
    def elsewhere(self):
        self.client.get("http://192.0.2.1/", name="elsewhere")
"""


def test_users_of_a_locustfile_are_recorded_traced_and_kept_here(
    load: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("locustfile.py").write_text(LOCUSTFILE)
    with Server(polite) as server:
        it = load(server.url, users=4, locustfile="locustfile.py", requests=[])
        view = it.run(2.0)
    assert {slot.name for _, slot in view.entries} == {"/look", "/buy", "elsewhere"}
    assert set(view.causes) == {"check: sold out", "host not allowed"}
    assert all(b"traceparent: 00-" in data for data in server.requests)
    heard, counted = Path("heard.txt").read_text().split()
    assert int(heard) == int(counted) == view.requests


def test_what_a_locustfiles_users_wait_for_at_the_end_is_unfinished(
    load: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("locustfile.py").write_text(LOCUSTFILE)
    with Server(silent) as server:
        it = load(server.url, users=4, locustfile="locustfile.py", user_classes=["Slow"], requests=[])
        it.start(1.0)
        time.sleep(it.t0 + 1.0 - time.monotonic())
        began = time.monotonic()
        it.driver.stop()
        assert time.monotonic() - began < 2.0
    assert it.view().unfinished == 4


def test_a_listener_written_for_locust_hears_declared_requests(
    load: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("listener.py").write_text(
        "import gevent\nfrom locust import events\nheard = []\n"
        "@events.request.add_listener\n"
        "def hear(request_type, name, response_time, response_length, response, exception, start_time, url, **_):\n"
        "    gevent.sleep(0.001)\n"
        "    heard.append((request_type, name, response.status_code, response.text, response_length, str(exception)))\n"
        "@events.test_stop.add_listener\n"
        "def stop(**_):\n"
        "    open('heard.txt', 'w').write(repr((len(heard), heard[0])))\n"
    )
    with Server(polite) as server:
        request = {"name": "r", "method": "POST", "path": "/x", "expect": 201}
        view = load(server.url, rate="50/s", listeners=["listener.py"], requests=[request]).run(1.0)
    assert view.failed == 50
    assert Path("heard.txt").read_text() == repr((50, ("POST", "r", 200, "ok", 2, "status 200")))


def test_a_worker_that_cannot_start_says_why(launcher: PlainLauncher, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise RuntimeError('no such thing')\n")
    spec = LoadSpec.model_validate({"users": 1, "locustfile": "bad.py"})
    driver = LoadDriver(spec, "http://127.0.0.1:1", launcher, lambda _: None, 1, tmp_path, root=tmp_path)
    with pytest.raises(LoadError, match="no such thing") as caught:
        driver.prepare()
    assert "RuntimeError" in caught.value.detail
    driver.stop()


def test_a_worker_that_dies_is_noticed(load: Make, launcher: PlainLauncher) -> None:
    with Server(polite) as server:
        it = load(server.url, rate="10/s")
        it.start(10.0)
        assert it.driver.alive()
        launcher.children[0].signal(9)
        until = time.monotonic() + 2
        while it.driver.alive() and time.monotonic() < until:
            time.sleep(0.01)
        assert not it.driver.alive()
        it.driver.stop()


def test_a_worker_that_hangs_is_ended_in_time(load: Make, launcher: PlainLauncher) -> None:
    import signal

    with Server(polite) as server:
        it = load(server.url, rate="10/s")
        it.start(10.0)
        launcher.children[0].signal(signal.SIGSTOP)
        began = time.monotonic()
        it.driver.stop()
        assert time.monotonic() - began < 2.5
        assert [event.kind for event in it.seen if isinstance(event, Event)] == ["load_cut"]


def test_a_load_that_was_never_prepared_can_be_stopped(launcher: PlainLauncher, tmp_path: Path) -> None:
    spec = LoadSpec.model_validate({"users": 1, "requests": [{"path": "/"}]})
    driver = LoadDriver(spec, "http://127.0.0.1:1", launcher, lambda _: None, 1, tmp_path)
    driver.stop()
    driver.stop()
    assert not driver.alive()


@pytest.mark.parametrize(
    ("load_", "message"),
    [
        ({"data": {"x": {"csv": "missing.csv"}}}, "not there"),
        ({"requests": [{"path": "/${env.NOT_SET_ANYWHERE}"}]}, "NOT_SET_ANYWHERE is not set"),
        ({"listeners": ["missing.py"]}, "not there"),
    ],
)
def test_what_a_load_names_must_be_there(
    launcher: PlainLauncher, tmp_path: Path, load_: dict[str, Any], message: str
) -> None:
    spec = LoadSpec.model_validate({"users": 1, "requests": [{"path": "/"}], **load_})
    with pytest.raises(UsageError, match=message):
        LoadDriver(spec, "http://127.0.0.1:1", launcher, lambda _: None, 1, tmp_path)


def test_the_harness_side_imports_neither_locust_nor_gevent() -> None:
    code = "import sys, chaoskit.load.driver; print([m for m in ('locust', 'gevent', 'httptools') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
