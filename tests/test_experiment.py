"""Experiments are read whole, and everything that is wrong with one is said at once, where it is and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import FileError, UsageError
from chaoskit.experiment import AbortCondition, Experiment
from chaoskit.model.verdict import Verdict
from chaoskit.reading import load, load_target, problems_of
from tests.experiments import EXPERIMENT, TARGET, told, write


def test_a_good_experiment_is_read(tmp_path: Path) -> None:
    experiment = load(write(tmp_path))
    assert experiment.title == "Pages come although the api is slow"
    assert experiment.load.rate == 50.0
    assert [fault.id for fault in experiment.faults] == ["latency"]
    assert experiment.variants["hasty"].expect is Verdict.REFUTED
    assert experiment.variants["hasty"].env == {"web": {"TIMEOUT": "1"}}
    assert experiment.file == tmp_path / "it.yaml"
    assert experiment.source == EXPERIMENT
    assert [bound.measure for bound in experiment.bounds()] == ["error_rate"]
    assert load_target("tiny", near=experiment.file).entry == "web"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title:", "titel:", "it.yaml:1:1: titel: unknown key 'titel' (did you mean 'title'?)"),
        ("title: Pages", "description: Pages", "expected a key 'title'"),
        (
            "title: Pages come although the api is slow",
            "title: 5",
            "it.yaml:1:8: title: expected a text, not 5 (put it in",
        ),
        ("rate: 50/s", "rate: 50", "it.yaml:4:9: load.rate: expected a rate, such as 50/s, not 50"),
        ("rate: 50/s", "rate: 50.0", "it.yaml:4:9: load.rate: expected a rate, such as 50/s, not 50.0"),
        ("fault: 10s", "fault: 10", "phases.fault: expected a duration with its unit, such as 200ms, 5s or 1m, not 10"),
        ("fault: 10s", "fault: 10.5", "not 10.5"),
        ("max: 1%", "max: 0.01", "steady_state[0].max: expected a share in percent, such as 1%, not 0.01"),
        ("p95: 400ms", "p95: 0.4", "hypotheses[0].p95: expected a duration"),
        ("path: /page", "paht: /page", "unknown key 'paht' (did you mean 'path'?)"),
        ("  requests:", "  requets:", "load.requets: unknown key 'requets' (did you mean 'requests'?)"),
        (
            "rate: 50/s",
            "rate: 50/s\n  arrivals: poison",
            "expected constant, poisson or spike, not 'poison' (did you mean",
        ),
        (
            "kind: latency, on",
            "kind: latnecy, on",
            "it.yaml:13:12: faults[0].kind: no fault of kind 'latnecy' (did you mean",
        ),
        (
            "kind: latency, of",
            "kind: breker, of",
            "hypotheses[0].kind: no hypothesis of kind 'breker' (did you mean 'breaker'?)",
        ),
        (
            "kind: latency, on",
            "kind: throughput, on",
            "no fault of kind 'throughput' ('throughput' is one of hypotheses)",
        ),
        (
            "{kind: latency, on: web->api, add: 100ms}",
            "latency",
            "it.yaml:13:5: faults[0]: expected a fault such as {kind:",
        ),
        ("kind: latency, on: web->api, ", "on: web->api, ", "faults[0]: expected a key 'kind'"),
        ("add: 100ms", "ad: 100ms", "faults[0].ad: unknown key 'ad' (did you mean 'add'?)"),
        ("add: 100ms", "add: 100", "faults[0].add: expected what to add, such as 300ms or +50%, not 100"),
        ("add: 100ms", "add: 100ms, id: x", "faults[0].id: unknown key 'id'"),
        ("phases:", "source: x\nphases:", "source: unknown key 'source'"),
        ("on: web->api", "on: web->apo", "faults[0].on: no edge 'web->apo' in target tiny (did you mean 'web->api'?)"),
        ("on: web->api", "on: [web->api, web->apo]", "it.yaml:13:36: faults[0].on[1]: no edge 'web->apo'"),
        ("on: web->api", "on: api", "faults[0].on: latency acts on edges, not on services (such as web->api)"),
        (
            "kind: latency, on: web->api, add: 100ms",
            "kind: kill, on: web->api",
            "kill acts on services, not on edges (such as api)",
        ),
        (
            "kind: latency, on: web->api, add: 100ms",
            "kind: kill, on: apy",
            "no service 'apy' in target tiny (did you mean 'api'",
        ),
        ("on: web->api", "on: web->db", "web->db is outside the blast radius (add web->db to blast_radius)"),
        (
            "faults:\n  - {kind: latency, on: web->api, add: 100ms}",
            "faults:\n  - {kind: http_error, on: web->db, status: 503, share: 50%}",
            "it.yaml:13:28: faults[0].on: http_error acts on whole HTTP calls, and web->db carries postgres",
        ),
        ("[web->api]", "[]", "it.yaml:9:1: blast_radius: expected a blast_radius with faults"),
        (
            "blast_radius: [web->api]\n",
            "",
            "expected a blast_radius with faults: the edges and services that they may touch",
        ),
        ("[web->api]", "[web->apj]", "it.yaml:9:16: blast_radius[0]: no edge 'web->apj'"),
        ("add: 100ms", "add: 100ms, at: 12s", "faults[0].at: goes in at 12 s, but the fault phase lasts 10 s"),
        ("add: 100ms", "add: 100ms, at: 8s, lasts: 3s", "faults[0].lasts: would end 11 s into the fault phase"),
        ("add: 100ms", "add: 100ms, lasts: 0s", "expected a fault that lasts longer than nothing"),
        ("of: page", "of: pgae", "hypotheses[0].of: no request 'pgae' in the load"),
        (
            "breaks: [latency]",
            "breaks: [latncy]",
            "variants.hasty.breaks[0]: no hypothesis named 'latncy' (did you mean 'latency'?)",
        ),
        (
            "env: {web:",
            "env: {wep:",
            "it.yaml:19:53: variants.hasty.env.wep: no service 'wep' in target tiny (did you mean 'web'?)",
        ),
        ("calm: {}", "calm: {breaks: [latency]}", "breaks goes with expect: refuted, not with supported"),
        ("calm: {}", "calm: {expect: refutted}", "(did you mean 'refuted'?)"),
        ("calm: {}", "'../calm': {}", "expected a name of letters"),
        ("target: tiny", "target: tinny", "it.yaml:2:9: target: no target 'tinny' (did you mean 'tiny'?)"),
        ("target: tiny", "target: ./no/target.yaml", "no target file './no/target.yaml'"),
        ("target: tiny", "target: tiny\ndeployer: proces", "no deployer of kind 'proces' (did you mean 'process'?)"),
        ("{kind: error_rate, max: 1%}", "{kind: recovery, within: 1s}", "cannot be part of a steady state"),
        (
            "phases:",
            "abort_when: [error_rate above 5%]\nphases:",
            "expected a condition such as 'error_rate > 50% for 2s'",
        ),
        (
            "phases:",
            "abort_when: error_rate above 5%\nphases:",
            "it.yaml:8:13: abort_when: expected a condition such as 'error_rate > 50% for 2s'",
        ),
        ("phases:", "abort_when: p95 of pgae > 1s for 2s\nphases:", "no request 'pgae' in the load"),
        ("phases:", "abort_when: 5\nphases:", "abort_when: expected a list, not 5"),
        (
            "{kind: latency, on: web->api, add: 100ms}",
            "{kind: disk_full, on: db, path: /there/is/none}",
            "it.yaml:13:37: faults[0].path: /there/is/none is no folder that we may write to",
        ),
        (
            "{kind: latency, on: web->api, add: 100ms}",
            "{kind: io_slow, on: db, rate: 100KB/s, path: /there/is/none}",
            "faults[0].path: /there/is/none: No such file or directory",
        ),
        (
            "{kind: latency, on: web->api, add: 100ms}",
            "{kind: disk_full, on: api.1, path: /}\ndeployer: docker",
            "it.yaml:13:12: faults[0].kind: disk_full fills a filesystem of this machine",
        ),
        (
            "faults:\n  - {kind: latency, on: web->api, add: 100ms}",
            "faults: latency",
            "faults: expected a list, not 'latency'",
        ),
        ("load:\n  rate: 50/s", "load: fast\nlaod:\n  rate: 50/s", "load: expected keys with values, not 'fast'"),
    ],
    ids=lambda value: str(value)[:28],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    found = told(tmp_path, (old, new))
    assert any(says in one for one in found), found
    assert all("Input should" not in one and "Value error" not in one and "pydantic" not in one for one in found)


def test_one_abort_condition_needs_no_list(tmp_path: Path) -> None:
    one = load(write(tmp_path, ("phases:", "abort_when: error_rate > 50% for 2s\nphases:")))
    listed = load(write(tmp_path, ("phases:", "abort_when: [error_rate > 50% for 2s]\nphases:")))
    assert one.abort_when == listed.abort_when
    assert [condition.text for condition in one.abort_when] == ["error_rate > 50% for 2s"]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    changes = (
        ("rate: 50/s", "rate: 50"),
        ("of: page", "of: pgae"),
        ("on: web->api", "on: web->apo"),
        ("kind: recovery", "kind: recovry"),
        ("breaks: [latency]", "breaks: [latency], break: []"),
        ("title:", "titel:"),
    )
    found = told(tmp_path, *changes, target=TARGET.replace("entry: web", "entry: webb"))
    for place in ("it.yaml:1:1", "it.yaml:4:9", "it.yaml:16:12", "target.yaml:2:8"):
        assert any(place in one for one in found), (place, found)
    assert any("'break'" in one for one in found)


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("{kind: fallback, mark: degradd, max: 10%}", "hypotheses[0].mark: no mark 'degradd' (there is none)"),
        ("{kind: fallback, mark: x, min: 90%, max: 10%}", "no share is at least 90% and at most 10%"),
        ("{kind: rate_limit, admits: 50/s, mark: tld}", "hypotheses[0].mark: no mark 'tld'"),
        ("{kind: nothing_lost, told: ordr, read: all, at: $.x}", "hypotheses[0].told: no request that tells 'ordr'"),
        ("{kind: nothing_twice, read: nope, at: $.x}", "hypotheses[0].read: no verify step 'nope'"),
        ("{kind: no_stale_reads, told: nope}", "hypotheses[0].told: no request that tells 'nope'"),
        (
            "{kind: invariant, read: all, at: $.x, same_as: {read: nope, at: $.y}}",
            "hypotheses[0].same_as.read: no verify step 'nope'",
        ),
        ("{kind: invariant, read: all, at: $.x, min: 5, max: 1}", "nothing is at least 5 and at most 1"),
        ("{kind: metric, metric: x, min: 5, max: 1}", "nothing is at least 5 and at most 1"),
        ("{kind: error_rate, max: 0%, cause: timeot}", "no failure has the cause 'timeot'; did you mean 'timeout'?"),
    ],
)
def test_a_claim_that_calls_what_nothing_is_called_or_holds_of_nothing_is_told(
    tmp_path: Path, claim: str, says: str
) -> None:
    verify = ("hypotheses:\n", f"verify: [{{name: all, path: /all}}]\nhypotheses:\n  - {claim}\n")
    found = told(tmp_path, verify)
    assert len(found) == 1
    assert says in found[0]


def test_a_refusals_mark_is_on_refusals_alone(tmp_path: Path) -> None:
    claim = "{kind: rate_limit, admits: 40/s, mark: told}"

    def with_mark(mark: str) -> list[str]:
        marked = ("rate: 50/s", f"rate: 50/s\n  marks: {{told: {mark}}}")
        return told(tmp_path, marked, ("hypotheses:\n", f"hypotheses:\n  - {claim}\n"))

    assert with_mark("{status: 429, header: Retry-After}") == []
    assert "mark 'told' may be on answers that are no refusals" in with_mark("{header: X-RateLimit-Remaining}")[0]
    assert "marks: {told: {status: 429, …}}" in with_mark("{status: [429, 200], header: X}")[0]


def test_a_fault_is_checked_although_the_load_is_wrong(tmp_path: Path) -> None:
    found = told(tmp_path, ("rate: 50/s", "rate: 50"), ("on: web->api", "on: web->apo"))
    assert len(found) == 2
    assert "load.rate" in found[0] and "faults[0].on" in found[1]


def test_places_are_those_of_the_file_although_an_item_before_is_wrong(tmp_path: Path) -> None:
    more = "faults:\n  - {kind: latnecy, on: web->api, add: 1s}\n  - {kind: latency, on: web->apo, add: 1s}\n"
    found = told(tmp_path, ("faults:\n", more))
    assert [one.partition(" ")[0] for one in found] == ["it.yaml:13:12:", "it.yaml:14:25:"]


def test_faults_get_ids_from_names_and_kinds(tmp_path: Path) -> None:
    slow = "  - {kind: latency, on: web->api, add: 1s}\n"
    more = f"faults:\n{slow}{slow.replace('add', 'name: slow, add')}"
    experiment = load(write(tmp_path, ("faults:\n", more)))
    assert [fault.id for fault in experiment.faults] == ["latency", "slow", "latency-2"]


def test_too_short_phases_are_said_with_the_length_that_would_do(tmp_path: Path) -> None:
    found = told(tmp_path, ("rate: 50/s", "rate: 5/s"))
    assert len(found) == 1
    assert "it.yaml:15:5: hypotheses[0]: p95 of page ≤ 400 ms needs 72 requests of page in fault" in found[0]
    assert "37 are planned (a fault phase of 20s would do)" in found[0]
    assert told(tmp_path, ("rate: 50/s", "users: 5")) == [], "nobody can say how often users who wait will ask"
    found = told(tmp_path, ("fault: 10s", "fault: 2s"), ("of: page, ", ""))
    assert "needs 4 s of fault for its interval; it lasts 2 s" in found[0]


def test_a_recovery_too_short_to_see_it_hold_is_said(tmp_path: Path) -> None:
    found = told(tmp_path, ("recovery: 6s", "recovery: 500ms"))
    assert len(found) == 1
    assert (
        "hypotheses[1]: steady again ≤ 3 s after the fault, for 1 s needs 1.1 s of recovery; it lasts 500 ms"
        in found[0]
    )
    early = ("add: 100ms", "add: 100ms, lasts: 8s")
    assert told(tmp_path, ("recovery: 6s", "recovery: 500ms"), early) == [], "it is watched from the fault's end on"


@pytest.mark.parametrize("baseline", ["0s", "200ms", "400ms"])
def test_a_baseline_too_short_for_its_steady_state_is_said(tmp_path: Path, baseline: str) -> None:
    found = told(tmp_path, ("baseline: 6s", f"baseline: {baseline}"))
    assert any("it.yaml:8:32: phases.baseline: expected a baseline of at least 500 ms" in one for one in found), found
    assert told(tmp_path, ("baseline: 6s", "baseline: 500ms")) == []


def test_a_baseline_without_requests_is_said(tmp_path: Path) -> None:
    slow = (("rate: 50/s", "rate: 2/s"), ("fault: 10s", "fault: 500s"))
    found = told(tmp_path, ("baseline: 6s", "baseline: 500ms"), *slow)
    assert "steady_state[0]: no request is planned in the 100 ms of baseline" in found[0]
    found = told(tmp_path, ("baseline: 6s", "baseline: 1s"), ("max: 1%", "max: 1%, of: search"), *slow)
    assert "steady_state[0]: no request of search is planned in the 600 ms of baseline" in found[0]


def test_a_phase_that_is_not_there_cannot_be_judged(tmp_path: Path) -> None:
    found = told(tmp_path, ("recovery: 6s", "recovery: 0s"))
    assert len(found) == 1
    assert "is judged in recovery, which this experiment does not have" in found[0]


def test_how_to_judge_is_handed_to_claims_that_do_not_say(tmp_path: Path) -> None:
    file = write(tmp_path, ("phases:", "judge: point\nphases:"), ("p95: 400ms", "p95: 400ms, judge: interval"))
    first, second = load(file).hypotheses
    assert first.judge_by == "interval"
    assert getattr(second, "judge_by", "point") == "point"


def test_an_experiment_may_be_json(tmp_path: Path) -> None:
    import json

    from chaoskit.document import read

    file = tmp_path / "it.json"
    file.write_text(json.dumps(read(write(tmp_path)).data, indent="\t"))
    assert load(file).title == load(tmp_path / "it.yaml").title


def test_what_is_kept_of_an_experiment_has_no_credentials(tmp_path: Path) -> None:
    file = write(tmp_path, ("path: /page,", "path: /page, headers: {Authorization: Bearer s3cret},"))
    experiment = load(file)
    assert experiment.load.requests[0].headers == {"Authorization": "Bearer s3cret"}
    assert experiment.source == file.read_text().replace("Bearer s3cret", "(hidden)")


def test_a_target_is_not_an_experiment(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(FileError, match="this is a target; expected an experiment"):
        load(tmp_path / "targets" / "tiny" / "target.yaml")


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "5\n", "null\n"])
def test_a_file_that_is_something_else_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert problems_of(file)


def test_an_abort_condition_is_read_from_its_sentence() -> None:
    condition = AbortCondition.parse("p95 of checkout > 2s for 3s")
    assert isinstance(condition, AbortCondition)
    assert (condition.measure, condition.of, condition.above, condition.holds_for) == ("p95", "checkout", 2.0, 3.0)


def test_an_experiment_made_in_python_gets_the_same_ids_and_ways_of_judging() -> None:
    from chaoskit.registry import find

    slow = find("faults", "latency")(on="a->b", add="1s")
    claim = find("hypotheses", "latency")(p95="1s")
    made = Experiment(
        title="x", target="t", load={"rate": "1/s", "requests": [{"path": "/"}]}, faults=(slow, slow), judge="point",
        hypotheses=(claim,),
    )  # fmt: skip
    assert [fault.id for fault in made.faults] == ["latency", "latency-2"]
    assert made.hypotheses[0].judge_by == "point"


def test_a_target_that_is_nowhere_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_target("shop")
    assert "chaoskit new demo" in caught.value.hint


DISCONNECT = ("{kind: latency, on: web->api, add: 100ms}", "{kind: disconnect, on: api.1}")


def test_the_deployer_that_is_asked_for_is_the_one_that_files_are_checked_against(tmp_path: Path) -> None:
    only_docker = (DISCONNECT, ("[web->api]", "[api]"))
    (said,) = told(tmp_path, *only_docker)
    assert "disconnect needs a deployer that can disconnect; process cannot (deployer: docker can)" in said
    file = write(tmp_path, *only_docker)
    assert load(file, deployer="docker").deployer == "docker"
    named = write(tmp_path, *only_docker, ("target: tiny", "target: tiny\ndeployer: docker"))
    with pytest.raises(FileError, match="process cannot"):
        load(named, deployer="process")
    with pytest.raises(UsageError, match="no deployer of kind 'dokcer'") as caught:
        load(file, deployer="dokcer")
    assert "docker" in caught.value.hint


def test_a_service_that_the_deployer_cannot_put_up_is_said(tmp_path: Path) -> None:
    image = TARGET.replace('{run: "python -m api --port {port}", replicas: 2}', "{image: api, replicas: 2}")
    (said,) = told(tmp_path, target=image)
    assert "it.yaml:2:9: target: deployer process cannot put up api, which has image (deployer: docker can)" in said
    assert load(write(tmp_path, target=image), deployer="docker")


def test_two_of_one_name_among_containers_are_said(tmp_path: Path) -> None:
    taken = TARGET.replace(
        "  db:", "".join(f'  {name}: {{run: "x {{port}}"}}\n' for name in ("api-2", "localhost", "proxy")) + "  db:"
    )
    assert load(write(tmp_path, target=taken)).deployer == "process"
    assert told(tmp_path, ("target: tiny", "target: tiny\ndeployer: docker"), target=taken) == [
        "it.yaml:3:11: deployer: api-2 would be called api-2 among the containers: api.2 is called so",
        "it.yaml:3:11: deployer: localhost would be called localhost among the containers: every container is",
    ]


def test_what_runs_elsewhere_cannot_be_killed(tmp_path: Path) -> None:
    elsewhere = TARGET.replace("{provides: postgres}", "{url: tcp://127.0.0.1:5432}")
    (said,) = told(tmp_path, ("{kind: latency, on: web->api, add: 100ms}", "{kind: kill, on: db}"),
                   ("[web->api]", "[db]"), target=elsewhere)  # fmt: skip
    assert "kill needs to kill what runs as db; process only knows its url" in said


def test_files_that_the_load_names_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("id\n1\n")
    used = ("path: /page,", 'path: "/page/${who.id}",')
    found = told(tmp_path, used, ("  requests:", "  listeners: [hook.py]\n  data: {who: {csv: user.csv}}\n  requests:"))
    assert len(found) == 2
    assert "it.yaml:5:" in found[0] and "load.listeners[0]" in found[0] and "hook.py" in found[0]
    assert "load.data.who.csv" in found[1] and "did you mean 'users.csv'" in found[1]
    (tmp_path / "hook.py").write_text("")
    load(write(tmp_path, used, ("  requests:", "  listeners: [hook.py]\n  data: {who: {csv: users.csv}}\n  requests:")))
