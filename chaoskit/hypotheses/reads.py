"""What the verify phase read: the answers of its steps, places in them, and claims about keys that they hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from chaoskit.hypotheses.claim import unknown_name
from chaoskit.interfaces import Hypothesis, Named
from chaoskit.model.history import History, Phase
from chaoskit.model.told import Told, told
from chaoskit.model.undo import JSON
from chaoskit.traffic import parse_json_path

__all__ = ["CannotTell", "FinalRead", "PathText", "as_text", "read_at"]


def _checked(path: str) -> str:
    parse_json_path(path)
    return path


PathText = Annotated[str, AfterValidator(_checked)]
"""A JSONPath such as `$.orders[*].id`."""


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


def as_text(value: JSON) -> str:
    """A value of an answer as keys are compared: texts as they are."""
    return value if isinstance(value, str) else json.dumps(value)


class FinalRead(Hypothesis):
    """A claim about the keys that a step of the verify phase read."""

    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.VERIFY,)

    told: str = ""
    """Name under which the load keeps what it was told (`tells:` of a request)."""
    read: str
    """Name of the step of the verify phase that reads everything."""
    at: PathText
    """JSONPath of the keys in its answer, such as `$.orders[*].id`."""

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        told = unknown_name("request that tells", self.told, named.told, "told") if self.told else []
        return [*told, *unknown_name("verify step", self.read, named.steps, "read")]

    def keys(self, history: History) -> Counter[str]:
        """How often each key is in the answer. Raises CannotTell."""
        return Counter(as_text(value) for value in read_at(history, self.read, self.at))

    def written(self, history: History) -> list[Told]:
        """What the load wrote."""
        return [one for one in told(history.events("told"), self.told) if one.op == "write"]
