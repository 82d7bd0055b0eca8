"""Which containers a target means and which names move, on an engine that is only told of: nothing is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.deployers.adopted import port_of
from chaoskit.deployers.adoption import edges_within, find_containers, moves
from chaoskit.deployers.docker_engine import Endpoint, Found
from chaoskit.deployers.external import External
from chaoskit.errors import DeployError
from chaoskit.target import ServiceSpec, Target
from tests.deployers.conftest import Stood, target


def container(service: str, number: int = 1, *networks: str, name: str = "", **changes: Any) -> Found:
    """One of compose project `p`, in networks where its service's name is an alias."""
    labels = {"com.docker.compose.project": "p", "com.docker.compose.service": service}
    settings: dict[str, Any] = {
        "ident": f"{service}{number}".ljust(64, "0"),
        "name": name or f"p-{service}-{number}",
        "running": True,
        "paused": False,
        "labels": {**labels, "com.docker.compose.container-number": str(number)},
        "endpoints": tuple(Endpoint(network=one, aliases=(service,)) for one in networks or ("p_default",)),
        "exposed": (80,),
        "published": {},
    }
    return Found(**{**settings, **changes})


class Told:
    """An engine with these containers."""

    def __init__(self, *containers: Found) -> None:
        self.containers = containers

    def inspect(self, name: str) -> Found | None:
        return next((one for one in self.containers if name in (one.name, one.ident)), None)

    def find(self, label: str = "", network: str = "") -> list[Found]:
        key, _, value = label.partition("=")
        return [
            one
            for one in self.containers
            if (not label or (key in one.labels and value in ("", one.labels[key])))
            and (not network or network in [place.network for place in one.endpoints])
        ]


def shape(tmp_path: Path, **services: Any) -> Target:
    """web -> api -> db, adopted as compose project `p`, changed by `services`."""
    whole = {
        "web": {"needs": {"API": "http://{api}"}},
        "api": {"needs": {"DB": "tcp://{db}"}},
        "db": {},
    }
    return target(tmp_path, {**whole, **services}).model_copy(
        update={
            "adopt": Target.model_validate({"name": "x", "entry": "x", "services": {}, "adopt": {"compose": "p"}}).adopt
        }
    )


ALL = (container("web"), container("api"), container("db"))


def test_services_of_a_project_are_found_by_their_names_and_replicas_by_their_numbers(tmp_path: Path) -> None:
    engine = Told(container("web"), container("api", 2), container("api", 1), container("db"), container("other"))
    found = find_containers(engine, shape(tmp_path, api={"replicas": 2}))  # type: ignore[arg-type]  # all it asks for
    assert {name: one.name for name, one in found.items()} == {
        "web": "p-web-1", "api.1": "p-api-1", "api.2": "p-api-2", "db": "p-db-1"
    }  # fmt: skip


def test_a_service_can_be_another_service_a_container_or_what_bears_a_label(tmp_path: Path) -> None:
    mine = container("mine", name="alone", labels={"app": "db"})
    engine = Told(container("web"), container("backend"), mine)
    services = {"api": {"adopt": {"service": "backend"}}, "db": {"adopt": {"label": "app=db"}}}
    assert find_containers(engine, shape(tmp_path, **services))["db"].name == "alone"  # type: ignore[arg-type]  # the same
    services["db"] = {"adopt": {"container": "alone"}}
    found = find_containers(engine, shape(tmp_path, **services))  # type: ignore[arg-type]  # the same
    assert (found["api"].name, found["db"].name) == ("p-backend-1", "alone")


@pytest.mark.parametrize(
    ("containers", "services", "said", "hint"),
    [
        ((), {}, "there is no compose project p", "no project runs here"),
        ((container("x", labels={"com.docker.compose.project": "q"}),), {}, "no compose project p", "there are: q"),
        (ALL[:2], {}, "compose project p has no service db", "it has api, web"),
        (ALL, {"db": {"adopt": {"container": "gone"}}}, "there is no container gone", "docker ps"),
        (ALL, {"db": {"adopt": {"label": "app=db"}}}, "there is no container with label app=db", ""),
        ((*ALL, container("db", 2)), {}, "is 2 containers (p-db-1, p-db-2); db has 1 replicas", "replicas: 2"),
        ((*ALL[:2], container("db", running=False)), {}, "db: container p-db-1 does not run", "docker start p-db-1"),
        ((*ALL[:2], container("db", paused=True)), {}, "p-db-1 is paused", ""),
        ((*ALL[:2], container("db", 1, "host")), {}, "uses the host's network", ""),
    ],
)
def test_a_container_that_is_not_there_as_it_should_be_is_told(
    tmp_path: Path, containers: tuple[Found, ...], services: dict[str, Any], said: str, hint: str
) -> None:
    with pytest.raises(DeployError) as caught:
        find_containers(Told(*containers), shape(tmp_path, **services))  # type: ignore[arg-type]  # all it asks for
    assert said in caught.value.message and hint in caught.value.hint


