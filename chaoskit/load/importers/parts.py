"""What all importers share: requests as they are written in YAML, and what foreign documents hold, checked."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import SplitResult, urlsplit

from chaoskit.errors import UsageError

__all__ = [
    "DROPPED",
    "FORM",
    "JSON_TYPE",
    "Request",
    "as_text",
    "headers_and_body",
    "items",
    "keys",
    "literal",
    "literals",
    "split",
]

Request = dict[str, object]
"""One request as it is written in YAML."""

JSON_TYPE = "application/json"
FORM = "application/x-www-form-urlencoded"
DROPPED = {
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "host",
    "origin",
    "pragma",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade-insecure-requests",
    "user-agent",
}
"""Headers that belong to a browser's connection, or are nobody else's business."""


def keys(value: object, where: str) -> dict[str, Any]:
    """What must have keys, or not be there. Raises UsageError."""
    if value is None or isinstance(value, dict):
        return value or {}
    raise UsageError(f"expected keys with values in {where}, not {json.dumps(value, default=str)[:60]}")


def items(value: object, where: str) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise UsageError(f"expected a list in {where}, not {json.dumps(value, default=str)[:60]}")


def split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}") from None


def headers_and_body(pairs: list[tuple[str, str]], body: str | None) -> tuple[dict[str, str], Request]:
    """Headers that matter, secrets from the environment; the body as JSON where it is."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        if not name or name.startswith(":") or name.lower() in DROPPED or name.lower().startswith("sec-"):
            continue
        headers[name] = "${env.AUTHORIZATION}" if name.lower() == "authorization" else literal(value)
    found: Request = {}
    if body is not None:
        found = {"body": literal(body)}
        kind = next((name for name in headers if name.lower() == "content-type"), "")
        if not kind or "json" in headers[kind]:
            try:
                found = {"json": literals(json.loads(body))}
            except (ValueError, RecursionError):
                pass  # not JSON after all: it goes out as it is
            else:
                if headers.get(kind, "").lower() == JSON_TYPE:
                    del headers[kind]  # it is what JSON goes out as
    return headers, found


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def literal(text: str) -> str:
    """A text whose `${` is meant as it stands."""
    return text.replace("${", "$${")


def literals(value: object) -> object:
    """The same for every text of a JSON value."""
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, list):
        return [literals(each) for each in value]
    if isinstance(value, dict):
        return {literal(str(key)): literals(each) for key, each in value.items()}
    return value
