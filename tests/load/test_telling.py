"""What a request wrote or read is kept with what the target said of it: acknowledged, refused, or nobody knows."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable

import gevent
import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.nothing_lost import NothingLost
from chaoskit.load.telling import outcome_of
from chaoskit.model.observation import Event
from chaoskit.model.told import Told, told
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from chaoskit.traffic import LoadSpec
from tests.load.conftest import Sender
from tests.load.servers import Peer, Server

Make = Callable[..., Sender]

ORDER = {
    "name": "order",
    "method": "POST",
    "path": "/orders",
    "json": {"id": "${id}"},
    "timeout": "300ms",
    "tells": {"as": "order", "write": "${id}", "value": "v${id}"},
}
DATA = {"id": ["o1", "o2", "o3"]}


def rows(user: Sender, name: str = "order") -> list[Told]:
    return list(told(user.recorder.told(), name))


def test_a_write_that_was_answered_well_is_acknowledged(sender: Make) -> None:
    with Server(lambda peer: [peer.answer() for _ in iter(peer.request, b"")]) as server:
        user = sender(server.url, requests=[ORDER], data=DATA)
        assert [user.send(number=number) for number in range(3)] == ["", "", ""]
    kept = rows(user)
    assert [(one.op, one.key, one.value, one.outcome) for one in kept] == [
        ("write", "o1", "vo1", "acknowledged"),
        ("write", "o2", "vo2", "acknowledged"),
        ("write", "o3", "vo3", "acknowledged"),
    ]
    assert all(one.sent < one.ended < one.sent + 1.0 for one in kept)
    assert rows(user) == []


@pytest.mark.parametrize(
    ("status", "outcome"), [("422 No", "refused"), ("409 Conflict", "unknown"), ("503 Busy", "unknown")]
)
def test_an_answer_that_says_no_refuses_and_one_that_does_not_say_leaves_it_open(
    sender: Make, status: str, outcome: str
) -> None:
    with Server(lambda peer: [peer.answer(status=status) for _ in iter(peer.request, b"")]) as server:
        user = sender(server.url, requests=[ORDER], data=DATA)
        user.send()
    assert [one.outcome for one in rows(user)] == [outcome]


def test_no_answer_leaves_it_open_and_a_refused_connection_does_not(sender: Make) -> None:
    with Server(lambda peer: peer.request() and peer.request()) as server:  # takes the request and says nothing
        user = sender(server.url, requests=[ORDER], data=DATA)
        assert user.send() == "timeout"
        assert [(one.key, one.outcome) for one in rows(user)] == [("o1", "unknown")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    user = sender(url, requests=[ORDER], data=DATA)
    assert user.send() == "refused"
    assert [(one.key, one.outcome) for one in rows(user)] == [("o1", "refused")]


def test_one_that_is_still_open_at_the_end_is_kept_without_an_end(sender: Make) -> None:
    with Server(lambda peer: peer.request() and peer.request()) as server:
        user = sender(server.url, requests=[{**ORDER, "timeout": "9s"}], data=DATA)
        sending = gevent.spawn(user.session.run, user.sending.mix[0], 0.0, 0)
        gevent.sleep(0.3)
        user.sending.give_up()
        sending.kill()
    assert [(one.key, one.outcome, one.ended) for one in rows(user)] == [("o1", "unknown", math.inf)]


def test_keys_and_values_come_from_the_answer_where_they_are_places_in_it(sender: Make) -> None:
    def answer(peer: Peer) -> None:
        while data := peer.request():
            made = data.startswith(b"POST")
            peer.answer(json.dumps({"order": {"id": 7, "state": "paid"}} if made else {"nothing": 1}).encode())

    tells = {"as": "order", "read": "$.order.id", "value": "$.order.state"}
    with Server(answer) as server:
        requests = [{**ORDER, "json": {}, "tells": tells}, {"path": "/", "tells": tells}]
        user = sender(server.url, requests=requests)
        assert [user.send(0), user.send(1)] == ["", ""]
    assert [(one.op, one.key, one.value) for one in rows(user)] == [("read", "7", "paid")]


def test_what_was_told_is_what_the_judges_of_consistency_read(sender: Make) -> None:
    with Server(lambda peer: [peer.answer() for _ in iter(peer.request, b"")]) as server:
        user = sender(server.url, requests=[ORDER], data=DATA)
        for number in range(3):
            user.send(number=number)
    event = user.recorder.told()[0]
    about = {"step": "all", "status": "200", "body": '["o1", "o3"]'}
    read = Event(at=24.5, source="verify", kind="read", text="all", about=about)
    history = HistoryBuilder().window("verify", (24.0, 25.0)).observe(event, read).build()
    finding = NothingLost(told="order", read="all", at="$[*]").judge(history)
    assert (finding.verdict, "(o2)" in finding.because) == (Verdict.REFUTED, True)


@pytest.mark.parametrize(
    ("cause", "status", "outcome"),
    [
        ("", 201, "acknowledged"),
        ("refused", 0, "refused"),
        ("status 400", 400, "refused"),
        ("status 408", 408, "unknown"),
        ("status 500", 500, "unknown"),
        ("timeout", 0, "unknown"),
        ("reset", 0, "unknown"),
        ("check: state", 200, "unknown"),
    ],
)
def test_outcomes(cause: str, status: int, outcome: str) -> None:
    assert outcome_of(cause, status) == outcome


@pytest.mark.parametrize(
    "tells",
    [
        {"as": "order"},
        {"as": "order", "write": "a", "read": "b"},
        {"as": "", "write": "a"},
        {"as": "order", "write": "$.a b"},
        {"as": "order", "write": "${nobody}"},
    ],
    ids=["no key", "both", "no name", "no path", "an unknown name"],
)
def test_what_makes_no_sense_is_refused(tells: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        LoadSpec.model_validate({"users": 1, "requests": [{"path": "/", "tells": tells}]})
