"""Credentials in headers, queries and the environment, left out of what is kept of a run."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus

from chaoskit.model.undo import JSON

__all__ = [
    "Hidden",
    "hidden_in",
    "path_without_secrets",
    "text_without_secrets",
    "without_secrets",
    "words_without_secrets",
]

_NAMES = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token")
_KEPT = "(hidden)"
"""Needs no quotes in YAML, nor in a query."""
_QUERY = re.compile(
    r"(?<=[?&;])([^=&;]*(?:api[-_]?key|token|secret|passw(?:or)?d|signature|credential)[^=&;]*|key|sig|auth)=([^&;]+)",
    re.IGNORECASE,
)
_SALT = os.urandom(16)
_FOUND_ELSEWHERE = "${"
"""What names its source is no secret itself."""
_FROM_ENVIRONMENT = re.compile(r"\$\{\s*env\.([^}]+?)\s*\}")
_TELLING = re.compile(r"token|secret|passw|pwd|key|auth|cookie|credential|session|signature|private", re.IGNORECASE)
"""Names of variables whose values are credentials wherever they are used."""
_SHORTEST = 6
"""Characters below which a value is not looked for: it would be found in what has nothing to do with it."""
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
    found = {places[path][1]: value for path, value in _credentials(data)}
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


class Hidden:
    """Values that must not be kept, and what is left of text in which they stand: `(hidden)`."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form.encode() for value in values if len(value) >= _SHORTEST for form in _forms(value)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if forms else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def cut(self, data: bytes) -> bytes:
        """The same object where none is in it."""
        if self._pattern is None or self._pattern.search(data) is None:
            return data
        return self._pattern.sub(_KEPT.encode(), data)

    def text(self, text: str) -> str:
        """The same of text."""
        data = text.encode("utf-8", "surrogatepass")
        cut = self.cut(data)
        return text if cut is data else cut.decode("utf-8", "surrogatepass")


def hidden_in(data: JSON, environment: Mapping[str, str]) -> Hidden:
    """The credentials of a load (or of anything with headers): those that stand in its headers, and the values of the
    variables of the environment that its headers of credentials use, or whose names say what they are."""
    found: set[str] = set()
    for path, text in _texts(data, ()):
        in_header = _of_credentials(path)
        for match in _FROM_ENVIRONMENT.finditer(text):
            if in_header or _TELLING.search(match[1]):
                found.add(environment.get(match[1], ""))
        if in_header and _FOUND_ELSEWHERE not in text:
            found.update((text, *text.split()[-1:]))
    return Hidden(found)


def _forms(value: str) -> Iterator[str]:
    """As it stands in text, in JSON and in a URL."""
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
    yield quote_plus(value)


def _marked(match: re.Match[str]) -> str:
    mark = hashlib.blake2s(match[2].encode(), key=_SALT, digest_size=4).hexdigest()
    return f"{match[1]}=(hidden-{mark})"


def _credentials(data: JSON) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where credentials stand in headers, and which."""
    for where, text in _texts(data, ()):
        if _of_credentials(where) and _FOUND_ELSEWHERE not in text:
            yield where, text


def _of_credentials(path: tuple[str | int, ...]) -> bool:
    """Whether this is where a header of credentials stands."""
    return len(path) > 1 and path[-2] == "headers" and str(path[-1]).lower() in _NAMES


def _texts(data: JSON, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text in it, with its path."""
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _texts(value, (*path, index))
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, (*path, key))


def _masked(name: str, value: JSON) -> JSON:
    return _KEPT if name.lower() in _NAMES and not (isinstance(value, str) and _FOUND_ELSEWHERE in value) else value
