"""What `${name}` stands for in the worker: values of feeds, and templates that they are written into."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from chaoskit.load.wire import FeedPlan, Piece
from chaoskit.model.undo import JSON

__all__ = ["Feeds", "Missing", "Template", "unicode"]

Values = Callable[[str], JSON]
"""The value of a name. Raises Missing."""


class Missing(LookupError):
    """A name that has no value yet: what should have given it failed."""


class Feeds:
    """The values that belong to one request, by its number: the same number has the same values in every run."""

    def __init__(self, plans: Sequence[FeedPlan], seed: int) -> None:
        self._plans = {plan.name: plan for plan in plans}
        self._seed = seed
        self._given: dict[str, JSON] = {}

    def __contains__(self, name: str) -> bool:
        return name.split(".", 1)[0] in self._plans

    def give(self, values: Mapping[str, JSON]) -> None:
        """The values of what is known at the start only."""
        self._given.update(values)

    def value(self, name: str, number: int) -> JSON:
        """The value of `name` or `name.column` for the request of this number. Raises Missing."""
        base, _, column = name.partition(".")
        plan = self._plans[base]
        if plan.kind == "given":
            if base not in self._given:
                raise Missing(name)
            return self._given[base]
        if plan.kind == "uuid":
            return str(uuid.UUID(int=self._draw(base, number).getrandbits(128), version=4))
        if plan.kind == "random":
            draw = self._draw(base, number)
            return draw.randint(int(plan.low), int(plan.high)) if plan.whole else draw.uniform(plan.low, plan.high)
        size = int(plan.high) - int(plan.low) + 1 if plan.kind == "range" else len(plan.rows)
        index = self._draw(base, number).randrange(size) if plan.shuffled else number % size
        if plan.kind == "range":
            return int(plan.low) + index
        row = plan.rows[index]
        column = column or plan.column
        if not column:
            return row
        if not isinstance(row, dict) or column not in row:
            raise Missing(name)
        return row[column]

    def _draw(self, name: str, number: int) -> random.Random:
        return random.Random(f"{self._seed} {name} {number}")  # noqa: S311 - repeats with the seed, guards nothing


class Template:
    """Pieces of text and values. `fixed` is the whole text where there are no values."""

    __slots__ = ("_parts", "fixed", "names")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._parts = [(piece.text.encode(), piece.name, piece.how) for piece in pieces]
        self.names = frozenset(piece.name for piece in pieces if piece.name)
        self.fixed = b"" if self.names else b"".join(text for text, _, _ in self._parts)

    def render(self, values: Values) -> bytes:
        """Raises Missing where a name has no value."""
        if not self.names:
            return self.fixed
        return b"".join(_written(values(name), how) if name else text for text, name, how in self._parts)


def _written(value: JSON, how: str) -> bytes:
    if how == "json":
        return json.dumps(value).encode()
    text = value if isinstance(value, str) else json.dumps(value)
    if how == "json text":
        return json.dumps(text)[1:-1].encode()
    if how == "path":
        return quote(text, safe="", errors="replace").encode()
    if how == "header":
        # A captured value must not be able to end the header it stands in.
        text = text.translate(_NO_BREAKS)
    return text.encode("utf-8", "replace")


def unicode(text: str) -> str:
    """A text without what cannot be encoded: half a pair of surrogates, as JSON may hold, becomes `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_NO_BREAKS: Mapping[int, None] = dict.fromkeys((0, 10, 13))
