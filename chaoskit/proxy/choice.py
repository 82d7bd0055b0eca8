"""Which Toxiproxy serves the toxics: `embedded`, `real`, or the URL of one that runs."""

from __future__ import annotations

import os

from chaoskit.errors import ProxyError, UsageError
from chaoskit.proxy.client import Toxiproxy
from chaoskit.wording import did_you_mean

__all__ = ["chosen_toxiproxy"]

_OURS = ("embedded", "real")


def chosen_toxiproxy(asked: str | None = None) -> str:
    """What was asked for, else what CHAOSKIT_TOXIPROXY says, else `embedded`. Raises UsageError where it is none of the
    three, before anything starts."""
    text = asked or os.environ.get("CHAOSKIT_TOXIPROXY") or "embedded"
    if text in _OURS:
        return text
    if "://" not in text:
        expected = "expected embedded, real, or the URL of one that runs, such as http://127.0.0.1:8474"
        raise UsageError(f"no Toxiproxy {text!r}", hint=did_you_mean(text, _OURS, all_of_them=False) or expected)
    try:
        Toxiproxy(text)
    except ProxyError as error:
        raise UsageError(error.message, hint=error.hint) from None
    return text