def moved(tmp_path: Path, containers: tuple[Found, ...], blast: tuple[str, ...] | None, **services: Any) -> list[Any]:
    engine, made = Told(*containers), shape(tmp_path, **services)
    found = find_containers(engine, made)  # type: ignore[arg-type]  # all it asks for
    return moves(engine, made, found, edges_within(made.topology(), blast))  # type: ignore[arg-type]  # the same


def test_only_edges_that_the_blast_radius_names_move(tmp_path: Path) -> None:
    assert moved(tmp_path, ALL, ()) == []
    assert moved(tmp_path, ALL, ("db", "load->web")) == []
    (one,) = moved(tmp_path, ALL, ("web->api",))
    assert (one.edge.name, one.alias, one.networks, one.port) == ("web->api", "api", ("p_default",), 80)
    assert [each.edge.name for each in moved(tmp_path, ALL, None)] == ["web->api", "api->db"]


def test_two_callers_of_one_name_are_told_apart_by_their_addresses(tmp_path: Path) -> None:
    def at(service: str, address: str) -> Found:
        return container(service, endpoints=(Endpoint(network="p_default", aliases=(service,), address=address),))

    containers = (at("web", "172.18.0.2"), at("api", "172.18.0.3"), at("db", "172.18.0.4"))
    both = {"web": {"needs": {"API": "http://{api}", "DB": "tcp://{db}"}}}
    made = moved(tmp_path, containers, ("web->db", "api->db"), **both)
    assert {one.edge.name: one.addresses_of(one.caller) for one in made} == {
        "api->db": ("172.18.0.3",), "web->db": ("172.18.0.2",)
    }  # fmt: skip
    assert [one.edge.name for one in moved(tmp_path, containers, ("api->db",), **both)] == ["api->db"]


def test_replicas_that_share_a_name_have_a_proxy_each(tmp_path: Path) -> None:
    services: dict[str, Any] = {"api": {"needs": {"DB": "tcp://{db:all}"}}, "db": {"replicas": 2}}
    two = moved(tmp_path, (*ALL, container("db", 2)), ("api->db",), **services)
    assert [(one.edge.name, one.container.name, one.alias) for one in two] == [
        ("api->db.1", "p-db-1", "db"), ("api->db.2", "p-db-2", "db")
    ]  # fmt: skip
    (one,) = moved(tmp_path, (*ALL, container("db", 2)), ("api->db.2",), **services)
    assert one.container.name == "p-db-2"


def test_the_name_is_the_alias_that_is_asked_for_else_the_service_else_the_containers(tmp_path: Path) -> None:
    plain = container("db", name="my-db", endpoints=(Endpoint(network="p_default"),))
    (one,) = moved(tmp_path, (*ALL[:2], plain), ("api->db",))
    assert one.alias == "my-db"
    two = container("db", endpoints=(Endpoint(network="p_default", aliases=("db", "store")),))
    (one,) = moved(tmp_path, (*ALL[:2], two), ("api->db",), db={"adopt": {"alias": "store"}})
    assert one.alias == "store"


def test_names_move_in_the_networks_that_caller_and_callee_share(tmp_path: Path) -> None:
    containers = (container("web", 1, "out"), container("api", 1, "out", "in", "bridge"), container("db", 1, "in"))
    assert [each.networks for each in moved(tmp_path, containers, None)] == [("out",), ("in",)]


@pytest.mark.parametrize(
    ("containers", "services", "blast", "said"),
    [
        ((*ALL[:2], container("db", 1, "bridge")), {}, None, "p-db-1 is in no user-defined network"),
        ((*ALL[:2], container("db", 1, "other")), {}, None, "p-api-1 and p-db-1 share no user-defined network"),
        ((*ALL, container("x", endpoints=(Endpoint(network="p_default", aliases=("db",)),))), {}, None,
         "the name db is shared by p-db-1 and p-x-1 in p_default"),
        ((*ALL, container("db", 2, labels={"chaoskit.run": "before"})), {}, None, "run before has moved the name db"),
        (ALL, {"db": {"adopt": {"alias": "store"}}}, None, "p-db-1 is not called store in p_default"),
        ((*ALL[:2], container("db", exposed=())), {}, None, "where db listens is not known"),
        ((*ALL[:2], container("db", exposed=(80, 81))), {}, None, "exposes 80, 81"),
    ],
)  # fmt: skip
def test_an_edge_on_which_no_proxy_can_stand_is_told(
    tmp_path: Path, containers: tuple[Found, ...], services: dict[str, Any], blast: tuple[str, ...] | None, said: str
) -> None:
    with pytest.raises(DeployError) as caught:
        moved(tmp_path, containers, blast, **services)
    assert said in f"{caught.value.message} {caught.value.hint}", caught.value


def test_a_port_that_is_written_counts_more_than_what_the_image_exposes() -> None:
    assert port_of("db", container("db", exposed=(1, 2)), ServiceSpec(port=5432)) == 5432


def test_urls_and_containers_do_not_go_together(stood: Stood, tmp_path: Path) -> None:
    mixed = shape(tmp_path, db={"url": "tcp://127.0.0.1:1"})
    with pytest.raises(DeployError, match="db of target t is no container to adopt, as web is"):
        External().prepare(mixed, stood.scene())
