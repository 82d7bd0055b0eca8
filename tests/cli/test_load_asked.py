"""What `chaoskit load` is asked for: every flag and every key counts or is refused, before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaoskit.cli.common.load import asked_for
from chaoskit.cli.load import command
from chaoskit.errors import FileError, UsageError
from chaoskit.interfaces import Address
from chaoskit.studies.capacity import find_capacity
from chaoskit.studies.load import LoadAsked
from tests.experiments import write

URL = "http://127.0.0.1:1/"


def asked(*arguments: str) -> LoadAsked:
    given: dict[str, Any] = command.make_context("load", list(arguments)).params
    return asked_for(given.pop("where"), given, command=())


def refused(*arguments: str) -> str:
    """What is said of it, hint included."""
    with pytest.raises(UsageError) as caught:
        asked(*arguments)
    return f"{caught.value} {caught.value.hint}"


def written(folder: Path, text: str) -> str:
    file = folder / "load.yaml"
    file.write_text(text)
    return str(file)


STAGES = """\
url: http://127.0.0.1:1/shop/
warmup: 5s
seed: 9
load:
  stages:
    - {rate: 20/s, for: 10s}
    - {rate: 100/s, for: 30s, ramp: 5s}
  requests: [{name: a, path: /, timeout: 1s, then: [{name: b, path: /b, timeout: 1s}]}]
