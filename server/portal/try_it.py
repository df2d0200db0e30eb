"""A client's own flow, laid out step by step: the address that begins it, and the call that trades its code. Pure.

What is drawn here is shown and not kept: whoever walks the flow carries state and verifier along, as a client would.
"""

import base64
import hashlib
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from sdk.portal.v1.oauth_client_pb2 import O_AUTH_CLIENT_TYPE_CONFIDENTIAL, OAuthClient

from server.authorization.metadata import AUTHORIZATION_PATH, TOKEN_PATH

_DRAWN_BYTES: Final = 32
"""Of state and verifier: 43 characters, the shortest verifier there may be (RFC 7636 section 4.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One walk through the flow (RFC 6749 section 4.1, RFC 7636)."""

    link: str
    """Where it begins: the authorization endpoint with all its parameters."""
    state: str
    verifier: str
    challenge: str
    exchange: str
    """A command line that trades the code, which the shell is to have in `$CODE`."""
    call: str
    """A command line that uses the access token, which the shell is to have in `$TOKEN`."""


def draw_trial(client: OAuthClient, public_url: str, redirect_uri: str, scopes: Sequence[str]) -> Trial:
    """Draw state and verifier and write everything that needs them. `public_url` has no slash at its end."""
    state, verifier = _draw(), _draw()
    challenge = _encode(hashlib.sha256(verifier.encode()).digest())
    parameters = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return Trial(
        link=f"{public_url}{AUTHORIZATION_PATH}?{urlencode(parameters)}",
        state=state,
        verifier=verifier,
        challenge=challenge,
        exchange=_exchange(client, public_url, redirect_uri, verifier),
        call=f'curl -H "authorization: Bearer $TOKEN" {shlex.quote(f"{public_url}/v1/developer/keys")}',
    )


def _exchange(client: OAuthClient, public_url: str, redirect_uri: str, verifier: str) -> str:
    """Write the token request: a confidential client proves itself by its secret, a public one names itself."""
    is_confidential = client.type == O_AUTH_CLIENT_TYPE_CONFIDENTIAL
    lines = [
        f"curl {shlex.quote(f'{public_url}{TOKEN_PATH}')}",
        f'-u "{client.id}:$CLIENT_SECRET"' if is_confidential else f"-d client_id={client.id}",
        "-d grant_type=authorization_code",
        '--data-urlencode "code=$CODE"',
        f"--data-urlencode {shlex.quote(f'redirect_uri={redirect_uri}')}",
        f"-d code_verifier={verifier}",
    ]
    return " \\\n  ".join(lines)


def _draw() -> str:
    return _encode(secrets.token_bytes(_DRAWN_BYTES))


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
