"""What the target told the load, write by write and read by read: the other half of every claim about consistency.

The worker sends it in batches, as Events of kind `told`: `text` is the name under which the experiment keeps it, and
`about["rows"]` a JSON list of [op, key, value, sent, ended, outcome]. `sent` and `ended` are seconds relative to the
event's own `at` (which the recorder moves onto the run's clock); `ended` is null where no answer came.

    op       write · read
    outcome  acknowledged (the answer was a good one) · refused (an answer that says it was not done)
             · unknown (no answer, or one that does not say: it may have been done or not)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from chaoskit.model.observation import Event

__all__ = ["Told", "told"]


class Told(NamedTuple):
    """One write or read, as its sender saw it. Instants are those of the run; `ended` is inf where no answer came."""

    op: str
    key: str
    value: str
    sent: float
    ended: float
    outcome: str


def told(events: Iterable[Event], name: str) -> Iterator[Told]:
    """Everything kept under `name`. Raises ValueError where an event is not in the form above."""
    for event in events:
        if event.kind != "told" or event.text != name:
            continue
        try:
            for op, key, value, sent, ended, outcome in json.loads(event.about["rows"]):
                over = math.inf if ended is None else event.at + float(ended)
                yield Told(op, _text(key), _text(value), event.at + float(sent), over, outcome)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"what was told of {name!r} at {event.at:.1f} s is not as expected: {error}") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
