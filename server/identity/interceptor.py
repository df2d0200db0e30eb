"""The link that authenticates: metadata `authorization: Bearer <access token>` to a verified token (RFC 6750)."""

from collections.abc import Awaitable, Callable
from typing import Any

from server.errors import InvalidRequest, Unauthenticated, Violation
from server.identity.principal import AccessToken, bind_token
from server.rpc.call import Call, Proceed

Verify = Callable[[str], Awaitable[AccessToken]]


class Authentication:
    """Lets in calls with exactly one valid access token, and sets the challenge on those it refuses."""

    def __init__(self, verify: Verify, realm: str) -> None:
        self._verify = verify
        self._challenge = f'Bearer realm="{realm}"'

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call of a token's bearer.

        Raises:
            InvalidRequest: several credentials at once (contract section 3).
            Unauthenticated: no token, or one that is not valid.

        """
        try:
            token = await self._verify(_bearer_token(call))
        except Unauthenticated as refusal:
            error = ', error="invalid_token"' if refusal.sent else ""
            call.response_headers["www-authenticate"] = self._challenge + error
            raise
        bind_token(token)
        return await proceed(call, request)


def _bearer_token(call: Call) -> str:
    """Find the one access token of a call; the scheme is case-insensitive (RFC 9110 section 11.1)."""
    values = call.header_values("authorization")
    if len(values) > 1:
        raise InvalidRequest([Violation("Authorization", "was sent more than once: send one access token")])
    if values and call.header_values("x-api-key"):
        sentence = "must not be sent together with Authorization: keys are managed with an access token alone"
        raise InvalidRequest([Violation("x-api-key", sentence)])
    scheme, _, token = (values[0] if values else "").strip().partition(" ")
    if scheme.lower() != "bearer":
        sentence = "An OAuth access token is needed: send it as `Authorization: Bearer <access token>`."
        raise Unauthenticated(sentence, sent=False)
    return token.strip()
