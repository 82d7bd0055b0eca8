"""Several workers: one load, split and merged exactly; a lost one's share goes to the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from chaoskit.interfaces import Address
from chaoskit.load.arrivals import arrivals
from chaoskit.load.driver import LoadDriver
from chaoskit.load.losses import Told, horizon, unaccounted
from chaoskit.load.plan import load_plan
from chaoskit.load.wire import LoadPlan, Start
from chaoskit.model.observation import Event, LoadSlot, Observation
from chaoskit.traffic import LoadSpec
from tests.load.conftest import PlainLauncher
from tests.load.servers import Server, polite
from tests.load.test_driver import LOCUSTFILE, Load


def trace_ids(server: Server) -> Counter[bytes]:
    return Counter(data.split(b"traceparent: 00-")[1][:32] for data in server.requests)


def test_two_workers_send_what_one_would(launcher: PlainLauncher, tmp_path: Path) -> None:
    sent = []
    for workers in (1, 2):
        with Server(polite) as server:
            spec = {"rate": "100/s", "workers": workers, "requests": [{"path": "/a"}, {"path": "/b"}]}
            it = Load(launcher, tmp_path, server.url, spec)
            view = it.run(2.0)
            sent.append(trace_ids(server))
        assert view.requests == view.ok == 200
        assert sum(sent[-1].values()) == 200
        assert {slot.source for _, slot in view.entries} == {f"worker.{n}" for n in range(1, workers + 1)}
    assert sent[0] == sent[1]


def test_users_are_shared_out(launcher: PlainLauncher, tmp_path: Path) -> None:
    with Server(polite) as server:
        it = Load(launcher, tmp_path, server.url, {"users": 5, "workers": 2, "think": "100ms"})
        view = it.run(2.0)
        assert server.connections == 5
    assert view.ok == view.requests > 60


def test_a_locustfiles_users_are_shared_out(
    launcher: PlainLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("locustfile.py").write_text(LOCUSTFILE)
    load = {"users": 4, "workers": 2, "locustfile": "locustfile.py", "user_classes": ["Fast"], "requests": []}
    with Server(polite) as server:
        view = Load(launcher, tmp_path, server.url, load).run(2.0)
    assert {slot.source for _, slot in view.entries} == {"worker.1", "worker.2"}
    assert view.requests > 50
    assert max(trace_ids(server).values()) == 1


def test_a_lost_workers_share_goes_to_the_other(launcher: PlainLauncher, tmp_path: Path) -> None:
    with Server(polite) as server:
        it = Load(launcher, tmp_path, server.url, {"rate": "100/s", "workers": 2})
        it.start(4.0)
        time.sleep(it.t0 + 1.0 - time.monotonic())
        launcher.children[2].signal(9)
        while time.monotonic() < it.t0 + 4.0:
            assert it.driver.alive()
            time.sleep(0.02)
        it.driver.drain(3.0)
        it.driver.stop()
        view = it.view()
        assert max(trace_ids(server).values()) == 1
    assert [event.kind for event in it.seen if isinstance(event, Event)] == ["worker_lost"]
    assert view.requests == 400
    assert 0 < view.dropped_below_cap == view.dropped < 100
    assert sum(slot.ok for at, slot in view.entries if 2.5 <= at < 3.5) == 100


def test_users_of_a_lost_worker_live_on_in_the_other(launcher: PlainLauncher, tmp_path: Path) -> None:
    with Server(polite) as server:
        it = Load(launcher, tmp_path, server.url, {"users": 6, "workers": 2, "think": "100ms"})
        it.start(4.0)
        time.sleep(it.t0 + 1.0 - time.monotonic())
        launcher.children[1].signal(9)
        while time.monotonic() < it.t0 + 4.0:
            assert it.driver.alive()
            time.sleep(0.02)
        it.driver.stop(grace=0.5)
        view = it.view()
    before = sum(slot.ok for at, slot in view.entries if 0.2 <= at < 1.0) / 0.8
    after = sum(slot.ok for at, slot in view.entries if 2.5 <= at < 3.9) / 1.4
    assert after == pytest.approx(before, rel=0.35)


def test_the_last_worker_lost_is_the_end(launcher: PlainLauncher, tmp_path: Path) -> None:
    with Server(polite) as server:
        it = Load(launcher, tmp_path, server.url, {"rate": "10/s", "workers": 2})
        it.start(10.0)
        for child in launcher.children[1:]:
            child.signal(9)
        until = time.monotonic() + 3
        while it.driver.alive() and time.monotonic() < until:
            time.sleep(0.02)
        assert not it.driver.alive()
        assert "the last one" in it.driver.failure
        it.driver.stop()


def test_workers_from_elsewhere_join_with_the_token_only(launcher: PlainLauncher, tmp_path: Path) -> None:
    spec = LoadSpec.model_validate({"rate": "50/s", "requests": [{"path": "/"}]})
    seen: list[Observation] = []
    with Server(polite) as server:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        where = Address("127.0.0.1", port)
        command = [sys.executable, "-m", "chaoskit.load.worker", "--join", str(where)]
        strangers, friends = (
            subprocess.Popen(command, env={**os.environ, "CHAOSKIT_LOAD_TOKEN": token}, stderr=subprocess.DEVNULL)
            for token in ("wrong", "s3cret")
        )
        try:
            driver = LoadDriver(
                spec, server.url, launcher, seen.append, 1, tmp_path, listen=where, away=1, token="s3cret"
            )
            driver.prepare()
            t0 = int(time.monotonic() * 10 + 5) / 10
            driver.start(t0, 1.0)
            driver.drain(3.0)
            driver.stop()
            assert friends.wait(5) == 0
            assert strangers.poll() is None  # still trying: nobody answers it
        finally:
            for process in (strangers, friends):
                process.kill()
                process.wait()
    slots = [slot for slot in seen if isinstance(slot, LoadSlot)]
    assert sum(slot.ok for slot in slots) == 50
    assert {slot.source for slot in slots} == {"worker.1", "worker.2"}


def in_another_time(*command: str) -> list[str]:
    """A command whose CLOCK_MONOTONIC is 5000 s ahead, as on another machine; skips where that cannot be had."""
    prefix = ["unshare", "--time", "--monotonic", "5000", "--fork", "--kill-child"]
    try:
        subprocess.run([*prefix, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no time namespace here: {error}")
    return [*prefix, *command]


def test_a_worker_with_another_clock_is_in_step(launcher: PlainLauncher, tmp_path: Path) -> None:
    import socket

    spec = LoadSpec.model_validate({"rate": "50/s", "requests": [{"path": "/"}]})
    seen: list[Observation] = []
    with Server(polite) as server:
        with socket.create_server(("127.0.0.1", 0)) as free:
            where = Address("127.0.0.1", free.getsockname()[1])
        command = in_another_time(sys.executable, "-m", "chaoskit.load.worker", "--join", str(where))
        env = {**os.environ, "CHAOSKIT_LOAD_TOKEN": "s3cret"}
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            driver = LoadDriver(
                spec, server.url, launcher, seen.append, 1, tmp_path, listen=where, away=1, token="s3cret"
            )
            driver.prepare()
            t0 = int(time.monotonic() * 10 + 5) / 10
            driver.start(t0, 1.0)
            driver.drain(3.0)
            driver.stop()
        finally:
            process.kill()
            process.wait()
    slots = [slot for slot in seen if isinstance(slot, LoadSlot)]
    planned = Counter[float]()
    for slot in slots:
        planned[round(slot.at - t0, 1)] += slot.ok
    assert {slot.source for slot in slots} == {"worker.1", "worker.2"}
    assert planned == Counter({tenth / 10: 5 for tenth in range(10)})
    (clock,) = [event for event in seen if isinstance(event, Event) and event.kind == "clock"]
    assert 0 < float(clock.about["uncertainty"]) < 0.1


def test_what_a_lost_worker_did_not_report_is_dropped_and_nothing_else() -> None:
    spec = LoadSpec.model_validate({"rate": "100/s", "workers": 2, "requests": [{"name": "a", "path": "/"}]})
    plan = load_plan(spec, "http://127.0.0.1:1", seed=1)
    told = told_until(plan, 51.0)
    slots = list(unaccounted(plan, Start(t0=50.0, duration=10.0), 51.2, 51.5, {1}, told))
    assert sum(slot.dropped_below_cap for slot in slots) == 25
    assert {slot.at for slot in slots} == {51.0, 51.1, 51.2, 51.3, 51.4}


def told_until(plan: LoadPlan, end: float) -> Told:
    """What worker 1 of two that began at 50 has told of 100/s planned before `end`, a tenth of a second later."""
    told = Told(horizon(plan))
    for arrival in arrivals(plan.legs, [1.0]):
        if 50 + arrival.at >= end:
            return told
        if arrival.number % 2 == 1:
            at = int((50 + arrival.at) * 10 + 1e-6) / 10
            told.add(LoadSlot(at=at, ended=at, name="a", ok=1), at + 0.1)
    return told


def test_what_a_worker_told_is_kept_for_as_long_as_it_matters() -> None:
    spec = LoadSpec.model_validate({"rate": "100/s", "workers": 2, "requests": [{"name": "a", "path": "/"}]})
    plan = load_plan(spec, "http://127.0.0.1:1", seed=1)
    assert horizon(plan) > spec.timeout + 10
    told = told_until(plan, 400.0)
    assert len(told) < 2 * horizon(plan) * 10 + 10
    slots = list(unaccounted(plan, Start(t0=50.0, duration=1000.0), 402.0, 402.3, {1}, told))
    assert {slot.at for slot in slots} == {round(400 + n / 10, 1) for n in range(23)}
    assert sum(slot.dropped for slot in slots) == 115


def test_a_loads_horizon_is_the_longest_that_one_arrival_can_take() -> None:
    once = {"path": "/", "once": True, "timeout": "3s"}
    steps = {"path": "/", "timeout": "1s", "then": [{"path": "/", "timeout": "2s"}, {"path": "/", "timeout": "4s"}]}
    spec = LoadSpec.model_validate({"rate": "1/s", "requests": [once, steps, {"path": "/", "timeout": "5s"}]})
    alone = LoadSpec.model_validate({"rate": "1/s", "requests": [{"path": "/", "timeout": "1s"}]})
    where = "http://127.0.0.1:1"
    assert horizon(load_plan(spec, where, seed=1)) - horizon(load_plan(alone, where, seed=1)) == pytest.approx(9)
