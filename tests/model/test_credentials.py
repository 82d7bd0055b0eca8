"""Credentials are not kept; where they come from is."""

from __future__ import annotations

import json
import textwrap

import pytest

from chaoskit.document import read_text
from chaoskit.model.credentials import (
    Hidden,
    hidden_in,
    path_without_secrets,
    text_without_secrets,
    without_secrets,
    words_without_secrets,
)


def test_credentials_in_headers_are_masked_wherever_they_stand() -> None:
    secret = {"authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Tenant": "acme"}
    masked = {"authorization": "(hidden)", "Cookie": "(hidden)", "X-Tenant": "acme"}
    load = {"rate": 5, "headers": secret, "requests": [{"path": "/", "headers": secret, "then": [{"headers": secret}]}]}
    kept = {"rate": 5, "headers": masked, "requests": [{"path": "/", "headers": masked, "then": [{"headers": masked}]}]}
    assert without_secrets(load) == kept


def test_where_a_credential_comes_from_is_no_secret() -> None:
    load = {"headers": {"Authorization": "Bearer ${env.TOKEN}"}}
    assert without_secrets(load) == load


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("Authorization: Bearer s3cret", "Authorization: (hidden)"),
        ("-HCookie:a=s3cret", "-HCookie: (hidden)"),
        ("--header=x-api-key: s3cret", "--header=x-api-key: (hidden)"),
        ("Authorization: Bearer ${env.TOKEN}", "Authorization: Bearer ${env.TOKEN}"),
        ("Accept: text/html", "Accept: text/html"),
        ("http://localhost/cookie", "http://localhost/cookie"),
    ],
)
def test_a_command_line_is_kept_without_them(word: str, kept: str) -> None:
    assert words_without_secrets(["chaoskit", word]) == ["chaoskit", kept]


def kept(text: str) -> str:
    document = read_text(text, "experiment.yaml")
    return text_without_secrets(document.text, document.data, document.places)


PLAIN = """\
title: sees what is kept  # Cookie: of a note is left
load:
  headers:
    Authorization: Bearer s3cret, and more
    cookie: "a=s3cret; b={s3cret}"   # why
    X-Api-Key: 's3cret'
    X-Tenant: acme
  requests:
    - {path: /, headers: {Authorization: Bearer s3cret, Accept: text/html}}
    - {path: /again, headers: {Cookie: "id=${env.ID}"}}
"""


def test_an_experiment_is_kept_as_written_but_for_them() -> None:
    text = kept(PLAIN)
    assert "s3cret" not in text
    assert text.count("(hidden)") == 4
    read = read_text(text, "experiment.yaml").data
    assert read == without_secrets(read_text(PLAIN, "experiment.yaml").data)
    assert "# Cookie: of a note is left" in text and "# why" in text and "${env.ID}" in text
    assert [line.partition(":")[0] for line in text.splitlines()] == [
        line.partition(":")[0] for line in PLAIN.splitlines()
    ]


def test_a_file_without_any_is_kept_letter_by_letter() -> None:
    text = PLAIN.replace("Bearer s3cret, and more", "Bearer ${env.TOKEN}").replace("a=s3cret; b={s3cret}", "${env.A}")
    text = text.replace("'s3cret'", "${env.KEY}").replace("Bearer s3cret,", "'${env.TOKEN}',")
    assert kept(text) == text


@pytest.mark.parametrize(
    "value",
    [">-\n    Bearer\n    s3cret\n", "|\n    s3cret\n", '"s3cret\\u0021"\n', "&own s3cret\n"],
    ids=["folded", "literal", "escaped", "anchored"],
)
def test_one_that_cannot_be_cut_out_leaves_the_data_alone(value: str) -> None:
    found = kept("headers:\n  Accept: text/html\n  Authorization: " + value)
    assert "s3cret" not in found
    assert read_text(found, "e.yaml").data == {"headers": {"Accept": "text/html", "Authorization": "(hidden)"}}


