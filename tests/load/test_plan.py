"""Data files: what is wrong in one is told with its line, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import UsageError
from chaoskit.load.plan import load_plan
from chaoskit.load.wire import LoadPlan
from chaoskit.traffic import LoadSpec


def plan(folder: Path, name: str, text: str | bytes) -> LoadPlan:
    """That of a load with one file of data, whose key or column `a` is asked for."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    data = {"x": {Path(name).suffix.removeprefix("."): name}}
    spec = LoadSpec.model_validate({"rate": "5/s", "requests": [{"path": "/${x.a}"}], "data": data})
    return load_plan(spec, "http://localhost:1", seed=1, root=folder)


def test_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    assert plan(tmp_path, "d.csv", 'a,b\n"1\n2",x\n3\n').feeds[0].rows == ({"a": "1\n2", "b": "x"}, {"a": "3"})
    assert plan(tmp_path, "d.jsonl", '{"a": 1}\n\n{"a": "\\ud83d\\ude00"}\n').feeds[0].rows == ({"a": 1}, {"a": "😀"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.jsonl", '{"a": 1}\n\nnope\n', "line 3: Expecting value at column 1"),
        ("d.jsonl", '{"a": 1}\n{"a": "\\ud800"}\n', "line 2: half a pair of surrogates"),
        ("d.jsonl", '{"a": 1}\n' + "[" * 100_000, "line 2: too many levels"),
        ("d.jsonl", '{"a": 1}\n{"b": 1}\n', "has no a in row 2"),
        ("d.jsonl", b"\xff\n", "cannot be read"),
        ("d.csv", "a\n1\n2,3\n", "line 3: more fields than the first line has"),
        ("d.csv", "b,a\n1,2\n3\n", "has no a in row 2"),
        ("d.csv", 'a\n1\n"2\n', "after line 2: unexpected end of data"),
        ("d.csv", "a\n", "has no rows"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, name, text)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
