"""What the verify phase read: the answers of its steps, and places in them."""

from __future__ import annotations

import json

from chaoskit.model.history import History
from chaoskit.model.undo import JSON
from chaoskit.traffic import parse_json_path

__all__ = ["CannotTell", "read_at"]


class CannotTell(Exception):
    """Why a claim about final reads cannot be judged."""


def read_at(history: History, step: str, path: str) -> list[JSON]:
    """All values at a JSONPath in the last answer to a step of the verify phase. Raises CannotTell."""
    answers = [event for event in history.events("read") if event.about.get("step") == step]
    if not answers:
        raise CannotTell(f"the verify phase has no answer to {step!r}")
    body = answers[-1].about.get("body", "")
    try:
        document: JSON = json.loads(body)
    except ValueError:
        because = f"the answer to {step!r} is not JSON, or longer than what is kept ({len(body)} characters)"
        raise CannotTell(because) from None
    here: list[JSON] = [document]
    for part in parse_json_path(path):
        here = [below for value in here for below in _below(value, part)]
    return here


def _below(value: JSON, part: str | int | None) -> list[JSON]:
    """What one step of a path leads to: every member for None."""
    if isinstance(value, list):
        if part is None:
            return value
        return [value[part]] if isinstance(part, int) and -len(value) <= part < len(value) else []
    if isinstance(value, dict):
        if part is None:
            return list(value.values())
        return [value[part]] if isinstance(part, str) and part in value else []
    return []
