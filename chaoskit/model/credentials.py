"""Credentials in headers and queries, left out of what is kept of a run."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from chaoskit.model.undo import JSON

__all__ = ["path_without_secrets", "text_without_secrets", "without_secrets", "words_without_secrets"]

_NAMES = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token")
_KEPT = "(hidden)"
"""Needs no quotes in YAML, nor in a query."""
_QUERY = re.compile(
    r"(?<=[?&;])([^=&;]*(?:api[-_]?key|token|secret|passw(?:or)?d|signature|credential)[^=&;]*|key|sig|auth)=([^&;]+)",
    re.IGNORECASE,
)
_SALT = os.urandom(16)
_WORD = re.compile(rf"(-H\s*|--header=)?({'|'.join(_NAMES)})\s*:(.*)", re.IGNORECASE | re.DOTALL)


def without_secrets(document: JSON) -> JSON:
    """A load as JSON, with `(hidden)` for credentials that stand in its headers. What names the environment is kept."""
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


def text_without_secrets(
    text: str, data: JSON, places: Mapping[tuple[str | int, ...], tuple[tuple[int, int], tuple[int, int]]]
) -> str:
    """A YAML or JSON file as it is kept: its text, with `(hidden)` for credentials in headers. `data` is what it says,
    `places` where each key and value begins (line and column from 1). One that is written so that it cannot be cut out
    (folded over lines, say) leaves the file's data as JSON instead of its text."""
    kept = text
    begins = [0, *(match.end() for match in re.finditer("\n", text))]
    found = {places[path][1]: value for path, value in _credentials(data, ())}
    for (line, column), value in sorted(found.items(), reverse=True):
        at = begins[line - 1] + column - 1
        at += kept[at : at + 1] in ("'", '"')
        if not kept.startswith(value, at):
            return json.dumps(without_secrets(data), indent=2, ensure_ascii=False) + "\n"
        kept = kept[:at] + _KEPT + kept[at + len(value) :]
    return kept


def path_without_secrets(path: str) -> str:
    """A path with `(hidden-1f2e3d4c)` for what its query says of keys, tokens and passwords. In one process equal
    values are hidden equally, so that calls can still be told apart."""
    return _QUERY.sub(_marked, path) if "?" in path else path


def _marked(match: re.Match[str]) -> str:
    mark = hashlib.blake2s(match[2].encode(), key=_SALT, digest_size=4).hexdigest()
    return f"{match[1]}=(hidden-{mark})"


def _credentials(data: JSON, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where credentials stand in headers, and which."""
    each: Iterator[tuple[str | int, JSON]] = iter(())
    if isinstance(data, list):
        each = iter(enumerate(data))
    elif isinstance(data, dict):
        each = iter(data.items())
    for key, value in each:
        if isinstance(value, str) and path and path[-1] == "headers" and _masked(str(key), value) is _KEPT:
            yield (*path, key), value
        yield from _credentials(value, (*path, key))


def _masked(name: str, value: JSON) -> JSON:
    return _KEPT if name.lower() in _NAMES and not (isinstance(value, str) and "${" in value) else value
