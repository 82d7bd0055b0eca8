"""Names in the network of a run's containers: nobody's is somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.deployers.docker import Docker
from chaoskit.deployers.docker_place import ContainerPlace
from chaoskit.errors import DeployError
from tests.deployers.conftest import Stood, target


def refused(folder: Path, *services: str) -> list[str]:
    """Of these services (`back*2`: two replicas)."""
    written = {}
    for service in services:
        name, _, replicas = service.partition("*")
        written[name] = {"run": "x", "replicas": int(replicas or 1)}
    return [said.partition(" ")[0] for said in Docker.refuses(target(folder, written))]


@pytest.mark.parametrize(
    ("services", "said"),
    [
        (["proxy", "toxiproxy", "back*2", "back-3"], []),
        (["back*2", "back-1"], ["back-1"]),
        (["back-1", "back*2"], ["back.1"]),
        (["localhost"], ["localhost"]),
        (["web", "chaoskit-proxy", "chaoskit-toxiproxy"], ["chaoskit-proxy", "chaoskit-toxiproxy"]),
    ],
)
def test_two_of_one_name_are_refused(tmp_path: Path, services: list[str], said: list[str]) -> None:
    assert refused(tmp_path, *services) == said


def test_they_are_refused_before_an_engine_is_asked(
    tmp_path: Path, stood: Stood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(DeployError, match=r"back-1 would be called back-1 .* back\.1 is called so"):
        Docker().prepare(target(tmp_path, {"back": {"run": "x", "replicas": 2}, "back-1": {"run": "x"}}), stood.scene())


def test_servers_for_adopted_replicas_have_names_of_their_own() -> None:
    """A callee's name cannot hold a dot but before its number."""
    assert ContainerPlace.host("embedded/pay.1") != ContainerPlace.host("embedded/pay-1")
