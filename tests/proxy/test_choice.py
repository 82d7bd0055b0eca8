"""Which Toxiproxy serves is known to be one before anything starts."""

from __future__ import annotations

import pytest

from chaoskit.errors import UsageError
from chaoskit.proxy.choice import chosen_toxiproxy


@pytest.mark.parametrize("text", ["embedded", "real", "http://127.0.0.1:8474", "http://:secret@[::1]"])
def test_what_it_may_be(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CHAOSKIT_TOXIPROXY", "real")
    assert chosen_toxiproxy(text) == text
    assert chosen_toxiproxy() == "real"
    monkeypatch.setenv("CHAOSKIT_TOXIPROXY", "")
    assert chosen_toxiproxy() == "embedded"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("embeded", "did you mean 'embedded'?"),
        ("127.0.0.1:8474", "the URL of one that runs, such as http://127.0.0.1:8474"),
        ("http://127.0.0.1:99999", "write it like http://127.0.0.1:8474"),
        ("http://[::1", "write it like"),
        ("ftp://127.0.0.1", "write it like"),
        ("http://", "write it like"),
    ],
)
def test_anything_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_toxiproxy(text)
    assert said in caught.value.hint
    assert repr(text) in caught.value.message
