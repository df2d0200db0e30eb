"""The parameters of OAuth requests as they are sent: each at most once, empty ones as if they were not there."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote_plus

from server.authorization.model import ClientCredentials, ClientRefused, GrantRefused, Prompt
from server.secret import Secret, SecretFormat

CODE, REFRESH_TOKEN = "code", "refresh"
"""The kinds of secrets that we draw, as they stand in their text."""

_PRESENTED = {"authorization_code": "code", "refresh_token": "refresh_token"}
_FORMS = {"code": SecretFormat(CODE), "refresh_token": SecretFormat(REFRESH_TOKEN)}
_PROMPTS: Mapping[str, Prompt] = {"none": "none", "login": "login", "consent": "consent"}
_NAME = re.compile(r"[a-z_]{1,40}", re.ASCII)


class Presented(NamedTuple):
    """The code or refresh token that a request for tokens shows, well-formed if no more."""

    parameter: str
    secret: Secret


def single(parameters: Iterable[tuple[str, str]]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the parameters that have a value, and the names of those sent more than once (RFC 6749 section 3.1).

    Of a repeated one the first value is kept, for none of them may be acted upon.
    """
    values: dict[str, str] = {}
    seen: set[str] = set()
    repeated: set[str] = set()
    for name, value in parameters:
        (repeated if name in seen else seen).add(name)
        if value:
            values.setdefault(name, value)
    return values, frozenset(repeated)


def echoed_state(values: Mapping[str, str], repeated: frozenset[str]) -> str:
    """Return the parameter `state`; empty if none was sent, or none that could be echoed as it was."""
    state = values.get("state", "")
    return "" if "state" in repeated or not _is_unicode(state) else state


def refuse_unspeakable(values: Mapping[str, str], repeated: frozenset[str]) -> None:
    """Raise GrantRefused for parameters sent more than once and for a state that is no Unicode text."""
    if not _is_unicode(values.get("state", "")):
        raise GrantRefused("invalid_request", "state", "must be Unicode text")
    refuse_repeated(repeated)


def refuse_repeated(repeated: frozenset[str]) -> None:
    """Raise GrantRefused if anything was repeated; a name that is not like ours is not repeated once more."""
    if repeated:
        name = min(repeated)
        shown = name if _NAME.fullmatch(name) else "request"
        raise GrantRefused("invalid_request", shown, "must not hold a parameter more than once")


def read_prompts(text: str) -> frozenset[Prompt]:
    """Read the parameter `prompt` (OpenID Connect Core section 3.1.2.1); unknown words are ignored.

    Raises GrantRefused: `none` stands with others.
    """
    words = text.split(" ")
    if "none" in words and len(words) > 1:
        raise GrantRefused("invalid_request", "prompt", "must hold nothing else beside none")
    return frozenset(_PROMPTS[word] for word in words if word in _PROMPTS)


def find_presented(parameters: Mapping[str, str]) -> Presented | None:
    """Find the code or refresh token of a request for tokens; None when it has none that could be one of ours."""
    parameter = _PRESENTED.get(parameters.get("grant_type", ""), "")
    text = parameters.get(parameter, "")
    return Presented(parameter, Secret(text)) if text and _FORMS[parameter].find_prefix(text) else None


def read_credentials(headers: Sequence[str], client_id: str, secret: str) -> ClientCredentials:
    """Read who sends a request: by HTTP Basic in an `authorization` header, or by the fields of the request.

    Raises GrantRefused for several proofs at once, ClientRefused for a header that is no HTTP Basic.
    """
    posted = ClientCredentials.posted(client_id, secret)
    if not headers:
        return posted
    shown = _read_basic(headers[0])
    if len(headers) > 1 or posted.secret is not None or client_id not in ("", shown.client_id):
        raise GrantRefused("invalid_request", "client_id", "must be proved in one way, once")
    return shown


def _read_basic(header: str) -> ClientCredentials:
    """Read the credentials of HTTP Basic, each encoded as in a form (RFC 6749 section 2.3.1). Raises ClientRefused."""
    scheme, _, encoded = header.strip().partition(" ")
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
        client_id, colon, secret = pair.partition(":")
        if scheme.lower() != "basic" or not colon:
            raise ClientRefused(sent=True)
        client_id, secret = (unquote_plus(each, errors="strict") for each in (client_id, secret))
    except (binascii.Error, ValueError):
        raise ClientRefused(sent=True) from None
    return ClientCredentials(
        client_id=client_id, secret=Secret(secret) if secret else None, method="client_secret_basic"
    )


def find_refresh_token(text: str) -> Secret | None:
    """Read text as a refresh token; None when it cannot be one of ours."""
    return Secret(text) if _FORMS["refresh_token"].find_prefix(text) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
