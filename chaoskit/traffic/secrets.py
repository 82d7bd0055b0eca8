"""Credentials in headers, left out of what is kept of a load."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chaoskit.model.undo import JSON

__all__ = ["without_secrets", "words_without_secrets"]

_NAMES = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token")
_KEPT = "***"
_WORD = re.compile(rf"(-H\s*|--header=)?({'|'.join(_NAMES)})\s*:(.*)", re.IGNORECASE | re.DOTALL)


def without_secrets(document: JSON) -> JSON:
    """A load as JSON, with `***` for credentials that stand in its headers; those out of the environment never do."""
    if isinstance(document, list):
        return [without_secrets(each) for each in document]
    if not isinstance(document, dict):
        return document
    kept = {key: without_secrets(value) for key, value in document.items()}
    headers = kept.get("headers")
    if isinstance(headers, dict):
        kept["headers"] = {name: _masked(name, value) for name, value in headers.items()}
    return kept


def words_without_secrets(words: Sequence[str]) -> list[str]:
    """The same for the words of a command line (`-H 'Authorization: …'`)."""
    found = [(word, _WORD.fullmatch(word)) for word in words]
    return [
        f"{match[1] or ''}{match[2]}: {_masked(match[2], match[3].strip())}" if match else word for word, match in found
    ]


def _masked(name: str, value: JSON) -> JSON:
    return _KEPT if name.lower() in _NAMES and not (isinstance(value, str) and "${" in value) else value
