"""plan: when what will happen, what may be touched, what will run; nothing starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Said
from tests.experiments import write


def test_it_shows_when_what_happens_and_what_runs(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here, ("add: 100ms", "add: 100ms, at: 5s, lasts: 2s"))
    code, out, _ = chaoskit("plan", "it.yaml", "--variant", "hasty")
    assert code == 0
    for text in (
        "Pages come although the api is slow",
        "web->api: web->api.1, web->api.2",
        "bystanders (must not notice): db",
        "python -m api --port {port}",
        "a real postgres",
        "TIMEOUT=1",
        "1150 requests planned: 50 in warmup, 300 in baseline, 500 in fault, 300 in recovery",
        "p95 of page ≤ 400 ms",
        "hasty: expected refuted, breaking latency",
    ):
        assert text in out, text
    lines = out.splitlines()
    phases = next(line for line in lines if "│ fault" in line)
    bar = next(line for line in lines if "█" in line)
    fault, recovery = phases.index("│ fault"), phases.index("│ recovery")
    middle = (fault + recovery) / 2
    assert abs(bar.index("█") - middle) <= 1.5, "it goes in half-way through the fault phase"
    assert bar.rindex("█") < recovery
    assert not (here / "reports").exists()


def test_it_says_by_what_means_of_which_machine(chaoskit: Callable[..., Said], here: Path) -> None:
    fault = ("{kind: latency, on: web->api, add: 100ms}", "{kind: cpu, on: api.1, to: 10%}")
    write(here, fault, ("[web->api]", "[api]"))
    assert "cpu: cpu held to 10% of a core on api.1, by " in chaoskit("plan", "it.yaml").out
    said = chaoskit("plan", "it.yaml", "--deployer", "docker")
    assert "on api.1, by a cgroup (cpu) beside that of each container, else SIGSTOP" in said.out, said


def test_a_variant_that_is_not_there_is_said(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here)
    code, _, err = chaoskit("plan", "it.yaml", "--variant", "hasti")
    assert code == 2
    assert "calm, hasty" in err


def test_code_that_the_load_runs_is_named(chaoskit: Callable[..., Said], here: Path) -> None:
    (here / "users.py").write_text("")
    load = "load:\n  users: 5\n  locustfile: users.py\n"
    text = write(here).read_text()
    begin, end = text.index("load:"), text.index("phases:")
    (here / "it.yaml").write_text((text[:begin] + load + text[end:]).replace("of: page, ", ""))
    code, out, err = chaoskit("plan", "it.yaml")
    assert code == 0, err
    assert "Python code of users.py in the load worker" in out


def test_names_that_will_be_moved_and_containers_that_faults_act_on_are_said(
    chaoskit: Callable[..., Said], here: Path
) -> None:
    adopted = """\
name: tiny
entry: web
adopt: {compose: shop}
services:
  web: {needs: {API: "http://{api}", DB: "postgresql://{db}/x"}}
  api: {}
  db: {adopt: {container: my-db, alias: postgres}}
"""
    changes = (("[web->api]", "[web->api, web->db, db]"), ("target: tiny", "target: tiny\ndeployer: external"))
    write(here, *changes, target=adopted)
    code, out, err = chaoskit("plan", "it.yaml")
    assert code == 0, err
    for text in (
        "web->api: the name api moves from service api of compose project shop to a proxy of ours, and back",
        "web->db: the name postgres moves from container my-db to a proxy of ours, and back",
        "db: faults act on container my-db, which runs as before afterwards",
        "api: nothing: runs already, service api of compose project shop",
    ):
        assert text in out, (text, out)
    assert "moves" not in chaoskit("plan", str(write(here))).out