def test_an_alias_of_headers_is_cut_out_once() -> None:
    text = textwrap.dedent(
        """\
        one: {headers: &same {Authorization: s3cret}}
        two: {headers: *same}
        """
    )
    assert kept(text) == text.replace("s3cret", "(hidden)")


@pytest.mark.parametrize(
    ("load", "hides"),
    [
        ({"headers": {"Authorization": "Bearer ${env.IT}"}}, True),
        ({"requests": [{"headers": {"x-api-key": "${ env.IT }"}}]}, True),
        ({"requests": [{"json": {"password": "${env.SHOP_PASSWORD}"}}]}, True),
        ({"requests": [{"path": "/?q=${env.API_KEY}"}]}, True),
        ({"headers": {"X-Own": "${env.IT}"}}, False),
        ({"requests": [{"path": "/${env.IT}"}]}, False),
        ({"headers": {"Authorization": "Bearer ${token}"}}, False),
    ],
)
def test_values_of_the_environment_are_hidden_where_they_are_credentials(load: dict, hides: bool) -> None:
    hidden = hidden_in(load, {"IT": "s3cret", "SHOP_PASSWORD": "s3cret", "API_KEY": "s3cret", "OTHER_KEY": "usual"})
    assert bool(hidden) is hides
    text = b"said s3cret, as usual"
    assert hidden.cut(text) == (b"said (hidden), as usual" if hides else text)
    assert hidden.text("\ud800 s3cret") == ("\ud800 (hidden)" if hides else "\ud800 s3cret")


def test_a_credential_that_stands_in_a_header_is_hidden_elsewhere_too() -> None:
    hidden = hidden_in({"headers": {"Authorization": "Bearer s3cret", "Accept": "text/html"}}, {})
    assert hidden.cut(b"token s3cret for text/html by Bearer s3cret") == b"token (hidden) for text/html by (hidden)"


@pytest.mark.parametrize(
    "text",
    [
        'a "b" c/ü',
        '{"x": "a \\"b\\" c/ü"}',
        '{"x": "a \\"b\\" c/\\u00fc"}',
        "?x=a%20%22b%22%20c%2F%C3%BC",
        "?x=a+%22b%22+c%2F%C3%BC",
    ],
)
def test_it_is_found_however_it_is_written(text: str) -> None:
    cut = Hidden(['a "b" c/ü']).cut(text.encode())
    assert b"b" not in cut.replace(b"(hidden)", b"") and b"(hidden)" in cut


def test_what_holds_none_is_left_as_it_is() -> None:
    data = b"nothing"
    assert Hidden(["s3cret"]).cut(data) is data
    assert Hidden([]).cut(data) is data
    assert not Hidden(["short", ""]), "it would be found in what has nothing to do with it"
    assert Hidden(["s3cret", "s3cret-and-more"]).cut(b"s3cret-and-more") == b"(hidden)"


def test_json_stays_json() -> None:
    text = json.dumps({"load": {"headers": {"Authorization": "Bearer s3cret", "Accept": "*"}}}, indent=1)
    assert json.loads(kept(text)) == {"load": {"headers": {"Authorization": "(hidden)", "Accept": "*"}}}


@pytest.mark.parametrize("name", ["api_key", "key", "access_token", "password", "X-Amz-Signature", "client_secret"])
def test_a_query_is_kept_without_them(name: str) -> None:
    path = path_without_secrets(f"/cart?item=7&{name}=s3cret&page=2")
    assert "s3cret" not in path
    assert path.startswith(f"/cart?item=7&{name}=(hidden-") and path.endswith(")&page=2")
    assert path == path_without_secrets(f"/cart?item=7&{name}=s3cret&page=2")
    assert path != path_without_secrets(f"/cart?item=7&{name}=another&page=2")


@pytest.mark.parametrize("path", ["/cart", "/cart?item=7", "/token=1", "/cart?monkey=1&keyboard=qwerty", "/cart?key="])
def test_a_path_without_any_is_kept_letter_by_letter(path: str) -> None:
    assert path_without_secrets(path) == path
