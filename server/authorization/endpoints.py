"""`/oauth/token` and `/oauth/revoke` as RFC 6749 and RFC 7009 want them: forms in, JSON out, their own error codes."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

import orjson
import structlog

from server.authorization.model import ClientCredentials, ClientRefused, GrantRefused, Tokens
from server.authorization.parameters import read_credentials, refuse_repeated, single
from server.authorization.service import AuthorizationService
from server.authorization.throttle import AddressLimit
from server.errors import RateLimited, Unavailable
from server.web.asgi import JSON, NO_SNIFF, NO_STORE, Header, Receive, Scope, Send, header_values, respond

_BODY_BYTES = 16 * 1024
_FIELDS = 30
_NOT_KEPT: Final = (JSON, NO_STORE, (b"pragma", b"no-cache"), NO_SNIFF)
_FORM = b"application/x-www-form-urlencoded"

_log = structlog.get_logger(__name__)


class _Answers(Protocol):
    async def __call__(self, credentials: ClientCredentials, parameters: Mapping[str, str]) -> Mapping[str, object]:
        """Answer a request whose form was read."""


class _LeftError(Exception):
    """The client has gone before its request was complete."""


class _WrongMethodError(Exception):
    """The request is no POST."""


class _Answer(NamedTuple):
    status: int
    body: Mapping[str, object]
    headers: tuple[Header, ...] = ()


class FormEndpoint:
    """One endpoint for forms. Every answer is JSON that must not be kept."""

    def __init__(self, answers: _Answers, limit: AddressLimit, realm: str) -> None:
        """Take what answers, the limit of addresses and clients, and the realm of the challenge for HTTP Basic."""
        self._answers = answers
        self._limit = limit
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            answer = _Answer(200, await self._serve(scope, receive))
        except _LeftError:
            return
        except Exception as fault:
            answer = self._refusal(fault) or _unexpected(fault, scope["path"])
        await respond(scope, send, answer.status, orjson.dumps(answer.body), (*_NOT_KEPT, *answer.headers))

    async def _serve(self, scope: Scope, receive: Receive) -> Mapping[str, object]:
        if scope["method"] != "POST":
            raise _WrongMethodError
        async with self._limit.admitting((scope.get("client") or ("",))[0]):
            credentials, parameters = _read_request(scope, await _read_body(scope, receive))
            return await self._answers(credentials, parameters)

    def _refusal(self, fault: Exception) -> _Answer | None:
        """Return the answer to a request that failed as requests may; None for a fault of ours."""
        match fault:
            case ClientRefused():
                return _Answer(401, _error(fault.error, fault.message), ((b"www-authenticate", self._challenge),))
            case GrantRefused():
                return _Answer(400, _error(fault.error, fault.sentence))
            case RateLimited() | Unavailable():
                status = 429 if isinstance(fault, RateLimited) else 503
                wait = (b"retry-after", b"%d" % fault.retry_after)
                return _Answer(status, _error("temporarily_unavailable", fault.message), (wait,))
            case _WrongMethodError():
                return _Answer(405, _error("invalid_request", "Only POST can be used here."), ((b"allow", b"POST"),))
        return None


def token_endpoint(authorization: AuthorizationService, limit: AddressLimit, realm: str) -> FormEndpoint:
    """Make the ASGI application of `/oauth/token` (RFC 6749 section 3.2)."""

    async def answer(credentials: ClientCredentials, parameters: Mapping[str, str]) -> Mapping[str, object]:
        return _told(await authorization.give_tokens(credentials, parameters))

    return FormEndpoint(answer, limit, realm)


def revocation_endpoint(authorization: AuthorizationService, limit: AddressLimit, realm: str) -> FormEndpoint:
    """Make the ASGI application of `/oauth/revoke` (RFC 7009)."""

    async def answer(credentials: ClientCredentials, parameters: Mapping[str, str]) -> Mapping[str, object]:
        await authorization.revoke(credentials, parameters)
        return {}

    return FormEndpoint(answer, limit, realm)


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """Read the body of a form, if it is one and not too large.

    Raises GrantRefused.
    """
    types = header_values(scope, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != _FORM:
        raise GrantRefused("invalid_request", "request", f"must be sent once as {_FORM.decode()}")
    body = bytearray()
    more = True
    while more:
        message: Any = await receive()
        if message["type"] != "http.request":
            raise _LeftError
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > _BODY_BYTES:
            raise GrantRefused("invalid_request", "request", f"must not be larger than {_BODY_BYTES} bytes")
    return bytes(body)


def _read_request(scope: Scope, body: bytes) -> tuple[ClientCredentials, dict[str, str]]:
    """Read the parameters and who sends them.

    Raises GrantRefused, and ClientRefused for credentials that cannot be read.
    """
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        raise GrantRefused("invalid_request", "request", "must be a well-formed form in UTF-8") from None
    parameters, repeated = single(pairs)
    refuse_repeated(repeated)
    client_id, secret = parameters.get("client_id", ""), parameters.pop("client_secret", "")
    headers = [value.decode("latin-1") for value in header_values(scope, b"authorization")]
    return read_credentials(headers, client_id, secret), parameters


def _told(tokens: Tokens) -> dict[str, object]:
    return {
        "access_token": tokens.access_token.reveal(),
        "token_type": tokens.token_type,
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token.reveal(),
        "scope": " ".join(tokens.scopes),
    }


def _error(code: str, description: str) -> dict[str, object]:
    return {"error": code, "error_description": description}


def _unexpected(fault: Exception, path: str) -> _Answer:
    """Say that something failed. Of a fault nobody expected only the kind is logged: its text may hold a secret."""
    _log.error("unexpected_fault", path=path, fault=type(fault).__name__)
    return _Answer(500, _error("server_error", "Something went wrong on our side."))
