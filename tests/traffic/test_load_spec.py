"""The load section: what it takes, what it makes of it, and one clear sentence where it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chaoskit.traffic import LoadSpec, parse_json_path, placeholders

GET: dict[str, Any] = {"path": "/"}


def load(**fields: Any) -> LoadSpec:
    fields.setdefault("requests", [GET])
    return LoadSpec.model_validate(fields)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "expected one of rate (open), users (closed) and stages"),
    ({"rate": "5/s", "users": 3}, "expected one of rate (open), users (closed) and stages"),
    ({"rate": "5"}, "expected a rate, such as 50/s, not '5'"),
    ({"rate": 5}, "expected a rate, such as 50/s, not 5"),
    ({"rate": "0/s"}, "expected a rate above 0/s"),
    ({"rate": "5/s", "requests": []}, "expected requests"),
    ({"rate": "5/s", "requests": [{"path": "/", "once": True}]}, "at least one that is not sent once"),
    ({"rate": "5/s", "requests": [{"path": "x"}]}, "expected a path that starts with /, not 'x'"),
    ({"rate": "5/s", "requests": [{"path": "/", "method": "G T"}]}, "expected a method such as GET or POST"),
    ({"rate": "5/s", "requests": [{"path": "/", "json": {}, "body": "x"}]}, "expected json or body, not both"),
    ({"rate": "5/s", "requests": [{"path": "/", "timeout": "0s"}]}, "expected a timeout above 0s"),
    ({"rate": "5/s", "requests": [{"path": "/", "timeout": 2}]}, "expected a duration with its unit"),
    ({"rate": "5/s", "requests": [{"path": "/", "expect": "ok"}]}, "expected a status such as 200 or 2xx"),
    ({"rate": "5/s", "requests": [{"path": "/", "checks": [{}]}]}, "expected at least one condition"),
    ({"rate": "5/s", "requests": [{"path": "/", "checks": [{"json": "a.b"}]}]}, "a JSONPath that starts with $"),
    ({"rate": "5/s", "requests": [{"path": "/", "checks": [{"status": 200, "equals": 1}]}]}, "equals needs json"),
    ({"rate": "5/s", "requests": [{"path": "/", "checks": [{"pattern": "("}]}]}, "expected a regular expression"),
    ({"rate": "5/s", "requests": [{"path": "/", "headers": {"a b": "c"}}]}, "expected a header's name"),
    ({"rate": "5/s", "requests": [{"path": "/", "headers": {"A": "b\r\nC: d"}}]}, "without line breaks"),
    ({"rate": "5/s", "requests": [{"path": "/", "headers": {"Content-Length": "3"}}]}, "set by the load itself"),
    ({"rate": "5/s", "requests": [{"path": "/${x}"}]}, "uses ${x}, which neither data nor a capture gives"),
    ({"rate": "5/s", "requests": [{"path": "/", "then": [{"path": "/", "weight": 2}]}]}, "neither weight nor once"),
    ({"rate": "5/s", "data": {"x": {}}}, "expected one of csv, jsonl, values"),
    ({"rate": "5/s", "requests": [{"path": "/", "checks": [{"pattern": "(?u)x"}]}]}, "expected a regular expression"),
    ({"rate": "5/s", "data": {"x": {"range": [5, 1]}}}, "expected the smaller number first"),
    ({"rate": "5/s", "data": {"env": [1]}}, "env is taken"),
    ({"rate": "5/s", "think": "1s"}, "an open load does not wait for answers: think go with users"),
    ({"users": 3, "arrivals": "poisson"}, "users wait for their answers: arrivals go with a rate"),
    ({"users": 0}, "greater than or equal to 1"),
    ({"rate": "5/s", "arrivals": "spike"}, "arrivals: spike needs spike"),
    ({"rate": "5/s", "spike": {"times": 2, "at": "1s", "lasts": "0s"}}, "lasts longer than nothing"),
    ({"stages": [{"for": "1s"}]}, "expected rate or users in a stage"),
    ({"stages": [{"rate": "5/s", "for": "1s"}, {"users": 3, "for": "1s"}]}, "stages that all have a rate"),
    ({"stages": [{"rate": "5/s", "for": "1s", "ramp": "2s"}]}, "a ramp that is at most as long as its stage"),
    ({"locustfile": "x.py", "users": 3}, "expected requests or a locustfile, not both"),
    ({"locustfile": "x.py", "rate": "3/s", "requests": []}, "give users, not a rate"),
    ({"rate": "5/s", "nonsense": 1}, "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_makes_no_sense_is_told_in_one_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        load(**fields)
    assert any(message in error["msg"] for error in caught.value.errors()), caught.value


def test_defaults_are_those_of_the_docs() -> None:
    spec = load(rate="80/s")
    assert (spec.timeout, spec.open, spec.workers, spec.sheds_at) == (10.0, True, 1, 1000)
    assert load(rate="500/s").sheds_at == 5000
    assert load(rate="500/s", requests=[{"path": "/", "timeout": "1s"}], timeout="1s").sheds_at == 1000
    assert load(rate="500/s", max_in_flight=7).sheds_at == 7
    assert not load(users=3).open


def test_names_are_those_that_hypotheses_use() -> None:
    requests = [{"path": "/a"}, {"name": "b", "path": "/b", "then": [{"method": "POST", "path": "/c"}]}]
    assert load(rate="1/s", requests=requests).names == ("GET /a", "b", "POST /c")


def test_as_many_are_planned_as_the_level_says() -> None:
    spec = load(rate="10/s", ramp="2s", requests=[{"name": "a", "path": "/"}, {"name": "b", "path": "/", "weight": 3}])
    assert spec.planned(0, 2) == pytest.approx(10)
    assert spec.planned(2, 12) == pytest.approx(100)
    assert spec.planned(2, 12, "b") == pytest.approx(75)
    assert load(users=5).planned(0, 10) == 0


def test_spikes_repeat() -> None:
    spec = load(rate="10/s", arrivals="spike", spike={"times": 5, "at": "1s", "lasts": "1s", "every": "4s"})
    assert [round(spec.planned(second, second + 1)) for second in range(8)] == [10, 50, 10, 10, 10, 50, 10, 10]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.a.b", ("a", "b")),
        ("$.items[0].id", ("items", 0, "id")),
        ("$[-1]['a b'][\"c\"]", (-1, "a b", "c")),
        ("$.items[*].*", ("items", None, None)),
    ],
)
def test_json_paths(text: str, steps: tuple[object, ...]) -> None:
    assert parse_json_path(text) == steps


@pytest.mark.parametrize("text", ["", "a", "$a", "$..a", "$.a[", "$.a[x]", "$.a b"])
def test_what_is_no_json_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a JSONPath"):
        parse_json_path(text)


def test_placeholders_are_found_wherever_they_stand() -> None:
    assert placeholders({"${a}": ["x ${b} ${ c }", {"d": "$${e}"}], "f": 1}) == ["a", "b", "c"]
