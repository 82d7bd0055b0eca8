"""What a request wrote or read, and what the target said of it (see `model.told`). Worker side only."""

from __future__ import annotations

import json

from chaoskit.load.answer import Answer, places
from chaoskit.load.exchange import Exchange
from chaoskit.load.values import Template, Values, unicode
from chaoskit.load.wire import JsonPath, TellPlan

__all__ = ["Row", "Telling", "outcome_of"]

Row = tuple[str, str, str, float, float | None, str]
"""op, key, value, sent, ended (absolute), outcome."""

_PERHAPS = (408, 409)
"""Refusals that do not say that it was not done: a timeout on the way, and a conflict with an earlier try."""


class Telling:
    """Compiled from a plan, for one declared request."""

    def __init__(self, plan: TellPlan) -> None:
        self.name = plan.name
        self._op = plan.op
        self._key, self._key_path = Template(plan.key), plan.key_path
        self._value, self._value_path = Template(plan.value), plan.value_path

    @property
    def needs_body(self) -> bool:
        return self._key_path is not None or self._value_path is not None

    def before(self, values: Values) -> tuple[str, str]:
        """Key and value as far as the request says them. Raises Missing."""
        return self._key.render(values).decode(), self._value.render(values).decode()

    def row(self, said: tuple[str, str], exchange: Exchange, cause: str) -> Row | None:
        """What is kept of an exchange that ended; None where its key is not known."""
        key, value = said
        if not cause and self.needs_body:
            answer = exchange.request.answer(exchange)
            key = _text(answer, self._key_path, key)
            value = _text(answer, self._value_path, value)
        if not key:
            return None
        return self._op, key, value, exchange.sent, exchange.ended, outcome_of(cause, exchange.status)

    def open_row(self, said: tuple[str, str], exchange: Exchange) -> Row | None:
        """What is kept of one that nothing ended."""
        key, value = said
        return (self._op, key, value, exchange.sent, None, "unknown") if key else None


def outcome_of(cause: str, status: int) -> str:
    """acknowledged · refused (it was not done) · unknown."""
    if not cause:
        return "acknowledged"
    refused = cause == "refused" or (400 <= status < 500 and status not in _PERHAPS)
    return "refused" if refused else "unknown"


def _text(answer: Answer, path: JsonPath | None, otherwise: str) -> str:
    if path is None:
        return otherwise
    found = places(answer.document, path)
    if not found:
        return ""
    # JSON can hold half a pair of surrogates, which nothing can write down.
    return unicode(found[0]) if isinstance(found[0], str) else json.dumps(found[0])
