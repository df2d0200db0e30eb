"""Who calls the internal port: a service with a token of its own, or one that showed a certificate (mTLS).

Of a token only the SHA-256 is configured or kept, which is safe because tokens are random and long. A name may have
several tokens, so that one can be replaced without a pause.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from server.errors import Unauthenticated
from server.rpc.call import Call, Proceed

_ENTRY = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-fA-F]{64})", re.ASCII)
_REMEMBERED = 1000
_SHORTEST = 16
_OF_NOTHING = hashlib.sha256(b"").digest()
_LOOPBACK = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")


def draw_service_token() -> str:
    """Draw a token: 256 random bits in URL-safe base64."""
    return secrets.token_urlsafe(32)


class ServiceTokens:
    """The names of services by the digests of their tokens."""

    def __init__(self, names: Mapping[bytes, str]) -> None:
        self._names = dict(names)
        self._remembered: dict[str, str] = {}  # header -> name, of headers that were good: spares the digest

    @classmethod
    def parse(cls, text: str) -> "ServiceTokens":
        """Read `name:sha256hex,…`; a name may come several times.

        Raises:
            ValueError: the text has another shape; the sentence repeats none of it.
        """
        names: dict[bytes, str] = {}
        for position, entry in enumerate(text.split(","), start=1):
            match = _ENTRY.fullmatch(entry.strip())
            if match is None:
                raise ValueError(f"entry {position} is not NAME:SHA256 with the digest as 64 hex digits")
            digest = bytes.fromhex(match[2])
            if digest == _OF_NOTHING:
                raise ValueError(f"entry {position} is the digest of an empty token")
            names[digest] = match[1]
        return cls(names)

    @classmethod
    def of(cls, name: str, token: str) -> "ServiceTokens":
        """Take one token as it is.

        Raises:
            ValueError: it is too short to be one.
        """
        if len(token) < _SHORTEST:
            raise ValueError(f"a service token has {_SHORTEST} characters or more")
        return cls({hashlib.sha256(token.encode()).digest(): name})

    def find_name(self, header: str) -> str | None:
        """Return who sent an `authorization` header, None when its token is not known."""
        known = self._remembered.get(header)
        if known is not None:
            return known
        scheme, _, token = header.partition(" ")
        name = self._names.get(hashlib.sha256(token.strip().encode()).digest())
        if name is None or scheme.lower() != "bearer":
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[header] = name
        return name

    def __repr__(self) -> str:
        return f"ServiceTokens(names={sorted(set(self._names.values()))})"


class CallerAuthentication:
    """The link that lets services in. Health and reflection need no token from this machine itself."""

    def __init__(self, tokens: ServiceTokens, *, mutual_tls: bool, open_services: Sequence[str]) -> None:
        """With `mutual_tls` the port shows itself only to holders of a certificate, who then need no token."""
        self._tokens = tokens
        self._mutual_tls = mutual_tls
        self._open = tuple(f"/{service}/" for service in open_services)

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call of a known service.

        Raises:
            Unauthenticated: it sent no token, several, or one that is not known.
        """
        call.labels["caller"] = self._caller(call)
        return await proceed(call, request)

    def _caller(self, call: Call) -> str:
        headers = call.header_values("authorization")
        if len(headers) == 1:
            name = self._tokens.find_name(headers[0])
            if name is not None:
                return name
        if self._mutual_tls:
            return _certified_name(call)
        if call.method.startswith(self._open) and call.context.peer().startswith(_LOOPBACK):
            return "loopback"
        call.response_headers["www-authenticate"] = 'Bearer realm="internal"'
        raise Unauthenticated(
            "A service token is needed: send it once as `authorization: Bearer <token>`.", sent=bool(headers)
        )


def _certified_name(call: Call) -> str:
    """Return the common name of the caller's certificate, which the handshake has verified."""
    names = call.context.auth_context().get("x509_common_name", ())
    return next((name.decode(errors="replace")[:64] for name in names), "certificate")
