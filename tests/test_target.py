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
    ],
    ids=lambda value: str(value)[:28],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = told(tmp_path, old, new)
    assert any(says in one for one in found), found


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
