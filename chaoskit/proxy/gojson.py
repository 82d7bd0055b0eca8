"""JSON as Go's encoding/json reads and writes it: the same leniency, the same error texts, the same escapes.

Clients and tests of Toxiproxy compare its error bodies word for word, and those words come from Go's decoder.
The happy path is Python's own parser; this file's scanner runs only where that one fails, to find Go's words for it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Union

__all__ = ["GoError", "Number", "Raw", "Value", "decode", "dump", "fields", "float32_text", "shown_kind"]

Value = Union[str, int, float, bool, None, list["Value"], dict[str, "Value"]]
"""What came out of a JSON text."""

_SPACE = " \t\r\n"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_HALVES = re.compile("[\ud800-\udfff]")
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_EOF = "unexpected EOF"
_MOST_DEPTH = 200
"""Of a text that Python's parser could not read (which takes about a thousand)."""


class GoError(ValueError):
    """A message in the words of Go's decoder. `partial` holds the fields that were read all the same."""

    def __init__(self, message: str, partial: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.partial = dict(partial or {})


class Number(float):
    """A JSON number that remembers how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Number:
        made = super().__new__(cls, text)
        made.text = text
        return made


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number)


def decode(body: bytes) -> Value:
    """The first JSON value of `body`; what follows it is not looked at. Raises GoError."""
    text = body.decode("utf-8", errors="replace")
    start = len(text) - len(text.lstrip(_SPACE))
    if start == len(text):
        raise GoError("EOF")
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        _Scanner(body.decode("latin-1"), start).value()
        raise GoError("exceeded max depth") from None
    if isinstance(value, Number) or "NaN" in text or "Infinity" in text:
        # Python reads these words and Go does not, and it ends a bare number where Go would read on.
        _Scanner(body.decode("latin-1"), start).value()
    result: Value = _without_halves(value) if _HALF.search(text) else value
    return result


def _without_halves(value: Value) -> Value:
    """Half a surrogate pair is no character: Go reads U+FFFD."""
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    if isinstance(value, dict):
        return {_HALVES.sub("\ufffd", key): _without_halves(item) for key, item in value.items()}
    return value


def _quoted(char: str) -> str:
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    shown = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\a": "\\a", "\v": "\\v"}
    if char in shown:
        return f"'{shown[char]}'"
    if char.isprintable():
        return f"'{char}'"
    return f"'\\x{ord(char):02x}'" if ord(char) < 0x80 else f"'\\u{ord(char):04x}'"


class _Scanner:
    """Walks a text that is (probably) broken and raises where Go's scanner would."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.depth = 0

    def peek(self, skip: bool = True) -> str:
        if skip:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
        if self.at >= len(self.text):
            raise GoError(_EOF)
        return self.text[self.at]

    def wrong(self, context: str) -> GoError:
        return GoError(f"invalid character {_quoted(self.text[self.at])} {context}")

    def value(self) -> None:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise GoError("exceeded max depth")
        char = self.peek()
        if char == "{":
            self.object()
        elif char == "[":
            self.array()
        elif char == '"':
            self.string()
        elif char in _LITERALS:
            self.literal(_LITERALS[char])
        elif char == "-" or (char.isdigit() and char.isascii()):
            self.number()
        else:
            raise self.wrong("looking for beginning of value")
        self.depth -= 1

    def object(self) -> None:
        self.at += 1
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            if self.peek() != '"':
                raise self.wrong("looking for beginning of object key string")
            self.string()
            if self.peek() != ":":
                raise self.wrong("after object key")
            self.at += 1
            self.value()
            char = self.peek()
            if char not in ",}":
                raise self.wrong("after object key:value pair")
            self.at += 1
            if char == "}":
                return

    def array(self) -> None:
        self.at += 1
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            self.value()
            char = self.peek()
            if char not in ",]":
                raise self.wrong("after array element")
            self.at += 1
            if char == "]":
                return

    def string(self) -> None:
        self.at += 1
        while (char := self.peek(skip=False)) != '"':
            if ord(char) < 0x20:
                raise self.wrong("in string literal")
            self.at += 1
            if char == "\\":
                self.escape()
        self.at += 1

    def escape(self) -> None:
        char = self.peek(skip=False)
        if char not in '"\\/bfnrtu':
            raise self.wrong("in string escape code")
        self.at += 1
        if char == "u":
            for _ in range(4):
                if self.peek(skip=False) not in "0123456789abcdefABCDEF":
                    raise self.wrong("in \\u hexadecimal character escape")
                self.at += 1

    def literal(self, word: str) -> None:
        for expected in word:
            if self.peek(skip=False) != expected:
                raise self.wrong(f"in literal {word} (expecting '{expected}')")
            self.at += 1

    def number(self) -> None:
        if self.text[self.at] == "-":
            self.at += 1
            if not self.peek(skip=False).isdigit():
                raise self.wrong("in numeric literal")
        if self.text[self.at] == "0":
            self.at += 1
        else:
            self.digits()
        if self.at < len(self.text) and self.text[self.at] == ".":
            self.at += 1
            if not self.peek(skip=False).isdigit():
                raise self.wrong("after decimal point in numeric literal")
            self.digits()
        if self.at < len(self.text) and self.text[self.at] in "eE":
            self.at += 1
            if self.peek(skip=False) in "+-":
                self.at += 1
            if not self.peek(skip=False).isdigit():
                raise self.wrong("in exponent of numeric literal")
            self.digits()

    def digits(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in "0123456789":
            self.at += 1


def shown_kind(value: Value, number: bool = False) -> str:
    """What Go calls the kind of a value; with `number`, a number is shown as it was written."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Number):
        return f"number {value.text}" if number else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def fields(
    value: Value,
    types: Mapping[str, str],
    struct_name: str,
    whole: str,
    prefix: str = "",
    nested: Mapping[str, Callable[[Value], object]] | None = None,
    owners: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Read an object into `types` (JSON key → Go type: string, bool, int, int64, float32, a struct, or any) as Go does.

    Keys match without regard to case, unknown ones and nulls are skipped, a later key wins. The first value of a wrong
    type raises, after all the others were read. `struct_name`, `whole` and `prefix` are the words of that message.
    `nested` reads the objects of some keys further, `owners` are other names than `struct_name` for some keys.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GoError(f"json: cannot unmarshal {shown_kind(value)} into Go value of type {whole}")
    by_lower = {name.lower(): name for name in types}
    found: dict[str, object] = {}
    first = ""
    for key, item in value.items():
        name = by_lower.get(key.lower())
        if name is None or (item is None and types[name] != "any"):
            continue
        try:
            found[name] = _converted(item, types[name])
            if nested and name in nested:
                found[name] = nested[name](item)
        except _Unfit as unfit:
            owner = (owners or {}).get(name, struct_name)
            place = f"{owner}.{prefix}{name} of type {types[name]}"
            first = first or f"json: cannot unmarshal {unfit} into Go struct field {place}"
        except GoError as error:
            found[name] = error.partial
            first = first or str(error)
    if first:
        raise GoError(first, found)
    return found


class _Unfit(Exception):
    pass


def _converted(value: Value, kind: str) -> object:
    if kind == "any":
        return value
    if "." in kind and isinstance(value, dict):
        return value
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if isinstance(value, Number) and kind in ("int", "int64"):
        digits = value.text.removeprefix("-")
        if digits.isdigit() and -(2**63) <= int(value.text) < 2**63:
            return int(value.text)
        raise _Unfit(shown_kind(value, number=True))
    if isinstance(value, Number) and kind == "float32":
        try:
            return struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            raise _Unfit(shown_kind(value, number=True)) from None
    raise _Unfit(shown_kind(value))


def float32_text(value: float) -> str:
    """The shortest text that reads back as the same float32, in Go's notation."""
    if value == 0 or not math.isfinite(value):
        return "0"
    packed = struct.pack("<f", value)
    value = struct.unpack("<f", packed)[0]
    for digits in range(1, 18):
        text = f"{value:.{digits - 1}e}"
        if struct.pack("<f", float(text)) == packed:
            break
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if -6 <= power < 21:
        return f"{float(text):.{max(0, digits - 1 - power)}f}"
    sign = "-" if power < 0 else "+"
    return f"{mantissa}e{sign}{abs(power) if power < 0 else f'{power:02d}'}"


class Raw(str):
    """Text that is JSON already."""

    __slots__ = ()


def dump(value: object) -> str:
    """Compact JSON with Go's escapes (<, >, & and the two line separators)."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{dump(str(key))}:{dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(dump(item) for item in value) + "]"
    if isinstance(value, Number):
        return value.text
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        for char in "<>&\u2028\u2029":
            if char in text:
                text = text.replace(char, f"\\u{ord(char):04x}")
    return text
