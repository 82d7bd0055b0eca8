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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"log": {"entries": []}}', '{"log": {"entries": [1]}}'])
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
    "curl -I http://a": {"name": "HEAD /", "method": "HEAD", "path": "/"},
    "curl \\\n http://a/x \\\n --compressed": {"name": "GET /x", "path": "/x"},
}


@pytest.mark.parametrize("command", CURLS)
def test_a_curl_command_becomes_its_request(command: str) -> None:
    request = from_curl(command)
    assert request == CURLS[command]
    sendable([request])


@pytest.mark.parametrize(
    "command", ["", "wget x", "curl", "curl a b", "curl 'x", "curl -F a=@b http://x", "curl -d @file http://x"]
)
def test_what_cannot_be_said_as_a_request_is_refused(command: str) -> None:
    with pytest.raises(UsageError):
        from_curl(command)
