"""Targets are read whole; their needs become edges; what is wrong is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import FileError
from chaoskit.model.topology import Edge
from chaoskit.reading import find_target, load_target, problems_of, targets_near
from tests.experiments import TARGET, write


def read(folder: Path, text: str = TARGET):
    write(folder, target=text)
    return load_target(str(folder / "targets" / "tiny" / "target.yaml"))


def told(folder: Path, old: str, new: str) -> list[str]:
    assert old in TARGET
    with pytest.raises(FileError) as caught:
        read(folder, TARGET.replace(old, new, 1))
    return [str(problem).rpartition("/target.yaml:")[2] for problem in caught.value.problems]


def test_every_need_is_an_edge_for_each_replica(tmp_path: Path) -> None:
    target = read(tmp_path)
    assert [edge.name for edge in target.topology().edges] == ["load->web", "web->api.1", "web->api.2", "web->db"]
    assert target.topology().edge("web->db").protocol == "postgres"
    assert target.topology().edge("web->api.1").protocol == "http"
    assert target.services["web"].databases_of("db") == ["tiny"]
    assert target.workdir == tmp_path


def test_needs_become_the_environment(tmp_path: Path) -> None:
    def address_of(edge: Edge) -> str:
        return f"127.0.0.1:{len(edge.name)}"

    environment = read(tmp_path).environment("web", address_of)
    assert environment == {
        "API_URLS": "http://127.0.0.1:10,http://127.0.0.1:10",
        "DATABASE_URL": "postgresql://127.0.0.1:7/tiny",
    }


def test_numbers_in_an_environment_need_no_quotes(tmp_path: Path) -> None:
    target = read(tmp_path, TARGET.replace("health: /health", "health: /health\n    env: {SLOTS: 10, SHARE: 0.5}"))
    assert target.services["web"].env == {"SLOTS": "10", "SHARE": "0.5"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("entry: web", "entry: wep", "2:8: entry: no service 'wep' (did you mean 'web'?)"),
        ("{api:all}", "{apy:all}", "services.web.needs.API_URLS: no service 'apy' (did you mean 'api'?)"),
        ("{api:all}", "{api.3}", "api has 2 replicas, counted from 1"),
        ("{api:all}", "{api.0}", "api has 2 replicas, counted from 1"),
        ("{api:all}", "{Api}", "expected a reference such as {orders}, {orders.1} or {orders:all}, not {Api}"),
        ("http://{api:all}", "http://api", "names no service: every need is an edge (a plain value belongs in env)"),
        ("provides: postgres", "provides: postgress", "no real server of kind 'postgress' (did you mean 'postgres'?)"),
        ("provides: postgres", "provides: postgres, run: x", "expected one of run, provides, url, image, build, not"),
        ("{provides: postgres}", "{replicas: 1}", "expected one of run, provides, url, image, build"),
        ("{provides: postgres}", "{provides: postgres, replicas: 2}", "a real server has one replica"),
        ("replicas: 2", "replicas: 0", "expected a number at least 1, not 0"),
        ("replicas: 2", "replicas: two", "expected a whole number, not 'two'"),
        ("health: /health", "health: health", "expected a path that starts with /, not 'health'"),
        ("health: /health", "health: {redy: /health}", "unknown key 'redy' (did you mean 'ready'?)"),
        ("health: /health", "ready_within: 30", "expected a duration with its unit"),
        ("name: tiny", "nam: tiny", "unknown key 'nam' (did you mean 'name'?)"),
        ("  web:\n", "  Web:\n", "expected a service name of small letters"),
        ("services:", "file: x\nservices:", "unknown key 'file'"),
        ("-m web --port {port}", "-m web", "5:10: services.web.run: expected {port} in it: where the"),
        ("--port {port}", "--port {prot}", "web.run: nothing takes the place of {prot} (did you mean {port}?)"),
        ("--port {port}", "{hosst} {port}", "web.run: nothing takes the place of {hosst} (did you mean {host}?)"),
        ("--port {port}", "'--port {port}", "services.web.run: is not a command line: no closing quotation"),
        ("python -m web --port {port}", '"  "', "services.web.run: expected a command line, not blanks"),
        ("provides: postgres", "url: notaurl", "services.db.url: 'notaurl' is not one of a service (such as http://"),
        ("provides: postgres", "url: 'http://x:99999'", "'http://x:99999' is not one of a service: Port out of range"),
        ("http://{api:all}", "{api:all}x{db:all}", "names all of api and all of db in one (separate them by a comma"),
        (
            'API_URLS: "http://{api:all}"',
            'API_URLS: "http://{api:all}", API: "redis://{api}"',
            "needs.API: says redis of api, where API_URLS says http (`protocol` of api says what its edges carry)",
        ),
    ],
    ids=lambda value: str(value)[:28],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = told(tmp_path, old, new)
    assert any(says in one for one in found), found


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = TARGET.replace("replicas: 2", "replicas: two").replace("web:\n", "Web:\n").replace("db:", "D B:")
    text = text.replace("{db}", "{dc}").replace("health: /health", "health: health\n    ready_within: 30")
    with pytest.raises(FileError) as caught:
        read(tmp_path, text)
    assert {problem.path for problem in caught.value.problems} == {
        "services.Web.ready_within",
        "services.api.replicas",
        "entry",
        "services.Web.needs.DATABASE_URL",
        "services.Web",
        "services.Web.health",
        "services.D B",
    }


def test_nothing_is_said_that_may_come_of_what_cannot_be_read(tmp_path: Path) -> None:
    for old, new, path in (
        ("run: python -m web --port {port}", "run: 5", "services.web.run"),
        ("run: python -m web", "rum: python -m web", "services.web.rum"),
        ("{api:all}", "{api.2}", "services.api.replica"),
        ("entry: web", "entry: [web]", "entry"),
        ("name: tiny", "name: 5", "name"),
    ):
        text = TARGET.replace(old, new, 1)
        text = text.replace("replicas", "replica") if path.endswith("replica") else text
        with pytest.raises(FileError) as caught:
            read(tmp_path, text)
        assert [problem.path for problem in caught.value.problems] == [path]


def test_two_needs_of_one_service_are_one_edge(tmp_path: Path) -> None:
    target = read(tmp_path, TARGET.replace("/tiny", '/tiny", ADDRESS: "{db}'))
    assert [edge.name for edge in target.topology().edges] == ["load->web", "web->api.1", "web->api.2", "web->db"]
    assert target.topology().edge("web->db").protocol == "postgres", "a URL says more than an address"
    assert target.environment("web", lambda edge: edge.callee)["ADDRESS"] == "db"


def test_all_replicas_of_several_services_are_told_apart_by_commas(tmp_path: Path) -> None:
    target = read(tmp_path, TARGET.replace("http://{api:all}", "{db}/0,http://{api:all}/1,{web:all}"))
    told = target.environment("web", lambda edge: edge.callee)["API_URLS"]
    assert told == "db/0,http://api.1/1,http://api.2/1,web"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("run: python -m web --port {port}", "run: python -m web\n    env: {PORT: '{port}'}"),
        ("run: python -m web --port {port}", "run: python -m web\n    port: 8000"),
        ("run: python -m web --port {port}", "run: sh -c 'exec web ${PORTS} {port} {{post}}'"),
    ],
    ids=["its environment tells", "fixed in a container", "words of a shell"],
)
def test_a_command_that_can_be_told_its_port_is_good(tmp_path: Path, old: str, new: str) -> None:
    assert old in TARGET
    read(tmp_path, TARGET.replace(old, new, 1))


AWAY = """\
name: tiny
entry: web
services:
  web: {url: "http://127.0.0.1:8000", needs: {API: "http://{api:all}", DB: "{db}"}, proxies: {api.2: 9001, db: 9002}}
  api: {run: "api {port}", replicas: 2}
  db: {url: "tcp://127.0.0.1:5432"}
