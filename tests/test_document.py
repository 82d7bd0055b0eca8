"""Files are read as data, with the place of every key; nothing in one can run, explode or mean two things."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaoskit.document import Place, path_text, read, read_text
from chaoskit.errors import FileError


def problems(text: str, name: str = "x.yaml") -> list[str]:
    with pytest.raises(FileError) as caught:
        read_text(text, name)
    return [str(problem) for problem in caught.value.problems]


def test_values_are_those_of_yaml_1_2() -> None:
    text = "on: yes\noff: no\na: 017\nb: 0o17\nc: 0x1F\nd: 1_000\ne: 12e2\n"
    text += "f: .5\ng: ~\nh: True\ni: 1:30\nj: 2026-01-01\n"
    assert read_text(text, "x.yaml").data == {
        "on": "yes",
        "off": "no",
        "a": 17,
        "b": 15,
        "c": 31,
        "d": "1_000",
        "e": 1200.0,
        "f": 0.5,
        "g": None,
        "h": True,
        "i": "1:30",
        "j": "2026-01-01",
    }


def test_every_key_and_value_has_its_place() -> None:
    document = read_text("load:\n  rate: 80/s\n  requests:\n    - {name: page, path: /}\n", "x.yaml")
    assert document.places["load", "rate"] == Place((2, 3), (2, 9))
    assert document.places["load", "requests", 0] == Place((4, 7), (4, 7))
    assert document.places["load", "requests", 0, "path"] == Place((4, 20), (4, 26))
    assert str(document.problem(("load", "rate"), "wrong")) == "x.yaml:2:9: load.rate: wrong"
    assert str(document.problem(("load", "rate"), "wrong", key=True)) == "x.yaml:2:3: load.rate: wrong"
    assert str(document.problem(("load", "requests", 0, "method"), "gone", "so")).startswith("x.yaml:4:7:")


def test_keys_are_text_whatever_they_look_like() -> None:
    assert read_text("{200: a, true: b, null: c}", "x.yaml").data == {"200": "a", "true": "b", "null": "c"}


def test_an_alias_stands_for_what_it_names() -> None:
    document = read_text("a: &it {b: 1}\nc: *it\n", "x.yaml")
    assert document.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert document.places["c", "b"].value == (1, 12), "what is wrong in it is where it is written"


def test_json_is_read_with_places_too() -> None:
    text = '{\n\t"a":1,\n\t"b": ["x", null, true, 1E5, "\\ud83d\\ude00 \\u00e9\\/"]\n}'
    document = read_text(text, "x.json")
    assert document.data == {"a": 1, "b": ["x", None, True, 100000.0, "😀 é/"]}
    assert document.places["b", 1].value == (3, 13)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "x.yaml:2:1: the key 'a' is there twice (first in line 1)"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4: tags such as !!python/object:os.system are not read here"),
        ("a: !env HOME\n", "tags such as !env are not read here"),
        ("a: .inf\n", "expected a finite number, not .inf"),
        ("a: 1e999\n", "expected a finite number, not 1e999"),
        ("a: " + "9" * 5000, "expected a number of a sensible size"),
        ("a: *b\n", "no anchor &b before this alias"),
        ("a: &b [1, *b]\n", "the alias *b stands inside what it means"),
        ("? [a, b]\n: c\n", "expected a text as key"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: expected one document in a file"),
        ("a:\n\t- b\n", "indented with spaces, never with tabs"),
        ("a: b: c\n", "x.yaml:1:5: not valid YAML: mapping values are not allowed here"),
        ("a: [1, 2\nb: 3\n", "every"),
        ("a: 'x\n", "not valid YAML"),
        ("a: \x01\n", "x.yaml:1:4: not valid YAML"),
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("[" * 300_000, "more than 64 levels"),
        ("{a: " * 100_000, "more than 64 levels"),
        ("- " * 5000 + "x", "more than 64 levels"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, says: str) -> None:
    began = time.monotonic()
    assert any(says in problem for problem in problems(text))
    assert time.monotonic() - began < 10.0


def test_every_duplicate_and_tag_of_a_file_is_told_at_once() -> None:
    assert len(problems("a: 1\na: 2\nb: !x 1\nc: {d: 1, d: 2}\n")) == 3


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    began = time.monotonic()
    assert "more than 100,000 values once its aliases are expanded" in problems("\n".join(lines))[0]
    assert time.monotonic() - began < 5.0


def test_broken_json_is_told_as_json() -> None:
    assert problems('{"a": 1,}', "x.json")[0].startswith("x.json:1:")
    assert "not valid JSON" in problems('{"a": 1,}', "x.json")[0]
    assert "not valid JSON" in problems("a: 1\n", "x.json")[0]


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("a: 1")
    for path, says in (
        (tmp_path / "experimant.yaml", "did you mean"),
        (tmp_path, "is a folder"),
        (tmp_path / "experiment.yaml" / "x", "no such file"),
        (tmp_path / "no" / "x.yaml", "no such file"),
    ):
        with pytest.raises(FileError, match=says):
            read(path)


def test_files_that_are_not_text_or_too_large_are_told(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe\n")
    with pytest.raises(FileError, match=r"binary\.yaml:2:4: expected text in UTF-8"):
        read(binary)
    large = tmp_path / "large.yaml"
    large.write_text("a: '" + "x" * (1 << 20) + "'")
    with pytest.raises(FileError, match="larger than 1 MiB"):
        read(large)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read(file).data == {"a": 1, "b": 2}


def test_paths_are_written_as_people_write_them() -> None:
    assert path_text(("faults", 0, "on", 1)) == "faults[0].on[1]"
    assert path_text(()) == ""
