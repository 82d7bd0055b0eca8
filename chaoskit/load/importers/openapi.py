"""Operations of an OpenAPI document as requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from chaoskit.errors import UsageError
from chaoskit.load.importers.parts import (
    DROPPED,
    FORM,
    JSON_TYPE,
    Request,
    as_text,
    items,
    keys,
    literal,
    literals,
    split,
)

__all__ = ["from_openapi"]

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_DEPTH = 8
"""Levels to which a body is made up from its schema: schemas may contain themselves."""


def from_openapi(document: object) -> list[Request]:
    """A request for each operation of an OpenAPI 3 (or Swagger 2) document: examples where it has some, made-up values
    of the right type where not, required parameters only. Raises UsageError where it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise UsageError("this is no OpenAPI document: expected a key 'paths'")
    base = _base_path(document)
    found = []
    for path, item in document["paths"].items():
        if not str(path).startswith("/"):
            continue  # an extension
        item = keys(_resolved(document, item), f"paths.{path}")
        for method in _METHODS:
            if item.get(method) is not None:
                operation = keys(item[method], f"{method.upper()} {path}")
                found.append(_operation(document, base + str(path), method, item, operation))
    if not found:
        raise UsageError("the OpenAPI document has no operations")
    return found


def _operation(
    document: Mapping[str, Any], path: str, method: str, item: Mapping[str, Any], operation: Mapping[str, Any]
) -> Request:
    where = f"{method.upper()} {path}"
    given = [*items(item.get("parameters"), where), *items(operation.get("parameters"), where)]
    parameters = [one for one in (_resolved(document, one) for one in given) if isinstance(one, dict)]
    query: list[tuple[str, str]] = []
    form: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for one in parameters:
        name, place = str(one.get("name", "")), one.get("in")
        text = as_text(_of_parameter(document, one))
        if place == "path":
            path = path.replace("{" + name + "}", quote(text, safe=""))
        elif place == "query" and one.get("required"):
            query.append((name, text))
        elif place == "formData" and one.get("required"):
            form.append((name, text))
        elif place == "header" and one.get("required") and name.lower() not in DROPPED | {"accept", "content-type"}:
            headers[name] = literal(text)
    security = operation.get("security", document.get("security"))
    secret_headers, secret_query = _security(document, items(security, where))
    path = literal(path + (f"?{urlencode(query)}" if query else ""))
    if secret_query:
        path += ("&" if query else "?") + secret_query
    request: Request = {"name": str(operation.get("operationId") or f"{method.upper()} {path.partition('?')[0]}")}
    request |= {"method": method.upper()} if method != "get" else {}
    request["path"] = path
    kind, body = _openapi_body(document, parameters, operation, where)
    if form and not body:
        kind, body = FORM, {"body": literal(urlencode(form))}
    headers |= secret_headers | ({"Content-Type": kind} if kind else {})
    request |= ({"headers": headers} if headers else {}) | body
    responses = keys(operation.get("responses"), f"the responses of {where}")
    good = [int(code) for code in responses if re.fullmatch("[23][0-9][0-9]", str(code))]
    if good:
        request["expect"] = good[0] if len(good) == 1 else good
    return request


def _openapi_body(
    document: Mapping[str, Any], parameters: list[dict[str, Any]], operation: Mapping[str, Any], where: str
) -> tuple[str, Request]:
    """The content type that has to be said, and the body: JSON before a form before what is a text or has an example.

    Nothing for other kinds (files, in parts): they are to be written by hand.
    """
    content = keys(keys(_resolved(document, operation.get("requestBody")), where).get("content"), f"body of {where}")
    media = {str(kind): keys(each, f"body of {where}") for kind, each in content.items()}
    values = {kind: _example_of(document, each) for kind, each in media.items()}
    if kind := next((kind for kind in values if "json" in kind), ""):
        return "" if kind == JSON_TYPE else kind, {"json": literals(values[kind])}
    if isinstance(fields := values.get(FORM), dict):
        return FORM, {"body": literal(urlencode([(name, as_text(value)) for name, value in fields.items()]))}
    for kind, value in values.items():
        if isinstance(value, str) and (kind.startswith("text/") or "example" in media[kind]):
            return kind, {"body": literal(value)}
    swagger = next((one for one in parameters if one.get("in") == "body"), None)
    return "", {"json": literals(_made_up(document, swagger.get("schema"), 0))} if swagger else {}


def _example_of(document: Mapping[str, Any], media: Mapping[str, Any]) -> object:
    examples = media.get("examples")
    first = next((_resolved(document, one) for one in examples.values()), None) if isinstance(examples, dict) else None
    value = media.get("example", first.get("value") if isinstance(first, dict) else None)
    return value if value is not None else _made_up(document, media.get("schema"), 0)


def _base_path(document: Mapping[str, Any]) -> str:
    servers = document.get("servers")
    if isinstance(servers, list) and servers and isinstance(servers[0], dict):
        return split(str(servers[0].get("url", ""))).path.rstrip("/")
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
        properties = keys(schema.get("properties"), "the properties of a schema")
        wanted = items(schema.get("required"), "a schema") or list(properties)
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


def _security(document: Mapping[str, Any], wanted: list[Any]) -> tuple[dict[str, str], str]:
    """Headers, or a part of the query, of the first way to authenticate; secrets come from the environment."""
    components = keys(document.get("components"), "components")
    schemes = keys(components.get("securitySchemes") or document.get("securityDefinitions"), "the security schemes")
    for name in next((list(one) for one in wanted if isinstance(one, dict) and one), []):
        scheme = _resolved(document, schemes.get(name))
        if not isinstance(scheme, dict):
            continue
        if scheme.get("type") == "apiKey":
            key, place = str(scheme.get("name")), scheme.get("in")
            if place == "query":
                return {}, f"{literal(quote(key, safe=''))}=${{env.API_KEY}}"
            return {"Cookie": f"{literal(key)}=${{env.API_KEY}}"} if place == "cookie" else {key: "${env.API_KEY}"}, ""
        basic = "basic" in (scheme.get("type"), str(scheme.get("scheme", "")).lower())
        return {"Authorization": "Basic ${env.BASIC_AUTH}" if basic else "Bearer ${env.TOKEN}"}, ""
    return {}, ""
