"""A client's own flow, laid out: what the link asks, and what the command lines send."""

import base64
import hashlib
import shlex
from urllib.parse import parse_qs, urlsplit

import pytest
from sdk.portal.v1.oauth_client_pb2 import O_AUTH_CLIENT_TYPE_CONFIDENTIAL, O_AUTH_CLIENT_TYPE_PUBLIC, OAuthClient

from server.portal.try_it import draw_trial

URL = "https://platform.example"
URI = "https://app.example.com/cb?a=1&b=%20;$(id)"


def client(kind: int = O_AUTH_CLIENT_TYPE_PUBLIC) -> OAuthClient:
    return OAuthClient(id="client_1", type=kind, redirect_uris=[URI], allowed_scopes=["read", "stream"])  # type: ignore[arg-type]


def test_the_link_asks_for_a_code_with_pkce() -> None:
    trial = draw_trial(client(), URL, URI, ["read"])
    parts = urlsplit(trial.link)

    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{URL}/v1/auth/authorize"
    assert {name: value for name, (value,) in parse_qs(parts.query, strict_parsing=True).items()} == {
        "response_type": "code",
        "client_id": "client_1",
        "redirect_uri": URI,
        "scope": "read",
        "state": trial.state,
        "code_challenge": trial.challenge,
        "code_challenge_method": "S256",
    }
    digest = hashlib.sha256(trial.verifier.encode()).digest()
    assert trial.challenge == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert 43 <= len(trial.verifier) <= 128


@pytest.mark.parametrize("kind", [O_AUTH_CLIENT_TYPE_PUBLIC, O_AUTH_CLIENT_TYPE_CONFIDENTIAL])
def test_the_command_line_is_one_to_the_shell_whatever_the_redirect_uri(kind: int) -> None:
    trial = draw_trial(client(kind), URL, URI, ["read"])
    words = shlex.split(trial.exchange.replace("\\\n", ""))

    assert words[:2] == ["curl", f"{URL}/oauth/token"]
    assert f"redirect_uri={URI}" in words
    assert f"code_verifier={trial.verifier}" in words
    assert "code=$CODE" in words
    assert ("client_id=client_1" in words) is (kind == O_AUTH_CLIENT_TYPE_PUBLIC)
    assert ("client_1:$CLIENT_SECRET" in words) is (kind == O_AUTH_CLIENT_TYPE_CONFIDENTIAL)
    assert "$(id)" not in trial.exchange.replace(shlex.quote(f"redirect_uri={URI}"), "")


def test_every_look_draws_anew() -> None:
    one, other = draw_trial(client(), URL, URI, ["read"]), draw_trial(client(), URL, URI, ["read"])
    assert {one.state, one.verifier}.isdisjoint({other.state, other.verifier})
    assert one.state != one.verifier
