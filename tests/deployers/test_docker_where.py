"""Which engine is meant, from an environment and a home that are made up; and how it is spoken to."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker  # noqa: F401 - who is another user for a while may not be able to read it
import pytest

from chaoskit.deployers.docker_engine import Engine, is_here
from chaoskit.deployers.docker_where import Where, find_engine
from chaoskit.errors import MissingPart

NOBODY = 65534


def context(home: Path, name: str, url: str, *files: str, unverified: bool = False) -> Path:
    """A context as `docker context create` lays it down; returns the folder of its TLS files."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    meta, tls = (home / ".docker/contexts" / part / folder for part in ("meta", "tls"))
    meta.mkdir(parents=True)
    endpoint = {"Host": url, "SkipTLSVerify": unverified}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    for file in files:
        (tls / "docker").mkdir(parents=True, exist_ok=True)
        (tls / "docker" / file).write_text("")
    return tls / "docker"


def test_docker_host_comes_first_with_its_tls(tmp_path: Path) -> None:
    context(tmp_path, "far", "tcp://far:2376")
    env = {"DOCKER_HOST": "tcp://here:2376", "DOCKER_CONTEXT": "far"}
    assert find_engine(env, tmp_path) == Where(url="tcp://here:2376")
    found = find_engine(env | {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}, tmp_path)
    ca, cert, key = (str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key"))
    assert found == Where(url="tcp://here:2376", tls=True, ca=ca, cert=cert, key=key)
    found = find_engine(env | {"DOCKER_TLS_VERIFY": "1"}, tmp_path)
    assert found.tls
    assert found.ca == str(tmp_path / ".docker/ca.pem")
    assert not find_engine(env | {"DOCKER_CERT_PATH": "/certs"}, tmp_path).verify


@pytest.mark.parametrize("chosen_by", ["environment", "file"])
def test_a_context_is_taken_with_its_tls(tmp_path: Path, chosen_by: str) -> None:
    tls = context(tmp_path, "secure", "tcp://far:2376", "ca.pem", "cert.pem", "key.pem")
    env = {"DOCKER_CONTEXT": "secure"} if chosen_by == "environment" else {}
    if chosen_by == "file":
        (tmp_path / ".docker/config.json").write_text('{"currentContext": "secure", "auths": {}}')
    ca, cert, key = (str(tls / f"{name}.pem") for name in ("ca", "cert", "key"))
    assert find_engine(env, tmp_path) == Where(url="tcp://far:2376", tls=True, ca=ca, cert=cert, key=key)


def test_a_context_may_have_less_of_tls_or_none(tmp_path: Path) -> None:
    tls = context(tmp_path, "authority", "tcp://a:2376", "ca.pem")
    context(tmp_path, "trusting", "tcp://b:2376", unverified=True)
    context(tmp_path, "plain", "unix:///run/user/1/docker.sock")
    found = {name: find_engine({"DOCKER_CONTEXT": name}, tmp_path) for name in ("authority", "trusting", "plain")}
    assert found == {
        "authority": Where(url="tcp://a:2376", tls=True, ca=str(tls / "ca.pem")),
        "trusting": Where(url="tcp://b:2376", tls=True, verify=False),
        "plain": Where(url="unix:///run/user/1/docker.sock"),
    }


def test_a_context_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="there is no Docker context 'gone'") as caught:
        find_engine({"DOCKER_CONTEXT": "gone"}, tmp_path)
    assert "docker context ls" in caught.value.hint


@pytest.mark.parametrize("config", ["", "not json", '{"currentContext": "default"}'])
def test_without_a_context_it_is_a_socket_that_is_there(tmp_path: Path, config: str) -> None:
    (tmp_path / ".docker").mkdir()
    if config:
        (tmp_path / ".docker/config.json").write_text(config)
    (tmp_path / "docker.sock").touch()
    found = find_engine({"XDG_RUNTIME_DIR": str(tmp_path)}, tmp_path)
    assert found.url in ("unix:///var/run/docker.sock", f"unix://{tmp_path}/docker.sock")
    assert not found.tls


def test_a_journal_keeps_what_tls_takes_and_may_hold_a_mere_url() -> None:
    secure = Where(url="tcp://far:2376", tls=True, ca="/ca.pem", verify=False)
    assert Where.read(json.loads(json.dumps(secure.written))) == secure
    assert Where(url="unix:///x.sock").written == "unix:///x.sock"
    assert Where.read("unix:///x.sock") == Where(url="unix:///x.sock")


def test_an_engine_of_a_context_with_tls_is_greeted_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin that drops it greets with a plain request."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hear() -> None:
            for _ in range(2):
                taken, _ = server.accept()
                with taken:
                    got.append(taken.recv(5))

        thread = threading.Thread(target=hear, daemon=True)
        thread.start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        context(tmp_path, "trusting", url, unverified=True)
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.setenv("DOCKER_CONTEXT", "trusting")
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
        for written in ("", url):
            with pytest.raises(MissingPart, match="no Docker engine answers"):
                Engine(written)
        thread.join(5)
    handshake = b"\x16\x03"
    assert [greeting.startswith(handshake) for greeting in got] == [True, False]
    assert got[1] == b"GET /"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything; nobody may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


def test_an_engine_that_we_may_not_talk_to_is_told_apart_from_none() -> None:
    with socket.socket(socket.AF_UNIX) as server:
        path = Path(f"/tmp/chaoskit-{os.getpid()}.sock")  # not in tmp_path: nobody must get as far as the socket
        server.bind(str(path))
        server.listen()
        path.chmod(0o600 if os.geteuid() == 0 else 0)
        try:
            with as_nobody(), pytest.raises(MissingPart, match=f"no permission to talk .* at unix://{path}") as caught:
                Engine(f"unix://{path}")
        finally:
            path.unlink()
    assert "group" in caught.value.hint
    assert caught.value.exit_code == 4


IDENT = "5f1d" * 16


@pytest.mark.parametrize(
    ("cgroup", "mounted", "here"),
    [
        (f"0::/system.slice/docker-{IDENT}.scope\n", "", True),
        ("0::/system.slice/chaoskit-cpu-back\n", f"71 60 8:1 /docker/containers/{IDENT}/hosts /etc/hosts rw", True),
        ("0::/init.scope\n", "22 1 8:1 / / rw", False),
    ],
    ids=["in its own cgroup", "moved into one of ours", "another machine's container"],
)
def test_a_containers_process_is_known_also_when_a_limit_has_moved_it(
    tmp_path: Path, cgroup: str, mounted: str, here: bool
) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text(cgroup)
    (tmp_path / "proc/7/mountinfo").write_text(mounted)
    assert is_here(7, IDENT, root=tmp_path) == here
    assert not is_here(8, IDENT, root=tmp_path)
