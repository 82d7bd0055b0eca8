"""Requests of the phases `setup` and `verify`: sent one after the other, straight to the entry service."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Sequence

from chaoskit.errors import CouldNotRun
from chaoskit.experiment import Step
from chaoskit.interfaces import Address, Emit
from chaoskit.model.observation import Event

__all__ = ["carry_out_steps"]

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def carry_out_steps(steps: Sequence[Step], entry: Address, *, emit: Emit | None = None) -> dict[str, str]:
    """Send every step; returns what was captured. With `emit`, each answer is an Event of kind `read`.

    Raises CouldNotRun where an answer is not the expected one.
    """
    captured: dict[str, str] = {}
    for step in steps:
        until = time.monotonic() + step.until
        while True:
            status, body, error = _send(step, entry, captured)
            if status in step.expect or time.monotonic() >= until:
                break
            time.sleep(0.1)
        title = step.name or f"{step.method} {step.path}"
        if status not in step.expect:
            wanted = ", ".join(str(code) for code in step.expect)
            detail = body[-2000:].decode("utf-8", "replace")
            raise CouldNotRun(f"step {title!r} expected {wanted} and got {error or status}", detail=detail)
        for name, path in step.capture.items():
            captured[name] = _value(body, path, title)
        if emit is not None:
            about = {"step": title, "status": str(status), "body": body[:100_000].decode("utf-8", "replace")}
            emit(Event(at=time.monotonic(), source="verify", kind="read", text=title, about=about))
    return captured


def _send(step: Step, entry: Address, captured: dict[str, str]) -> tuple[int, bytes, str]:
    def filled(text: str) -> str:
        return _NAME.sub(lambda match: captured.get(match.group(1), match.group(0)), text)

    headers = {key: filled(value) for key, value in step.headers.items()}
    body = filled(step.body)
    if step.json_ is not None:
        body = filled(json.dumps(step.json_))
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(entry.host, entry.port, timeout=step.timeout)
    try:
        connection.request(step.method, filled(step.path), body=body.encode() or None, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), ""
    except (OSError, http.client.HTTPException) as error:
        return 0, b"", f"{type(error).__name__}: {error}"
    finally:
        connection.close()


def _value(body: bytes, path: str, title: str) -> str:
    """The value at a path such as `$.items[0].id`."""
    try:
        value = json.loads(body)
        for part in re.findall(r"[A-Za-z0-9_-]+", path.removeprefix("$")):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CouldNotRun(f"step {title!r}: nothing at {path} in the answer", detail=body[:500].decode()) from error
    return value if isinstance(value, str) else json.dumps(value)
