"""new: what it writes is what check accepts; nothing of the user's is written over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaoskit.cli import main
from chaoskit.cli.common.drafts import scalar
from chaoskit.document import read_text
from chaoskit.reading import load, load_target
from chaoskit.registry import kinds
from tests.cli.conftest import Said
from tests.experiments import write


def test_the_demo_is_written_and_is_good(chaoskit: Callable[..., Said], here: Path) -> None:
    code, out, _ = chaoskit("new", "demo")
    assert code == 0
    assert "chaoskit run experiments/payments-black-holed.yaml" in out
    assert len(list(here.glob("experiments/*.yaml"))) >= 6
    assert chaoskit("check").code == 0
    assert not list(here.rglob("__pycache__"))


def test_the_demo_writes_over_nothing_unless_told_to(chaoskit: Callable[..., Said], here: Path) -> None:
    chaoskit("new", "demo")
    assert chaoskit("new", "demo").code == 0, "the same content is not in the way"
    mine = here / "targets" / "shop" / "target.yaml"
    mine.write_text("mine")
    code, _, err = chaoskit("new", "demo")
    assert code == 2
    assert "targets/shop/target.yaml" in err
    assert mine.read_text() == "mine"
    assert chaoskit("new", "demo", "--force").code == 0
    assert mine.read_text() != "mine"


def test_an_experiment_by_flags_is_good_at_once(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here)
    code, out, err = chaoskit(
        "new", "experiment", "--target", "tiny", "--fault", "http_error", "--on", "web->api", "--set", "status=503",
        "--set", "share=30%", "--rate", "50/s", "--request", "GET /page",
        "--title", 'Pages come: always, "really" #1',
    )  # fmt: skip
    assert code == 0, err
    assert not err
    file = next((here / "experiments").glob("*.yaml"))
    assert str(file.relative_to(here)) in out
    experiment = load(file)
    assert experiment.title == 'Pages come: always, "really" #1'
    assert experiment.faults[0].kind == "http_error"
    assert (
        chaoskit(
            "new", "experiment", "--target", "tiny", "--fault", "kill", "--on", "api", "--title", experiment.title
        ).code
        == 2
    )


@pytest.mark.parametrize("kind", sorted(kinds("faults")))
def test_an_experiment_for_every_kind_of_fault_is_good_without_further_words(
    chaoskit: Callable[..., Said], here: Path, kind: str
) -> None:
    write(here)
    code, _, err = chaoskit("new", "experiment", "--target", "tiny", "--fault", kind, "-o", "new.yaml")
    if code == 2:
        assert "expected --" in err, "what has no example must be named"
        return
    assert load(here / "new.yaml").faults[0].kind == kind


def test_without_a_target_it_says_what_to_do(chaoskit: Callable[..., Said]) -> None:
    code, _, err = chaoskit("new", "experiment")
    assert code == 2
    assert "chaoskit new target" in err


def test_a_target_by_flags_is_good_at_once(chaoskit: Callable[..., Said], here: Path) -> None:
    code, _, err = chaoskit(
        "new", "target", "mine", "--service", "web=python -m web {port}", "--need", "web:API=http://{api}",
        "--need", "web:DB=postgresql://{postgres}/mine", "--url", "api=http://127.0.0.1:9", "--real", "postgres",
        "--health", "/health",
    )  # fmt: skip
    assert code == 0, err
    assert not err
    target = load_target("mine")
    assert [edge.name for edge in target.topology().edges] == ["load->web", "web->api", "web->postgres"]
    assert chaoskit("new", "target", "mine", "--service", "web=x {port}").code == 2, "it is there already"


@pytest.mark.parametrize("flags", [("--service", "web"), ("--need", "web"), ("--need", "api:X=1"), ()])
def test_flags_that_make_no_sense_are_told(chaoskit: Callable[..., Said], flags: tuple[str, ...]) -> None:
    assert chaoskit("new", "target", "mine", *flags).code == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("experiment", "--target", "tiny", "--fault", "latency", "--on", "web->api", "--set", "add=50"), "300ms"),
        (("experiment", "--target", "tiny", "--fault", "latency", "--on", "web->apy"), "no edge 'web->apy'"),
        (("experiment", "--target", "tiny", "--fault", "latency", "--on", "web->api", "--rate", "fast"), "50/s"),
        (("target", "mine", "--service", "web=w {port}", "--need", "web:A=http://{apii}"), "no service 'apii'"),
        (("target", "mine", "--service", "web=w"), "expected {port} in it"),
        (("target", "mine", "--url", "web=here"), "'here' is not one of a service"),
        (("target", "B ad", "--service", "web=w {port}"), "not 'B ad'"),
        (("target", "../mine", "--service", "web=w {port}"), "not '../mine'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_what_would_be_wrong_is_not_written(
    chaoskit: Callable[..., Said], here: Path, flags: tuple[str, ...], said: str
) -> None:
    write(here)
    before = sorted(here.rglob("*"))
    code, out, err = chaoskit("new", *flags)
    assert (code, out) == (2, "")
    assert said in err
    assert sorted(here.rglob("*")) == before


def test_questions_are_asked_on_a_terminal(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    typed = "mine\nweb\nuvicorn app:app --port {port}\nAPI=http://{api}\n\n/ready\napi\nhttp://127.0.0.1:9\n\n\n"
    runner = CliRunner()
    with monkeypatch.context() as patch:
        patch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
        done = runner.invoke(main, ["new", "target"], input=typed)
    assert done.exit_code == 0, done.output
    target = load_target("mine")
    assert target.services["web"].health.ready == "/ready"
    assert target.services["api"].url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "value",
    ["on", "no", "a: b", "x #y", "503", "30%", "", "- a", "{x}", "it's", '"', "null", "true", "a, b", "ä", "1s", "*"],
)
def test_scalars_come_back_as_they_were(value: str) -> None:
    assert read_text(f"[{{a: {scalar(value)}}}]", "x.yaml").data == [{"a": value}]
    assert read_text(f"a: {scalar(value)}", "x.yaml").data == {"a": value}


def test_requests_come_from_openapi_har_and_curl(chaoskit: Callable[..., Said], here: Path) -> None:
    operations = '"/orders/{id}": {"get": {"responses": {"200": {"description": "ok"}}}}'
    document = f'{{"openapi": "3.0.0", "paths": {{{operations}}}}}'
    (here / "api.json").write_text(document)
    (here / "api.yaml").write_text(document)
    for file in ("api.json", "api.yaml"):
        code, out, err = chaoskit("new", "requests", "--from-openapi", file)
        assert code == 0, err
        assert read_text(out, "x.yaml").data["requests"][0]["path"].startswith("/orders/")
    code, out, _ = chaoskit("new", "requests", "--from-curl", "-", typed="curl http://x/a\n\ncurl -X POST http://x/b\n")
    assert [request["path"] for request in read_text(out, "x.yaml").data["requests"]] == ["/a", "/b"]
    code, out, _ = chaoskit("new", "requests", "--from-curl", "-", typed="curl http://x/a \\\n  -X POST\n")
    assert [request["method"] for request in read_text(out, "x.yaml").data["requests"]] == ["POST"]


@pytest.mark.parametrize("flags", [(), ("--from-curl", "curl x", "--from-har", "x.har"), ("--from-curl", "wget x")])
def test_requests_from_nowhere_are_refused(chaoskit: Callable[..., Said], here: Path, flags: tuple[str, ...]) -> None:
    (here / "x.har").write_text("{}")
    assert chaoskit("new", "requests", *flags).code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x.json: this is not valid JSON"),
        ("[" * 100_000, "x.json: this is not valid JSON"),
        ("{}", "x.json: this is no OpenAPI document"),
        (
            '{"paths": {"/": {"get": {"responses": [1]}}}}',
            "x.json: expected keys with values in the responses of GET /",
        ),
    ],
)
def test_an_openapi_document_that_is_none_is_refused(
    chaoskit: Callable[..., Said], here: Path, text: str, message: str
) -> None:
    (here / "x.json").write_text(text)
    code, _, err = chaoskit("new", "requests", "--from-openapi", "x.json")
    assert code == 2
    assert message in err


def test_a_har_file_that_is_none_is_refused_by_its_name(chaoskit: Callable[..., Said], here: Path) -> None:
    (here / "x.har").write_text("{}")
    assert "x.har: this is no HAR file" in chaoskit("new", "requests", "--from-har", "x.har").err


def test_no_curl_command_at_all_is_refused(chaoskit: Callable[..., Said]) -> None:
    assert chaoskit("new", "requests", "--from-curl", "-", typed="\n").code == 2