"""


def test_stages_are_gone_through_to_their_end(tmp_path: Path) -> None:
    assert asked(written(tmp_path, STAGES)).lasts == 40
    assert asked(written(tmp_path, STAGES), "--for", "3s").lasts == 3
    assert asked(written(tmp_path, f"for: 12s\n{STAGES}")).lasts == 12
    assert asked(written(tmp_path, STAGES), "--rate", "5/s").lasts == 30


def test_the_path_of_a_files_url_is_what_all_paths_begin_with(tmp_path: Path) -> None:
    assert asked(written(tmp_path, STAGES)).where == "http://127.0.0.1:1/shop"


def test_the_path_of_a_url_is_asked_for_unless_something_else_is() -> None:
    it = asked("http://127.0.0.1:1/a?b=c")
    assert (it.where, it.spec.requests[0].path) == ("http://127.0.0.1:1", "/a?b=c")
    it = asked("http://127.0.0.1:1/a/", "--path", "/x")
    assert (it.where, it.spec.requests[0].path) == ("http://127.0.0.1:1/a", "/x")
    it = asked("http://127.0.0.1:1/a", "--locustfile", __file__)
    assert it.where == "http://127.0.0.1:1/a"


def test_flags_outrank_the_file_with_the_value_of_a_default_too(tmp_path: Path) -> None:
    it = asked(written(tmp_path, STAGES))
    assert (it.seed, it.warmup) == (9, 5)
    it = asked(written(tmp_path, STAGES), "--seed", "1", "--warmup", "0s", "--timeout", "9s")
    assert (it.seed, it.warmup, it.spec.timeout) == (1, 0, 9)
    assert [step.timeout for step in it.spec.steps()] == [None, None]
    assert asked(URL).seed == 1


FILED = ["--path", "--method", "--body", "--locustfile"]


@pytest.mark.parametrize("flag", FILED)
def test_what_is_sent_is_said_once(tmp_path: Path, flag: str) -> None:
    value = __file__ if flag == "--locustfile" else "/x"
    assert f"the file says what is sent: leave out {flag}" in refused(written(tmp_path, STAGES), flag, value)
    if flag != "--locustfile":
        assert "the locustfile says what is sent" in refused(URL, "--locustfile", __file__, flag, value)


@pytest.mark.parametrize(
    ("flags", "key"), [(("--timeout", "2s"), "timeout"), (("--insecure",), "verify_tls"), (("-H", "a: b"), "headers")]
)
def test_a_locustfile_takes_no_part_of_a_request(flags: tuple[str, ...], key: str) -> None:
    assert f"a locustfile brings its own {key}" in refused(URL, "--locustfile", __file__, *flags)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("http://[::1/",), "Invalid IPv6 URL"),
        (("http://localhost:99999/",), "Port out of range"),
        (("http://localhost:abc/",), "Port could not be cast"),
        (("http://",), "it names no host"),
        (("http://é..b/",), "expected a URL"),
        (("HTTP://localhost/",), "expected a URL such as http://"),
        (("localhost:8000",), "http://localhost:8000"),
        (("http://me:s3cret@127.0.0.1:1/",), "${env.BASIC_AUTH}"),
        (("http://127.0.0.1:1/a?b=c", "--path", "/x"), "without a query"),
        ((URL, "--for", "0s"), "--for: expected at least 100ms"),
        ((URL, "--for", "40ms"), "--for: expected at least 100ms"),
        ((URL, "-H", "nonsense"), "expected a header such as"),
        ((URL, "--expect", "p95 of chekout < 200ms"), "no request 'chekout' in the load"),
        ((URL, "--expect", "p95 < +50%"), "has no baseline"),
        ((URL, "--most", "5/s"), "--most goes with --find-capacity"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], message: str) -> None:
    said = refused(*arguments)
    assert message in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("url: http://me:s3cret@127.0.0.1/", "without a password"),
        ("url: http://127.0.0.1/?a=b", "without a query"),
        ("url: ftp://127.0.0.1/", "expected a URL"),
        ("url: http://127.0.0.1/\nfor: 10ms", "at least 100ms"),
        ("url: http://127.0.0.1/\ndeployer: docker", "deployer go with a target"),
        ("url: http://127.0.0.1/\nexpect: [p95 of b < 1s]", "no request 'b'"),
    ],
)
def test_what_makes_no_sense_in_a_file_is_refused(tmp_path: Path, line: str, message: str) -> None:
    said = refused(written(tmp_path, f"{line}\nload: {{rate: 5/s, requests: [{{name: a, path: /}}]}}\n"))
    assert message in said
    assert "s3cret" not in said


def test_workers_elsewhere_need_a_place_that_they_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSKIT_LOAD_TOKEN", "t")
    away = ("--away", "1", "--listen")
    assert "cannot reach http://127.0.0.1:1" in refused(URL, *away, "0.0.0.0:5557")
    assert "cannot reach target shop" in refused("shop", *away, "0.0.0.0:5557")
    there = ("http://192.0.2.9/", "--allow-host", "192.0.2.9")
    assert asked(*there, *away, "0.0.0.0:5557").listen == Address("0.0.0.0", 5557)
    assert asked(URL, *away, "127.0.0.1:5557").away == 1, "workers that can only be here"
    for nowhere in ("0.0.0.0:99999", "0.0.0.0:0", "0.0.0.0", ":5557", "0.0.0.0:x"):
        assert "expected HOST:PORT" in refused(*there, *away, nowhere)


def test_an_experiments_load_is_all_that_the_experiment_says_of_it(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        ("target: tiny\n", "target: tiny\nseed: 5\nallow_hosts: [example.org]\nsetup: [{path: /seed}]\n"),
    )
    assert "--allow-host example.org" in refused(str(file))
    it = asked(str(file), "--allow-host", "example.org")
    assert (it.where, it.deployer, it.seed, it.warmup) == ("tiny", "process", 5, 1)
    assert [step.path for step in it.setup] == ["/seed"]
    assert it.near == file


def test_the_deployer_of_a_file_is_the_loads(tmp_path: Path) -> None:
    load = "load: {rate: 5/s, requests: [{path: /}]}\n"
    assert asked(written(tmp_path, f"target: shop\ndeployer: docker\n{load}")).deployer == "docker"
    assert "docker" in refused(written(tmp_path, f"target: shop\ndeployer: dokker\n{load}"))


@pytest.mark.parametrize("change", [("--ramp", "20s"), ()])
def test_a_capacity_is_searched_at_rates_that_are_offered(tmp_path: Path, change: tuple[str, ...]) -> None:
    spikes = (
        "url: http://127.0.0.1:1/\nload: {rate: 5/s, spike: {times: 5, at: 1s, lasts: 1s}, requests: [{path: /}]}\n"
    )
    where = URL if change else written(tmp_path, spikes)
    it = asked(where, "--find-capacity", "--expect", "p95 < 1s", *change)
    with pytest.raises(UsageError, match="leave out the ramp" if change else "leave out the spike"):
        find_capacity(it, start=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("worker",), "chaoskit load worker --join HOST:PORT"),
        ((URL, "--join", "127.0.0.1:5557"), "chaoskit load worker --join HOST:PORT"),
        (("worker", "--join", "nonsense"), "expected HOST:PORT"),
        ((URL, "--find-capacity", "--expect", "p95 < 1s", "--most", "abc"), "--most: expected a rate"),
        ((URL, "--find-capacity", "--expect", "p95 < 1s", "--most", "0/s"), "--most: expected a rate above 0/s"),
    ],
)
def test_the_command_refuses(
    chaoskit: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("CHAOSKIT_LOAD_TOKEN", "t")
    said = chaoskit("load", *arguments)
    assert said.code == 2
    assert message in said.err


def test_problems_of_a_file_have_their_place(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        asked(written(tmp_path, "url: http://127.0.0.1/?a=b\nload: {rate: 5/s, requests: [{path: /}]}\n"))
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [(1, "url")]
