"""Pieces of text in a load: JSONPaths, placeholders, statuses, header lines; and the base of what is written."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, JsonValue

from chaoskit.described import Described

__all__ = ["TOKEN", "JsonPath", "Statuses", "Written", "checked_headers", "parse_json_path", "placeholders", "regular"]

JsonPath = tuple[str | int | None, ...]
"""Steps from the root: a key, an index, or None for every member."""

_PLACEHOLDER = re.compile(r"(?<!\$)\$\{([^}]*)\}")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\.\*|\[(-?[0-9]+)\]|\[\*\]|\[\s*'([^']*)'\s*\]|\[\s*\"([^\"]*)\"\s*\]")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS = re.compile(r"[1-5](?:xx|[0-9][0-9])")


def parse_json_path(text: str) -> JsonPath:
    """Steps of the part of JSONPath that names places: `$.a.b[0]`, `$['a b']`, `$.items[*].id`. Raises ValueError."""
    steps: list[str | int | None] = []
    at = 1
    if not text.startswith("$"):
        raise ValueError(f"expected a JSONPath that starts with $, such as $.order.id, not {text!r}")
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(
                f"expected a JSONPath such as $.order.id or $.items[0], not {text!r}: stuck at {text[at:]!r}"
            )
        key, index, single, double = match.groups()
        steps.append(
            int(index) if index is not None else next((k for k in (key, single, double) if k is not None), None)
        )
        at = match.end()
    return tuple(steps)


def placeholders(value: JsonValue) -> list[str]:
    """Names in `${…}` (`$${` stands for itself) in a text, or in every text of a JSON value, keys included."""
    if isinstance(value, str):
        return [found.strip() for found in _PLACEHOLDER.findall(value)]
    if isinstance(value, list):
        return [name for item in value for name in placeholders(item)]
    if isinstance(value, dict):
        return [name for key, item in value.items() for name in placeholders(key) + placeholders(item)]
    return []


def _as_statuses(value: object) -> object:
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    texts = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items]
    for item in texts:
        if not isinstance(item, str) or not _STATUS.fullmatch(item):
            raise ValueError(f"expected a status such as 200 or 2xx, or a list of them, not {item!r}")
    if not texts:
        raise ValueError("expected at least one status")
    return tuple(texts)


Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(
        _as_statuses,
        json_schema_input_type=int | str | list[int | str],
    ),
]
"""Status codes or classes: `200`, `2xx`, `[200, 404]`."""


class Written(Described):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)


def regular(value: str) -> str:
    """A regular expression on the bytes of a body. Raises ValueError."""
    try:
        re.compile(value.encode())
    except re.error as error:
        raise ValueError(f"expected a regular expression, not {value!r}: {error}") from None
    return value


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            raise ValueError(f"expected a header's name, not {name!r}")
        if any(char in value for char in "\r\n\0"):
            raise ValueError(f"expected a value without line breaks in the header {name}")
        if name.lower() in ("content-length", "transfer-encoding", "connection"):
            raise ValueError(f"the header {name} is set by the load itself")
    return headers
