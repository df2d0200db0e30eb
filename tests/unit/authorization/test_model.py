from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.authorization.model import ClientCredentials, Tokens, grant_of, in_order, response_url, split_scope
from server.ids import new_grant_id
from server.secret import Secret


@pytest.mark.parametrize(
    ("redirect_uri", "url"),
    [
        ("https://a.example/cb", "https://a.example/cb?x=1"),
        ("https://a.example", "https://a.example?x=1"),
        ("https://a.example/cb?", "https://a.example/cb?x=1"),
        ("https://a.example/cb?a=%20b+c&d", "https://a.example/cb?a=%20b+c&d&x=1"),
        ("https://a.example/cb?a&", "https://a.example/cb?a&x=1"),
        ("com.example.app:/cb", "com.example.app:/cb?x=1"),
        ("http://[::1]:80/cb", "http://[::1]:80/cb?x=1"),
    ],
)
def test_parameters_are_added_and_nothing_else_is_changed(redirect_uri: str, url: str) -> None:
    assert response_url(redirect_uri, [("x", "1")]) == url


@given(st.dictionaries(st.text(min_size=1), st.text(), min_size=1))
def test_whatever_is_added_can_be_read_again(parameters: dict[str, str]) -> None:
    url = response_url("https://a.example/cb", [*parameters.items()])
    assert url.isascii()
    assert dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)) == parameters


def test_a_grant_is_read_from_the_ids_of_its_tokens() -> None:
    grant_id = new_grant_id()
    assert grant_of(f"{grant_id}.aB-_9") == grant_id


@pytest.mark.parametrize(
    "token_id", [None, "", "x", "grant_.x", f"{new_grant_id()}", f"{new_grant_id()}.", f"{new_grant_id()}.x\n"]
)
def test_other_ids_name_no_grant(token_id: str | None) -> None:
    assert grant_of(token_id) is None


def test_scopes_are_written_once_in_one_order() -> None:
    assert in_order(["stream", "write", "read", "stream"]) == ("read", "stream")


@pytest.mark.parametrize(("text", "scopes"), [("", []), ("  ", []), ("a  b ", ["a", "b"]), ("a\tb", ["a\tb"])])
def test_scopes_are_split_at_spaces_alone(text: str, scopes: list[str]) -> None:
    assert split_scope(text) == scopes


def test_secrets_do_not_show() -> None:
    tokens = Tokens(access_token=Secret("hidden"), refresh_token=Secret("hidden"), scopes=())
    assert "hidden" not in repr(tokens) + repr(ClientCredentials.posted("client", "hidden"))
