"""Requests that a browser recorded (HAR) as requests of a load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from chaoskit.errors import UsageError
from chaoskit.load.importers.parts import FORM, Request, headers_and_body, items, keys, literal, split

__all__ = ["from_har"]


def from_har(text: str) -> list[Request]:
    """The requests of a browser's HAR file that went to the host of its first one, as often as they did (as weights).

    Cookies are left out; an Authorization header is to come from the environment. Raises UsageError where it is none.
    """
    try:
        entries = json.loads(text)["log"]["entries"]
        seen = [entry["request"] | {"status": (entry.get("response") or {}).get("status", 0)} for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError("this is no HAR file: expected JSON with log.entries") from error
    if not seen:
        raise UsageError("the HAR file has no requests")
    host = split(str(seen[0].get("url", ""))).netloc
    found: dict[str, Request] = {}
    counts: dict[str, int] = {}
    for one in seen:
        parts = split(str(one.get("url", "")))
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
    request["path"] = literal(f"{path}?{query}" if query else path)
    where = f"{method} {path}"
    post = keys(one.get("postData"), f"the postData of {where}")
    pairs, fields = _pairs(one.get("headers"), where), _pairs(post.get("params"), where)
    kind, body = str(post.get("mimeType") or ""), post.get("text") or None
    if body is None and fields and (not kind or kind.startswith(FORM)):
        body, kind = urlencode(fields), FORM
    if body is not None and kind and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("Content-Type", kind))
    headers, content = headers_and_body(pairs, body if body is None else str(body))
    request |= ({"headers": headers} if headers else {}) | content
    status = one["status"]
    if isinstance(status, int) and status >= 400:
        request["expect"] = status
    return request


def _pairs(value: object, where: str) -> list[tuple[str, str]]:
    """Names and values as HAR lists them."""
    each = [keys(one, f"what {where} lists") for one in items(value, where)]
    return [(str(one.get("name", "")), str(one.get("value", ""))) for one in each]
