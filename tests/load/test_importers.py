"""Importers: what they make can be sent as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoskit.errors import UsageError
from chaoskit.load.importers import from_curl, from_har, from_openapi
from chaoskit.traffic import LoadSpec


def sendable(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    LoadSpec.model_validate({"rate": "1/s", "requests": requests})
    return requests


OPENAPI = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://api.example.org/v1/"}],
    "security": [{"bearer": []}],
    "paths": {
        "/orders/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
            ],
            "get": {
                "operationId": "readOrder",
                "parameters": [
                    {"name": "full", "in": "query", "required": True, "schema": {"type": "boolean"}},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": {"200": {}, "404": {}},
            },
            "delete": {"responses": {"204": {}}, "security": []},
        },
        "/orders": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                "responses": {"201": {}, "202": {}},
            }
        },
    },
    "components": {
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Order": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "example": "A${1}"},
                    "count": {"type": "integer", "minimum": 3},
                    "kind": {"enum": ["new", "old"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
                    "note": {"type": ["null", "string"]},
                },
                "required": ["sku", "count", "kind", "note"],
            }
        },
    },
}


def test_an_openapi_document_becomes_its_operations() -> None:
    read, delete, post = sendable(from_openapi(OPENAPI))
    assert read == {
        "name": "readOrder",
        "path": "/v1/orders/00000000-0000-4000-8000-000000000001?full=true",
        "headers": {"Authorization": "Bearer ${env.TOKEN}"},
        "expect": 200,
    }
    assert (delete["method"], delete["expect"]) == ("DELETE", 204)
    assert "headers" not in delete
    assert post["json"] == {"sku": "A$${1}", "count": 3, "kind": "new", "note": "text"}
    assert post["expect"] == [201, 202]


def test_a_schema_that_contains_itself_ends() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Node"}}}
    document = {
        "paths": {"/n": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}},
        "components": {"schemas": {"Node": schema}},
    }
    assert from_openapi(document)[0]["json"]


def operation(what: dict[str, Any], **document: Any) -> dict[str, Any]:
    """The one request of a document with this operation."""
    (found,) = sendable(from_openapi({"paths": {"/t": {"post": what}, "x-more": "text"}, **document}))
    return found


FORM = "application/x-www-form-urlencoded"
FIELDS = {
    "type": "object",
    "required": ["user", "n"],
    "properties": {"user": {"example": "a b"}, "n": {"type": "integer"}, "more": {}},
}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a form": ({FORM: {"schema": FIELDS}}, {"headers": {"Content-Type": FORM}, "body": "user=a+b&n=1"}),
    "JSON of its own kind": (
        {"application/vnd.api+json": {"example": [1]}},
        {"headers": {"Content-Type": "application/vnd.api+json"}, "json": [1]},
    ),
    "JSON before a form": ({FORM: {"schema": FIELDS}, "application/json": {"example": 1}}, {"json": 1}),
    "a text": (
        {"text/plain": {"schema": {"type": "string"}}},
        {"headers": {"Content-Type": "text/plain"}, "body": "text"},
    ),
    "a file": ({"application/octet-stream": {}}, {}),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_sent_as_what_it_is(kind: str) -> None:
    content, sent = BODIES[kind]
    found = operation({"requestBody": {"content": content}})
    assert found == {"name": "POST /t", "method": "POST", "path": "/t", **sent}


def test_swaggers_form_is_one_too() -> None:
    fields = [{"in": "formData", "name": name, "required": name != "c", "type": "string"} for name in "abc"]
    found = operation({"parameters": fields})
    assert (found["body"], found["headers"]) == ("a=text&b=text", {"Content-Type": FORM})


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("query", {"path": "/t?q=1&a%20key=${env.API_KEY}"}),
        ("header", {"headers": {"a key": "${env.API_KEY}"}}),
        ("cookie", {"headers": {"Cookie": "a key=${env.API_KEY}"}}),
    ],
)
def test_a_key_goes_where_it_is_looked_for(place: str, key: dict[str, Any]) -> None:
    scheme = {"type": "apiKey", "in": place, "name": "a key"}
    document = {"security": [{"k": []}], "components": {"securitySchemes": {"k": scheme}}}
    query = [{"name": "q", "in": "query", "required": True, "example": 1}] if place == "query" else []
    (found,) = from_openapi({"paths": {"/t": {"post": {"parameters": query}}}, **document})
    assert found == {"name": "POST /t", "method": "POST", "path": "/t", **key}


def test_what_is_null_is_not_there() -> None:
    keys = ("parameters", "requestBody", "responses", "security")
    assert operation(dict.fromkeys(keys), components=None) == operation({})


@pytest.mark.parametrize(
    "what",
    [
        {"parameters": {}},
        {"responses": [200]},
        {"requestBody": {"content": [1]}},
        {"requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": ["a"]}}}}},
        {"security": "k"},
        "nonsense",
    ],
)
def test_parts_of_the_wrong_shape_are_told(what: Any) -> None:
    with pytest.raises(UsageError, match="expected"):
        operation(what)
    with pytest.raises(UsageError, match="is no URL"):
        operation({}, servers=[{"url": "http://[x"}])


@pytest.mark.parametrize("document", [None, [], {}, {"paths": {}}, {"paths": {"/": {}}}])
def test_what_is_no_openapi_document_is_refused(document: object) -> None:
    with pytest.raises(UsageError):
        from_openapi(document)


def test_a_har_file_becomes_its_requests() -> None:
    def entry(method: str, url: str, status: int = 200, body: str = "", kind: str = "") -> dict[str, Any]:
        headers = [
            {"name": ":authority", "value": "x"},
            {"name": "Cookie", "value": "secret"},
            {"name": "Authorization", "value": "Bearer secret"},
            {"name": "sec-ch-ua", "value": "x"},
        ]
        headers += [{"name": "Content-Type", "value": kind}] if kind else []
        request = {"method": method, "url": url, "headers": headers} | ({"postData": {"text": body}} if body else {})
        return {"request": request, "response": {"status": status}}

    entries = [
        entry("GET", "https://shop.example/a?x=1"),
        entry("GET", "https://shop.example/a?x=1"),
        entry("GET", "https://ads.example/track"),
        entry("POST", "https://shop.example/buy", 201, '{"sku": 1}', "application/json"),
        entry("POST", "https://shop.example/form", 422, "a=1", "application/x-www-form-urlencoded"),
    ]
    text = json.dumps({"log": {"entries": entries}})
    requests = sendable(from_har(text))
    assert "secret" not in json.dumps(requests)
    auth = {"Authorization": "${env.AUTHORIZATION}"}
    assert requests[0] == {"name": "GET /a", "path": "/a?x=1", "headers": auth, "weight": 2}
    assert requests[1] == {"name": "POST /buy", "method": "POST", "path": "/buy", "headers": auth, "json": {"sku": 1}}
    assert requests[2]["body"] == "a=1"
    assert requests[2]["expect"] == 422
    assert len(requests) == 3


def test_the_fields_of_a_recorded_form_are_its_body() -> None:
    post = {"mimeType": FORM, "params": [{"name": "a", "value": "1 2"}, {"name": "b", "value": "3"}]}
    request = {"method": "POST", "url": "http://x/", "postData": post}
    (found,) = sendable(from_har(json.dumps({"log": {"entries": [{"request": request}]}})))
    assert (found["body"], found["headers"]) == ("a=1+2&b=3", {"Content-Type": FORM})


@pytest.mark.parametrize("request_", [{"url": "http://[x"}, {"headers": ["a"]}, {"headers": {}}, {"postData": [1]}])
def test_a_recorded_request_of_the_wrong_shape_is_told(request_: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        from_har(json.dumps({"log": {"entries": [{"request": {"url": "http://x/", **request_}}]}}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"log": {"entries": [{"request": {}, "response": 1}]}}',
        '{"log": {"entries": []}}',
        '{"log": {"entries": [1]}}',
    ],
)
def test_what_is_no_har_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        from_har(text)


CURLS: dict[str, dict[str, Any]] = {
    "curl http://localhost:8000/x": {"name": "GET /x", "path": "/x"},
    "curl -sSL localhost/x?y=1": {"name": "GET /x", "path": "/x?y=1", "redirects": True},
    "curl -XPUT http://a/b -H 'X-A: 1' -d a=1": {
        "name": "PUT /b",
        "method": "PUT",
        "path": "/b",
        "headers": {"X-A": "1", "Content-Type": "application/x-www-form-urlencoded"},
        "body": "a=1",
    },
    "curl http://a/ -H 'Content-Type: application/json' --data-raw '{\"a\": \"${x}\"}' -u me:secret -m 2": {
        "name": "POST /",
        "method": "POST",
        "path": "/",
        "headers": {"Authorization": "${env.AUTHORIZATION}"},
        "json": {"a": "$${x}"},
        "timeout": "2s",
    },
    "curl -G --url=http://a/s -d q=1 -d r=2": {"name": "GET /s", "path": "/s?q=1&r=2"},
    "curl http://a/ -H 'Content-Type: application/vnd.api+json' -d '{\"a\": 1}'": {
        "name": "POST /",
        "method": "POST",
        "path": "/",
        "headers": {"Content-Type": "application/vnd.api+json"},
        "json": {"a": 1},
    },
    "curl http://a/ --data-urlencode 'q=a b&c=d' --data-urlencode '=x y' --data-urlencode 'a/b' --data-raw '@c'": {
        "name": "POST /",
        "method": "POST",
        "path": "/",
        "headers": {"Content-Type": "application/x-www-form-urlencoded"},
        "body": "q=a%20b%26c%3Dd&x%20y&a%2Fb&@c",
    },
    "curl http://a/ -b sid=1 -m 0.00001": {
        "name": "GET /",
        "path": "/",
        "headers": {"Cookie": "${env.COOKIE}"},
        "timeout": "0.00001s",
    },
    "curl http://a/ -H 'cookie: sid=1' -H 'Accept:'": {
        "name": "GET /",
        "path": "/",
        "headers": {"Cookie": "${env.COOKIE}"},
    },
    "curl -I http://a": {"name": "HEAD /", "method": "HEAD", "path": "/"},
    "curl \\\n http://a/x \\\n --compressed": {"name": "GET /x", "path": "/x"},
}


@pytest.mark.parametrize("command", CURLS)
def test_a_curl_command_becomes_its_request(command: str) -> None:
    request = from_curl(command)
    assert request == CURLS[command]
    sendable([request])


FILES = ["-d a=1 -d @f", "--data-binary @f", "--json @f", "--data-urlencode a@f", "-H @f", "-b f"]
NONSENSE = ["-m abc", "-m 0", "-m nan", "-X 'a b'"]


@pytest.mark.parametrize(
    "command",
    [
        *("", "wget x", "curl", "curl a b", "curl 'x", "curl -F a=@b http://x", "curl -d @file http://x"),
        *("curl 'http://[::1/x'", *(f"curl http://x/ {options}" for options in [*FILES, *NONSENSE])),
    ],
)
def test_what_cannot_be_said_as_a_request_is_refused(command: str) -> None:
    with pytest.raises(UsageError):
        from_curl(command)
