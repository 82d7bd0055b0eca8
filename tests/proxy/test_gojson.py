"""JSON in Go's words. That the words are Go's is held by the contract suite and the differential one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.proxy.gojson import GoError, Raw, decode, dump, fields, float32_text

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_it_reads_what_python_writes(value: object) -> None:
    assert decode(json.dumps(value).encode()) == value


@given(values)
def test_what_it_writes_reads_back(value: object) -> None:
    assert json.loads(dump(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        decode(data)
    except GoError as error:
        assert str(error)


@given(values, st.integers(0, 100))
def test_a_cut_text_is_an_unexpected_end(value: object, cut: int) -> None:
    text = json.dumps([value]).encode()
    part = text[: 1 + cut % (len(text) - 1)]
    with pytest.raises(GoError, match=r"^unexpected EOF$"):
        decode(part)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", '{"a":NaN}'])
def test_words_that_only_python_reads_are_refused(word: str) -> None:
    with pytest.raises(GoError, match="invalid character"):
        decode(word.encode())


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(GoError):
        decode(b"[" * 200_000)


def test_half_a_surrogate_pair_is_read_as_the_replacement_character() -> None:
    text = rb'{"a\uD800": ["\udc00\ud83d\ude00\ud83d", "\\ud800", 1, null]}'
    assert decode(text) == {"a\ufffd": ["\ufffd\U0001f600\ufffd", "\\ud800", 1, None]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (0, "0"),
        (0.1, "0.1"),
        (0.5, "0.5"),
        (1e-06, "0.000001"),
        (1e-07, "1e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (16777216, "16777216"),
        (0.3333333333333, "0.33333334"),
        (-2.5, "-2.5"),
        (100, "100"),
    ],
)
def test_float32_is_written_as_go_writes_it(value: float, text: str) -> None:
    assert float32_text(value) == text


def test_the_first_wrong_field_is_told_and_the_others_are_read() -> None:
    types = {"a": "int64", "b": "int64", "c": "string"}
    with pytest.raises(GoError) as caught:
        fields(decode(b'{"a":"x","b":7,"c":8}'), types, "T", "t.T")
    assert str(caught.value) == "json: cannot unmarshal string into Go struct field T.a of type int64"
    assert caught.value.partial == {"b": 7}


def test_raw_text_is_not_quoted() -> None:
    assert dump({"a": Raw("0.1")}) == '{"a":0.1}'
