"""The JSON Schema says what the reader accepts, for every kind that is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from chaoskit.document import read
from chaoskit.reading import problems_of
from chaoskit.registry import kinds
from chaoskit.schema import experiment_schema, kind_schema, target_schema
from tests.experiments import write

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("file", sorted(ROOT.glob("experiments/*.yaml")), ids=lambda file: file.stem)
def test_our_experiments_are_valid(file: Path) -> None:
    Draft202012Validator(experiment_schema()).validate(read(file).data)


@pytest.mark.parametrize("file", sorted(ROOT.glob("targets/*/target.yaml")), ids=lambda file: file.parent.name)
def test_our_targets_are_valid(file: Path) -> None:
    Draft202012Validator(target_schema()).validate(read(file).data)


def test_both_schemas_are_schemas() -> None:
    for schema in (experiment_schema(), target_schema()):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title:", "titel:"),
        ("rate: 50/s", "rate: 50"),
        ("kind: latency, on", "kind: latnecy, on"),
        ("add: 100ms", "add: 100"),
        ("add: 100ms", "ad: 100ms"),
        ("breaks: [latency]", "breaks: latency"),
        ("fault: 10s", "fault: 10"),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(tmp_path: Path, old: str, new: str) -> None:
    validator = Draft202012Validator(experiment_schema())
    assert validator.is_valid(read(write(tmp_path)).data)
    assert not validator.is_valid(read(write(tmp_path, (old, new))).data)


@pytest.mark.parametrize("written", ["error_rate > 50% for 2s", "[error_rate > 50% for 2s, p95 > 2s for 3s]"])
def test_abort_conditions_are_one_or_a_list(tmp_path: Path, written: str) -> None:
    file = write(tmp_path, ("phases:", f"abort_when: {written}\nphases:"))
    Draft202012Validator(experiment_schema()).validate(read(file).data)
    assert not problems_of(file)


def test_every_kind_is_a_branch_with_its_name() -> None:
    schema = experiment_schema()
    for key, folder in (("faults", "faults"), ("hypotheses", "hypotheses"), ("probes", "probes")):
        branches = schema["properties"][key]["items"]["oneOf"]
        assert {branch["$ref"].rpartition(".")[2] for branch in branches} == set(kinds(folder))
    assert schema["$defs"]["faults.latency"]["properties"]["kind"] == {"const": "latency", "type": "string"}
    assert "id" not in schema["$defs"]["faults.latency"]["properties"]
    assert "source" not in schema["properties"]


@pytest.mark.parametrize(("folder", "kind"), [(f, k) for f in ("faults", "hypotheses", "probes") for k in kinds(f)])
def test_every_kind_has_a_schema_of_its_own_and_says_what_it_is(folder: str, kind: str) -> None:
    schema = kind_schema(folder, kind)
    Draft202012Validator.check_schema(schema)
    assert schema["description"]
    keys = [key for key in schema["properties"] if key != "kind" and not re.fullmatch(r"p[0-9.]+", key)]
    undescribed = [key for key in keys if not {"description", "$ref"} & schema["properties"][key].keys()]
    assert not undescribed, f"{kind}: say what {undescribed} are"
