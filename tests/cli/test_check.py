"""check: every problem with its place, the samples each claim needs, 0 or 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Said
from tests.experiments import TARGET, write


def test_good_files_exit_0_and_say_what_samples_they_need(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here)
    code, out, err = chaoskit("check", "it.yaml", "targets")
    assert (code, err) == (0, "")
    assert "ok  it.yaml" in out
    assert "72 requests needed in fault, 375 planned" in out
    assert "steady state: error rate ≤ 1%: any requests will do in baseline, 300 planned" in out
    assert "ok  targets/tiny/target.yaml  3 services, 4 edges" in out


def test_it_says_what_must_be_pointed_at_proxies(chaoskit: Callable[..., Said], here: Path) -> None:
    web = 'web:\n    url: http://127.0.0.1:8000\n    proxies: {db: 9001}\n    needs: {DB: "{db}", API: "{api.1}"}'
    head, _, tail = TARGET.partition("web:\n")
    write(here, target=f"{head}{web}\n{tail[tail.index('  api:') :]}")
    for told in (chaoskit("check", "targets").out, chaoskit("plan", "it.yaml").out):
        assert "web->db: point web at 127.0.0.1:9001, where its proxy listens" in told
        assert "web->api.1: point web at its proxy, which gets a free port in each run" in told
    assert "point web" not in chaoskit("plan", "it.yaml", "--deployer", "docker").out, "its proxies are in containers"


def test_bad_files_exit_2_with_every_problem_of_every_file(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here, ("title:", "titel:"), ("rate: 50/s", "rate: 50"))
    (here / "other.yaml").write_text("target: tiny\nfaults: {\n")
    code, out, err = chaoskit("check", ".")
    assert code == 2
    assert "it.yaml:1:1: titel: unknown key 'titel' (did you mean 'title'?)" in err
    assert "it.yaml:4:9: load.rate" in err
    assert "other.yaml:3:1: not valid YAML" in err
    assert "3 problems in 2 files" in err
    assert "ok  targets/tiny/target.yaml" in out


def test_a_broken_target_is_told_once(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here, target="name: tiny\nentry: web\nservices: {web: {runn: x}}\n")
    code, _, err = chaoskit("check", "it.yaml", "targets")
    assert code == 2
    assert err.count("unknown key 'runn'") == 1


def test_json_has_every_problem_as_data(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here, ("rate: 50/s", "rate: 50"))
    code, out, _ = chaoskit("check", "it.yaml", "--json")
    assert code == 2
    document = json.loads(out)
    assert document["format_version"] == 1
    assert document["problems"][0] | {"message": ""} == {
        "file": "it.yaml", "line": 4, "column": 9, "path": "load.rate", "message": "", "hint": ""
    }  # fmt: skip


def test_other_files_in_a_folder_are_passed_over_but_never_when_named(
    chaoskit: Callable[..., Said], here: Path
) -> None:
    write(here)
    (here / "compose.yaml").write_text("services: {web: {image: x}}\n")
    assert chaoskit("check", ".").code == 0
    assert chaoskit("check", "compose.yaml").code == 2


def test_without_arguments_it_checks_what_is_here(chaoskit: Callable[..., Said], here: Path) -> None:
    code, _, err = chaoskit("check")
    assert code == 0
    assert "nothing" in err or "no experiment" in err
    assert chaoskit("check", "nowhere").code == 2


def test_the_deployer_asked_for_is_checked_against_by_check_plan_and_run(
    chaoskit: Callable[..., Said], here: Path
) -> None:
    write(here, ("{kind: latency, on: web->api, add: 100ms}", "{kind: disconnect, on: api.1}"), ("[web->api]", "[api]"))
    for words in (("check", "it.yaml"), ("plan", "it.yaml"), ("run", "it.yaml")):
        code, _, err = chaoskit(*words)
        assert code == 2 and "process cannot (deployer: docker can)" in err, words
    code, out, err = chaoskit("plan", "it.yaml", "--deployer", "docker")
    assert code == 0 and "deployer docker" in out, err
    assert chaoskit("check", "it.yaml", "--deployer", "docker").code == 0
    code, _, err = chaoskit("run", "it.yaml", "--deployer", "external")
    assert code == 2 and "deployer external cannot put up web, which has run" in err
    assert chaoskit("check", "it.yaml", "--deployer", "dokcer").code == 2
