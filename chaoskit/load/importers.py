"""What people have (an OpenAPI document, a browser's HAR file, a curl command) as requests of a load. Pure."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from chaoskit.errors import UsageError

__all__ = ["from_curl", "from_har", "from_openapi"]

Request = dict[str, object]
"""One request as it is written in YAML."""

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_DEPTH = 8
"""Levels to which a body is made up from its schema: schemas may contain themselves."""
_DROPPED = {
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


# ------------------------------------------------------------------------------------------------------------- OpenAPI


def from_openapi(document: object) -> list[Request]:
    """A request for each operation of an OpenAPI 3 (or Swagger 2) document: examples where it has some, made-up values
    of the right type where not, required parameters only. Raises UsageError where it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise UsageError("this is no OpenAPI document: expected a key 'paths'")
    base = _base_path(document)
    found = []
    for path, item in document["paths"].items():
        item = _resolved(document, item)
        if not isinstance(item, dict):
            continue
        for method in _METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                found.append(_operation(document, base + str(path), method, item, operation))
    if not found:
        raise UsageError("the OpenAPI document has no operations")
    return found


def _operation(
    document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> Request:
    parameters = [_resolved(document, one) for one in [*item.get("parameters", []), *operation.get("parameters", [])]]
    parameters = [one for one in parameters if isinstance(one, dict)]
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for one in parameters:
        name, place = str(one.get("name", "")), one.get("in")
        text = _text(_of_parameter(document, one))
        if place == "path":
            path = path.replace("{" + name + "}", quote(text, safe=""))
        elif place == "query" and one.get("required"):
            query.append((name, text))
        elif place == "header" and one.get("required") and name.lower() not in _DROPPED | {"accept", "content-type"}:
            headers[name] = text
    security = operation.get("security", document.get("security", []))
    headers |= _security(document, security if isinstance(security, list) else [])
    request: Request = {"name": str(operation.get("operationId") or f"{method.upper()} {path}")}
    request |= {"method": method.upper()} if method != "get" else {}
    request["path"] = _literal(path + (f"?{urlencode(query)}" if query else ""))
    request |= (
        {"headers": {name: value if "${env." in value else _literal(value) for name, value in headers.items()}}
        if headers
        else {}
    )
    request |= _openapi_body(document, parameters, operation)
    good = [int(code) for code in operation.get("responses", {}) if str(code).isdigit() and 200 <= int(code) < 400]
    if good:
        request["expect"] = good[0] if len(good) == 1 else good
    return request


def _openapi_body(
    document: Mapping[str, Any], parameters: list[dict[str, Any]], operation: Mapping[str, Any]
) -> Request:
    body = _resolved(document, operation.get("requestBody"))
    if isinstance(body, dict):
        for kind, media in (body.get("content") or {}).items():
            if "json" in str(kind) and isinstance(media, dict):
                examples = media.get("examples") or {}
                first = next((_resolved(document, one) for one in examples.values()), None)
                value = media.get("example", first.get("value") if isinstance(first, dict) else None)
                return {"json": _safe(value if value is not None else _made_up(document, media.get("schema"), 0))}
    swagger = next((one for one in parameters if one.get("in") == "body"), None)
    return {"json": _safe(_made_up(document, swagger.get("schema"), 0))} if swagger else {}


def _base_path(document: Mapping[str, Any]) -> str:
    servers = document.get("servers")
    if isinstance(servers, list) and servers and isinstance(servers[0], dict):
        return urlsplit(str(servers[0].get("url", ""))).path.rstrip("/")
    return str(document.get("basePath", "")).rstrip("/")


def _resolved(document: Mapping[str, Any], value: Any) -> Any:
    """Follow `$ref` within the document; a reference to elsewhere is nothing."""
    for _ in range(_DEPTH):
        if not isinstance(value, dict) or "$ref" not in value:
            return value
        here: Any = document
        for part in str(value["$ref"]).removeprefix("#/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            here = here.get(key) if isinstance(here, dict) else None
        value = here
    return None


def _of_parameter(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> object:
    if "example" in parameter:
        return parameter["example"]
    return _made_up(document, parameter.get("schema", parameter), 0)


def _made_up(document: Mapping[str, Any], schema: Any, depth: int) -> object:
    """A value of a schema: its example, default or first choice, else the simplest of its type."""
    schema = _resolved(document, schema)
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    for key in ("oneOf", "anyOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _made_up(document, schema[key][0], depth + 1)
    if isinstance(schema.get("allOf"), list):
        parts = [_made_up(document, part, depth + 1) for part in schema["allOf"]]
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), None)
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        return {name: _made_up(document, properties[name], depth + 1) for name in wanted if name in properties}
    if kind == "array":
        return [_made_up(document, schema.get("items"), depth + 1)]
    simple: dict[object, object] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    if kind in simple:
        return schema.get("minimum", simple[kind]) if kind in ("integer", "number") else simple[kind]
    formats = {
        "uuid": "00000000-0000-4000-8000-000000000001",
        "date": "2026-01-01",
        "date-time": "2026-01-01T00:00:00Z",
        "email": "someone@example.org",
        "uri": "https://example.org/",
    }
    return formats.get(str(schema.get("format")), "text")


def _security(document: Mapping[str, Any], wanted: list[Any]) -> dict[str, str]:
    """Headers of the first way to authenticate; secrets come from the environment."""
    schemes = (document.get("components") or {}).get("securitySchemes") or document.get("securityDefinitions") or {}
    for name in next((list(one) for one in wanted if isinstance(one, dict) and one), []):
        scheme = _resolved(document, schemes.get(name))
        if not isinstance(scheme, dict):
            continue
        if scheme.get("type") == "apiKey" and scheme.get("in") == "header":
            return {str(scheme.get("name")): "${env.API_KEY}"}
        basic = "basic" in (scheme.get("type"), str(scheme.get("scheme", "")).lower())
        return {"Authorization": "Basic ${env.BASIC_AUTH}" if basic else "Bearer ${env.TOKEN}"}
    return {}


# ----------------------------------------------------------------------------------------------------------------- HAR


def from_har(text: str) -> list[Request]:
    """The requests of a browser's HAR file that went to the host of its first one, as often as they did (as weights).

    Cookies are left out; an Authorization header is to come from the environment. Raises UsageError where it is none.
    """
    try:
        entries = json.loads(text)["log"]["entries"]
        seen = [entry["request"] | {"status": (entry.get("response") or {}).get("status", 0)} for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError("this is no HAR file: expected JSON with log.entries") from error
    if not seen:
        raise UsageError("the HAR file has no requests")
    host = urlsplit(str(seen[0].get("url", ""))).netloc
    found: dict[str, Request] = {}
    counts: dict[str, int] = {}
    for one in seen:
        parts = urlsplit(str(one.get("url", "")))
        if parts.netloc != host:
            continue
        request = _har_request(one, parts.path or "/", parts.query)
        key = json.dumps(request, sort_keys=True)
        counts[key] = counts.get(key, 0) + 1
        found.setdefault(key, request)
    for key, request in found.items():
        if counts[key] > 1:
            request["weight"] = counts[key]
    return list(found.values())


def _har_request(one: Mapping[str, Any], path: str, query: str) -> Request:
    method = str(one.get("method", "GET")).upper()
    request: Request = {"name": f"{method} {path}"}
    request |= {"method": method} if method != "GET" else {}
    request["path"] = _literal(f"{path}?{query}" if query else path)
    post = one.get("postData") or {}
    pairs = [(str(each.get("name", "")), str(each.get("value", ""))) for each in one.get("headers") or []]
    request |= _headers_and_body(pairs, post.get("text") or None)
    status = one["status"]
    if isinstance(status, int) and status >= 400:
        request["expect"] = status
    return request


# ---------------------------------------------------------------------------------------------------------------- curl

_WITH_VALUE = {
    "-X": "method",
    "--request": "method",
    "-H": "header",
    "--header": "header",
    "-d": "data",
    "--data": "data",
    "--data-ascii": "data",
    "--data-raw": "data",
    "--data-binary": "data",
    "--data-urlencode": "data",
    "--json": "json",
    "-A": "agent",
    "--user-agent": "agent",
    "-u": "user",
    "--user": "user",
    "-m": "timeout",
    "--max-time": "timeout",
    "--url": "url",
}
_IGNORED_WITH_VALUE = {"-b", "--cookie", "-c", "--cookie-jar", "-o", "--output", "-w", "--write-out", "-e", "--referer",
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
    flags = set()
    for key, value in _options(words[1:]):
        if key in _REFUSED:
            raise UsageError(f"curl's {key} has no counterpart in a load: write the body into a file of requests")
        if key in _WITH_VALUE:
            given.setdefault(_WITH_VALUE[key], []).append(value)
        elif key not in _IGNORED_WITH_VALUE:
            flags.add(key)
    if len(given.get("url", [])) != 1:
        raise UsageError("expected a curl command with one URL")
    return _curl_request(given, flags)


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


def _curl_request(given: Mapping[str, list[str]], flags: set[str]) -> Request:
    url = given["url"][0]
    parts = urlsplit(url if "://" in url else f"http://{url}")
    path = parts.path or "/"
    query = [parts.query] if parts.query else []
    body = "&".join(given.get("data", [])) or "".join(given.get("json", []))
    if body.startswith("@"):
        raise UsageError("the body of this curl command lies in a file: write it out")
    if flags & {"-G", "--get"}:
        query, body = [*query, body] if body else query, ""
    method = given.get("method", ["HEAD" if flags & {"-I", "--head"} else "POST" if body else "GET"])[-1].upper()
    pairs = [
        (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in given.get("header", []))
    ]
    names = {name.lower() for name, _ in pairs}
    if given.get("json"):
        pairs += [(name, "application/json") for name in ("Content-Type", "Accept") if name.lower() not in names]
    elif body and "content-type" not in names:
        pairs.append(("Content-Type", "application/x-www-form-urlencoded"))
    if given.get("user"):
        pairs.append(("Authorization", "Basic " + base64.b64encode(given["user"][-1].encode()).decode()))
    request: Request = {"name": f"{method} {path}"}
    request |= {"method": method} if method != "GET" else {}
    request["path"] = _literal(path + ("?" + "&".join(query) if query else ""))
    request |= _headers_and_body(pairs, body or None)
    if given.get("agent"):
        headers = request.setdefault("headers", {})
        assert isinstance(headers, dict), "it was made above"
        headers["User-Agent"] = _literal(given["agent"][-1])
    if given.get("timeout"):
        request["timeout"] = f"{given['timeout'][-1]}s"
    if flags & {"-L", "--location"}:
        request["redirects"] = True
    return request


# -------------------------------------------------------------------------------------------------------------- shared


def _headers_and_body(pairs: list[tuple[str, str]], body: str | None) -> Request:
    """Headers that matter, secrets from the environment; the body as JSON where it is."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        if not name or name.startswith(":") or name.lower() in _DROPPED or name.lower().startswith("sec-"):
            continue
        headers[name] = "${env.AUTHORIZATION}" if name.lower() == "authorization" else _literal(value)
    found: Request = {}
    if body is not None:
        found = {"body": _literal(body)}
        kind = next((name for name in headers if name.lower() == "content-type"), "")
        if not kind or "json" in headers[kind]:
            try:
                found = {"json": _safe(json.loads(body))}
            except ValueError:
                pass  # not JSON after all: it goes out as it is
            else:
                headers.pop(kind, None)
    return ({"headers": headers} if headers else {}) | found


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _literal(text: str) -> str:
    """A text whose `${` is meant as it stands."""
    return text.replace("${", "$${")


def _safe(value: object) -> object:
    """The same for every text of a JSON value."""
    if isinstance(value, str):
        return _literal(value)
    if isinstance(value, list):
        return [_safe(each) for each in value]
    if isinstance(value, dict):
        return {_literal(str(key)): _safe(each) for key, each in value.items()}
    return value
