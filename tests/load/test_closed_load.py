"""Users who wait: none of them keeps the loop from turning, whatever comes back at once."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import Any

import gevent
import pytest

from chaoskit.load.closed_load import ClosedLoad
from chaoskit.load.plan import load_plan
from chaoskit.load.recording import Recorder
from chaoskit.load.sending import Sending
from chaoskit.traffic import LoadSpec
from tests.load.servers import Server, polite

LASTS = 0.3


def outcomes(url: str, users: int = 1, **load: Any) -> Counter[str]:
    """Causes (and `dropped`) of what so many users do in 0.3 s."""
    load.setdefault("requests", [{"path": "/"}])
    spec = LoadSpec.model_validate({"users": users, **load})
    recorder = Recorder("worker.1")
    sending = Sending(load_plan(spec, url, seed=1), recorder, None)
    closed = ClosedLoad(sending)
    closed.start(monotonic(), LASTS)
    gevent.joinall([gevent.spawn(closed.live) for _ in range(users)], timeout=10)
    sending.client.close()
    seen: Counter[str] = Counter()
    for slot in recorder.flush():
        seen.update(slot.causes)
        seen["dropped"] += slot.dropped
    return seen


NEVER = {"requests": [{"path": "/", "headers": {"A": "${t}"}}], "data": {"t": "setup"}}
NEVER_IN_A_SESSION = {**NEVER, "requests": [{**NEVER["requests"][0], "redirects": True}]}  # type: ignore[dict-item]


@pytest.mark.parametrize("load", [NEVER, NEVER_IN_A_SESSION])
def test_a_user_without_the_value_it_needs_backs_off(load: dict[str, Any]) -> None:
    with Server(polite) as server:
        assert 1 <= outcomes(server.url, **load)["no value for t"] <= LASTS / 0.1 + 1


def test_without_a_backoff_the_loop_still_turns() -> None:
    with Server(polite) as server:
        assert 1 <= outcomes(server.url, backoff="0s", **NEVER)["no value for t"] <= LASTS / 0.001 + 1


def test_users_whom_there_are_no_files_for_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    import _socket

    def full(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with Server(polite) as server:
        monkeypatch.setattr(_socket, "socket", full)
        assert 5 <= outcomes(server.url, users=5)["dropped"] <= 5 * (LASTS / 0.1 + 1)


def test_a_life_that_an_error_ended_is_lived_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sending = Sending(
        load_plan(LoadSpec.model_validate({"users": 1, "requests": [{"path": "/"}]}), "http://127.0.0.1:1", seed=1),
        Recorder("worker.1"),
        None,
    )
    closed = ClosedLoad(sending)
    lived: list[int] = []

    def user(index: int) -> None:
        lived.append(index)
        if len(lived) == 1:
            raise ArithmeticError

    monkeypatch.setattr(closed, "user", user)
    with pytest.raises(ArithmeticError):
        closed.live()
    closed.live()
    sending.client.close()
    assert lived == [0, 0]
