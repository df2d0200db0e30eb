"""Sessions of browsers. The cookie is the only key to one: the database holds its SHA-256, and content that is sealed.

The seal (AES-256-GCM) is made of a pepper and of what the cookie holds, so neither a dump of the database nor a cookie
alone opens it; kind and subject are under it, so that rows cannot be turned into others.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from server.peppers import Peppers
from server.postgres.pool import Database
from server.sessions.seal import CarriedSeal, open_seal, seal
from server.sessions.store import SessionStore, StoredSession

SessionKind = Literal["issuer", "portal", "portal-login", "portal-reveal", "portal-turn", "upstream-login"]
"""Signed in at the issuer; signed in to the portal; on the way to the portal; on the way to the upstream provider."""

IDLE = timedelta(hours=2)
"""How long a session lives that nobody uses."""
LIFETIME = timedelta(hours=12)
"""How long whoever signed in stays so at most."""

_COOKIE_BYTES = 32
_COOKIE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)  # the one spelling of 32 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a browser's cookie opened. `subject` is empty while nobody has signed in yet."""

    subject: str
    content: Mapping[str, Any] = field(repr=False)
    created_at: datetime
    expires_at: datetime
    """The end of it, however much it is used; without use it ends earlier."""


class Sessions:
    """Opens, finds and closes sessions. What a browser sends that is no cookie of ours is simply not found."""

    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._store = SessionStore(database, IDLE)
        self._peppers = peppers

    async def open(self, kind: SessionKind, subject: str, content: Mapping[str, Any], lifetime: timedelta) -> str:
        """Open a session and return the value of its cookie, which is nowhere else.

        `content` is whatever JSON can hold. It ends after `lifetime`, or when it was not used for two hours.
        """
        drawn = secrets.token_bytes(_COOKIE_BYTES)
        version, sealed = self._seal(drawn, kind, subject, content)
        await self._store.open(_digest(drawn), kind, subject, sealed, version, lifetime)
        return base64.urlsafe_b64encode(drawn).rstrip(b"=").decode()

    async def find(self, kind: SessionKind, cookie: str | None) -> Session | None:
        """Return the session of a cookie, None when there is none, it has ended, or its pepper is gone.

        To find one is to use it.
        """
        drawn = _read(cookie)
        if drawn is None:
            return None
        stored = await self._store.find(_digest(drawn), kind)
        session = self._open_seal(drawn, kind, stored) if stored else None
        if session is not None and stored is not None and stored.unseen:
            await self._store.touch(_digest(drawn), kind)
        return session

    async def replace(self, kind: SessionKind, cookie: str | None, content: Mapping[str, Any]) -> bool:
        """Put other content into a session, its cookie and its end unchanged; False when there is no such session."""
        drawn = _read(cookie)
        session = await self.find(kind, cookie)
        if drawn is None or session is None:
            return False
        version, sealed = self._seal(drawn, kind, session.subject, content)
        return await self._store.replace(_digest(drawn), kind, sealed, version)

    async def close(self, kind: SessionKind, cookie: str | None) -> bool:
        """End a session; False when there was none. Of two who close it at once, one is told True."""
        drawn = _read(cookie)
        return drawn is not None and await self._store.close(_digest(drawn), kind)

    async def close_all(self, kind: SessionKind | None, subject: str) -> int:
        """End every session of a subject, of one kind or, for None, of all, and count them."""
        return await self._store.close_all(subject, kind)

    def carried(self, purpose: str) -> CarriedSeal:
        """Return what seals content that browsers carry themselves, for a purpose such as `portal-login/v1`."""
        return CarriedSeal(self._peppers, purpose)

    async def sweep(self, limit: int) -> int:
        """Drop up to `limit` sessions whose time is over, and count them."""
        return await self._store.sweep(limit)

    def _seal(self, drawn: bytes, kind: str, subject: str, content: Mapping[str, Any]) -> tuple[int, bytes]:
        version = self._peppers.current
        key = self._key(drawn, version)
        if key is None:
            raise LookupError("the current pepper is always held")
        plain = json.dumps({"subject": subject, "content": dict(content)}).encode()
        return version, seal(key, plain, kind.encode())

    def _open_seal(self, drawn: bytes, kind: str, stored: StoredSession) -> Session | None:
        key = self._key(drawn, stored.pepper_version)
        plain = open_seal(key, stored.content, kind.encode()) if key else None
        if plain is None:
            return None
        document = json.loads(plain)
        return Session(
            subject=document["subject"],
            content=document["content"],
            created_at=stored.created_at,
            expires_at=stored.expires_at,
        )

    def _key(self, drawn: bytes, version: int) -> bytes | None:
        return self._peppers.derive("session/v1", version, drawn)


def _read(cookie: str | None) -> bytes | None:
    """Read a cookie's value, in the one spelling that `open` writes."""
    if cookie is None or not _COOKIE.fullmatch(cookie):
        return None
    return base64.urlsafe_b64decode(f"{cookie}=")


def _digest(drawn: bytes) -> bytes:
    return hashlib.sha256(drawn).digest()
