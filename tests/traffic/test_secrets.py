"""Credentials are not kept; where they come from is."""

from __future__ import annotations

import pytest

from chaoskit.traffic.secrets import without_secrets, words_without_secrets


def test_credentials_in_headers_are_masked_wherever_they_stand() -> None:
    secret = {"authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Tenant": "acme"}
    masked = {"authorization": "***", "Cookie": "***", "X-Tenant": "acme"}
    load = {"rate": 5, "headers": secret, "requests": [{"path": "/", "headers": secret, "then": [{"headers": secret}]}]}
    kept = {"rate": 5, "headers": masked, "requests": [{"path": "/", "headers": masked, "then": [{"headers": masked}]}]}
    assert without_secrets(load) == kept


def test_where_a_credential_comes_from_is_no_secret() -> None:
    load = {"headers": {"Authorization": "Bearer ${env.TOKEN}"}}
    assert without_secrets(load) == load


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("Authorization: Bearer s3cret", "Authorization: ***"),
        ("-HCookie:a=s3cret", "-HCookie: ***"),
        ("--header=x-api-key: s3cret", "--header=x-api-key: ***"),
        ("Authorization: Bearer ${env.TOKEN}", "Authorization: Bearer ${env.TOKEN}"),
        ("Accept: text/html", "Accept: text/html"),
        ("http://localhost/cookie", "http://localhost/cookie"),
    ],
)
def test_a_command_line_is_kept_without_them(word: str, kept: str) -> None:
    assert words_without_secrets(["chaoskit", word]) == ["chaoskit", kept]