"""


def test_a_service_that_runs_already_is_pointed_at_ports_that_stay(tmp_path: Path) -> None:
    target = read(tmp_path, AWAY)
    assert target.ports() == {"web->api.2": 9001, "web->db": 9002}
    free, *fixed = target.to_point()
    assert free.startswith(
        "web->api.1: point web at its proxy, which gets a free port in each run; `proxies: {api.1: 9001"
    )
    assert fixed == [
        "web->api.2: point web at 127.0.0.1:9001, where its proxy listens",
        "web->db: point web at 127.0.0.1:9002, where its proxy listens",
    ]
    assert read(tmp_path).to_point() == [], "what we start is told by its needs"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("api.2: 9001", "apy: 9001", "services.web.proxies.apy: web needs no 'apy' (there are: api.1, api.2, db)"),
        ("api.2: 9001", "api: 9001", "services.web.proxies.api: expected a port for each of api.1, api.2"),
        ("db: 9002", "db: 9001", "services.web.proxies.db: port 9001 is taken by the proxy on web->api.2"),
        ("db: 9002", "db: 99999", "services.web.proxies.db: expected a number at most 65535, not 99999"),
        ("proxies:", "replicas: 2, proxies:", "each of the 2 replicas of web has proxies of its own"),
    ],
    ids=lambda value: str(value)[:28],
)
def test_a_port_is_of_one_proxy(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(FileError) as caught:
        read(tmp_path, AWAY.replace(old, new, 1))
    assert any(says in str(problem) for problem in caught.value.problems), caught.value.problems


def test_a_target_is_found_by_name_above_the_experiment_and_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    deep = tmp_path / "experiments" / "deeper" / "it.yaml"
    deep.parent.mkdir(parents=True)
    expected = tmp_path / "targets" / "tiny" / "target.yaml"
    assert find_target("tiny", near=deep) == expected
    assert find_target("targets/tiny", near=tmp_path / "it.yaml") == expected
    assert find_target("../../targets/tiny/target.yaml", near=deep).resolve() == expected
    monkeypatch.chdir(tmp_path)
    assert find_target("tiny") == expected
    assert targets_near()["tiny"] == expected


def test_a_good_target_has_no_problems(tmp_path: Path) -> None:
    write(tmp_path)
    assert problems_of(tmp_path / "targets" / "tiny" / "target.yaml") == ()
