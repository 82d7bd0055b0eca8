"""Game days at the command line, as far as none must be up: what is refused, and how settings are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.cli.common.gameday import chosen, clock, env_lines, picture, settings_of, status_line
from chaoskit.control import ControlServer
from chaoskit.errors import UsageError
from chaoskit.lever import pull
from chaoskit.studies.live import CheckNow, EdgeNow, FaultNow, LoadNow, Status
from tests.cli.conftest import Said

TINY = str(Path(__file__).parent.parent / "e2e" / "targets" / "tiny" / "target.yaml")
EXPERIMENT = str(Path(__file__).parent.parent / "e2e" / "experiments" / "back-100ms-slower.yaml")


@pytest.mark.parametrize("command", [("inject", "latency", "--on", "a->b"), ("watch",), ("down",)])
def test_without_a_game_day_there_is_a_hint(chaoskit: Callable[..., Said], command: tuple[str, ...]) -> None:
    said = chaoskit(*command)
    assert said.code == 2
    assert "no game day is up" in said.err and "chaoskit up" in said.err


def test_status_without_one_is_no_error(chaoskit: Callable[..., Said]) -> None:
    said = chaoskit("status")
    assert said.code == 0 and "no game day is up" in said.out
    assert '"game_days": []' in chaoskit("status", "--json").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tinny",), "no target 'tinny'"),
        ((TINY, "--deployer", "proces"), "did you mean 'process'?"),
        ((TINY, "--for", "10"), "--for"),
        ((TINY, "--for", "0s"), "longer than nothing"),
        ((TINY, "--env", "front"), "SERVICE.NAME=VALUE"),
        ((TINY, "--env", "frnt.A=1"), "did you mean 'front'?"),
        ((TINY, "--variant", "patient"), "a target has none"),
        ((EXPERIMENT, "--variant", "patent"), "patient, hasty"),
        ((TINY, "--blast-radius", "front->midle"), "did you mean 'front->middle'?"),
        ((TINY, "--rate", "20"), "rate"),
        ((TINY, "--print-env", "--json"), "standard output"),
    ],
)
def test_up_refuses_before_anything_exists(
    chaoskit: Callable[..., Said], here: Path, arguments: tuple[str, ...], message: str
) -> None:
    said = chaoskit("up", *arguments)
    assert said.code == 2, said
    assert message in said.err
    assert not (here / "reports").exists()


@pytest.mark.parametrize("command", [("up", TINY), ("inject", "latency", "--on", "a->b", "--add", "1s")])
def test_the_lever_refuses_them(chaoskit: Callable[..., Said], here: Path, command: tuple[str, ...]) -> None:
    pull("a real incident")
    said = chaoskit(*command)
    assert said.code == 4
    assert "a real incident" in said.err
    assert not (here / "reports").exists()


@pytest.mark.parametrize(
    ("words", "pairs", "expected"),
    [
        (("--add", "200ms"), (), {"add": "200ms"}),
        (("--add=200ms", "--way", "both"), (), {"add": "200ms", "way": "both"}),
        (("--status", "503", "--share", "50%"), (), {"status": 503, "share": "50%"}),
        (("--after-bytes", "10"), ("seed=3",), {"after_bytes": 10, "seed": 3}),
        (("--hard", "--add", "1s"), (), {"hard": True, "add": "1s"}),
        ((), ("paths=[/a, /b]",), {"paths": ["/a", "/b"]}),
        (("--add", "+50%"), (), {"add": "+50%"}),
    ],
)
def test_settings_are_read_as_in_a_file(words: tuple[str, ...], pairs: tuple[str, ...], expected: object) -> None:
    assert settings_of(words, pairs) == expected


@pytest.mark.parametrize(
    ("words", "pairs"), [(("200ms",), ()), (("--",), ()), (("--add", "1s"), ("add=2s",)), ((), ("add",)), ((), ("=1",))]
)
def test_settings_that_are_none_are_refused(words: tuple[str, ...], pairs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        settings_of(words, pairs)


@pytest.mark.parametrize("wrong", ["--at", "--lasts"])
def test_when_is_said_by_for_alone(chaoskit: Callable[..., Said], wrong: str) -> None:
    server = ControlServer("gameday-shop-1", lambda asked: asked)
    server.start()
    try:
        said = chaoskit("inject", "latency", "--on", "a->b", "--add", "1s", wrong, "5s")
    finally:
        server.close()
    assert said.code == 2 and "--for" in said.err


def test_of_several_one_must_be_named(state_folder: Path) -> None:
    servers = [ControlServer(f"gameday-{name}-1", lambda asked: asked) for name in ("shop", "tiny", "tiny-too")]
    for server in servers:
        server.start()
    try:
        with pytest.raises(UsageError, match="3 game days are up") as caught:
            chosen(None)
        assert "--run gameday-shop-1" in caught.value.hint
        assert chosen("shop") == "gameday-shop-1"
        assert chosen("gameday-tiny-1") == "gameday-tiny-1"
        with pytest.raises(UsageError, match="no game day 'front'"):
            chosen("front")
    finally:
        for server in servers:
            server.close()


def status() -> Status:
    edges = [
        EdgeNow(edge=name, listen="127.0.0.1:1", rate=40.0, p50=0.01, p95=0.02, errors=0.0, listening=True)
        for name in ("load->front", "front->back.1", "front->back.2")
    ]
    faults = [
        FaultNow(
            id="latency", kind="latency", on=("front->back",), says="latency +1 s", state="in", since=8.0, until=38.0
        ),
        FaultNow(id="kill", kind="kill", on=("back",), says="killed (SIGKILL)", state="out", since=1.0, until=3.0),
        FaultNow(
            id="pause",
            kind="pause",
            on=("back",),
            says="paused",
            state="failed",
            since=1.0,
            until=3.0,
            error="it broke",
        ),
    ]
    return Status(
        run="gameday-shop-1", title="Game day on shop", target="shop", deployer="process", proxy="embedded",
        folder="reports/x", pid=1, at=10.0, left=3590.0, entry="127.0.0.1:9",
        env={"front": {"BACKS": "http://127.0.0.1:2,http://127.0.0.1:3", "NAME": "a b"}, "web.2": {"URL": "x"}},
        load=LoadNow(rate=40.0, p50=0.1, p95=None, errors=0.25), edges=edges,
        checks=[CheckNow(name="back/ready", ok=False, because="refused")], breakers={"front->back": "open"},
        faults=faults,
    )  # fmt: skip


def test_the_environment_is_one_that_a_shell_reads() -> None:
    assert env_lines(status()) == [
        "# who calls the entry",
        "CHAOSKIT_ENTRY_URL=http://127.0.0.1:9",
        "# front",
        "BACKS=http://127.0.0.1:2,http://127.0.0.1:3",
        "NAME='a b'",
        "# web.2",
        "URL=x",
    ]
    assert env_lines(status(), "web") == ["URL=x"]
    with pytest.raises(UsageError, match="no service 'back'"):
        env_lines(status(), "back")


def test_the_picture_tells_what_is_wrong() -> None:
    text = "\n".join(
        "".join(piece if isinstance(piece, str) else piece[0] for piece in line) for line in picture(status())
    )
    for told in ("59:50", "errors 25.0%", "front->back.2", "back/ready: refused", "front->back: open", "out in 28.0 s",
                 "out after 2.0 s", "it broke"):  # fmt: skip
        assert told in text
    styles = {piece[0].strip(): piece[1] for line in picture(status()) for piece in line if not isinstance(piece, str)}
    assert styles["front->back.1"] == styles["front->back.2"] == "magenta", "what is broken stands out"
    (line,) = status_line(status())
    assert "not ok: back/ready" in line and "in: latency +1 s on front->back" in line


def test_clocks_are_short() -> None:
    assert [clock(seconds) for seconds in (0.0, 59.0, 60.0, 3599.0, 3600.0, 90_000.0)] == [
        "0 s", "59 s", "1:00", "59:59", "1:00:00", "25:00:00",
    ]  # fmt: skip
