"""A curl command as a request."""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from chaoskit.errors import UsageError
from chaoskit.load.importers.parts import FORM, JSON_TYPE, Request, headers_and_body, literal, split

__all__ = ["from_curl"]

_WITH_VALUE = {
    "-X": "method",
    "--request": "method",
    "-H": "header",
    "--header": "header",
    "-d": "data",
    "--data": "data",
    "--data-ascii": "data",
    "--data-raw": "raw",
    "--data-binary": "data",
    "--data-urlencode": "encoded",
    "--json": "json",
    "-A": "agent",
    "--user-agent": "agent",
    "-u": "user",
    "--user": "user",
    "-m": "timeout",
    "--max-time": "timeout",
    "--url": "url",
    "-b": "cookie",
    "--cookie": "cookie",
}
_BODIES = ("data", "raw", "encoded", "json")
_IGNORED_WITH_VALUE = {"-c", "--cookie-jar", "-o", "--output", "-w", "--write-out", "-e", "--referer",
                       "--connect-timeout", "--retry", "--cacert", "--resolve", "--proxy", "-x"}  # fmt: skip
_REFUSED = {"-F", "--form", "-T", "--upload-file", "-K", "--config"}


def from_curl(command: str) -> Request:
    """The request of one curl command. Where it goes is left to the load: only path and query are kept.

    Raises UsageError where it is no such command, or does what a request cannot say (forms, files).
    """
    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError as error:
        raise UsageError(f"this curl command cannot be read: {error}") from error
    if not words or words[0].rsplit("/", 1)[-1] != "curl":
        raise UsageError("expected a command that starts with curl")
    given: dict[str, list[str]] = {}
    bodies: list[str] = []
    flags = set()
    for key, value in _options(words[1:]):
        if key in _REFUSED:
            raise UsageError(f"curl's {key} has no counterpart in a load: write the body into a file of requests")
        if key in _WITH_VALUE:
            what = _WITH_VALUE[key]
            _refuse_file(key, what, value)
            given.setdefault(what, []).append(value)
            if what in _BODIES:
                bodies.append(_encoded(value) if what == "encoded" else value)
        elif key not in _IGNORED_WITH_VALUE:
            flags.add(key)
    if len(given.get("url", [])) != 1:
        raise UsageError("expected a curl command with one URL")
    return _curl_request(given, ("" if given.get("json") else "&").join(bodies), flags)


def _refuse_file(key: str, what: str, value: str) -> None:
    """Raises UsageError where curl would read a file, of which a load knows nothing."""
    named = what in ("data", "json", "header") and value.startswith("@")
    named |= what == "encoded" and "=" not in value and "@" in value
    named |= what == "cookie" and "=" not in value
    if named:
        raise UsageError(f"the {value} of curl's {key} lies in a file: write it out")


def _encoded(value: str) -> str:
    """What `--data-urlencode` sends: `text`, `=text` or `name=text`, the text encoded."""
    name, equals, text = value.partition("=")
    return (f"{name}=" if name else "") + quote(text, safe="") if equals else quote(value, safe="")


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """(option, value) as curl reads them: `-X POST`, `-XPOST`, `--request=POST`, `-sSL`; what is bare is the URL."""
    takes = set(_WITH_VALUE) | _IGNORED_WITH_VALUE | _REFUSED
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            yield name, value if equals else next(rest, "") if name in takes else ""
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                name, letters = f"-{letters[0]}", letters[1:]
                if name in takes:
                    yield name, letters or next(rest, "")
                    break
                yield name, ""
        else:
            yield "--url", word


def _curl_request(given: Mapping[str, list[str]], body: str, flags: set[str]) -> Request:
    url = given["url"][0]
    parts = split(url if "://" in url else f"http://{url}")
    path = parts.path or "/"
    query = [parts.query] if parts.query else []
    if flags & {"-G", "--get"}:
        query, body = [*query, body] if body else query, ""
    method = given.get("method", ["HEAD" if flags & {"-I", "--head"} else "POST" if body else "GET"])[-1].upper()
    if not re.fullmatch("[A-Z]+", method):
        raise UsageError(f"expected a method such as GET or POST in this curl command, not {method!r}")
    lines = [line.partition(":") for line in given.get("header", [])]
    pairs = [(name.strip(), value.strip()) for name, _, value in lines if value.strip()]
    names = {name.lower() for name, _ in pairs}
    if given.get("json"):
        pairs += [(name, JSON_TYPE) for name in ("Content-Type", "Accept") if name.lower() not in names]
    elif body and "content-type" not in names:
        pairs.append(("Content-Type", FORM))
    if given.get("user"):
        pairs.append(("Authorization", "Basic " + base64.b64encode(given["user"][-1].encode()).decode()))
    request: Request = {"name": f"{method} {path}"}
    request |= {"method": method} if method != "GET" else {}
    request["path"] = literal(path + ("?" + "&".join(query) if query else ""))
    headers, content = headers_and_body(pairs, body or None)
    if given.get("agent"):
        headers["User-Agent"] = literal(given["agent"][-1])
    if given.get("cookie") or "cookie" in names:
        headers["Cookie"] = "${env.COOKIE}"
    request |= ({"headers": headers} if headers else {}) | content
    if given.get("timeout"):
        request["timeout"] = _timeout(given["timeout"][-1])
    if flags & {"-L", "--location"}:
        request["redirects"] = True
    return request


def _timeout(text: str) -> str:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"expected seconds above 0 as the time limit of this curl command, not {text!r}")
    return f"{seconds:f}".rstrip("0").rstrip(".") + "s"
