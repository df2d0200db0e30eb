"""Who is signed in: the portal's session in the browser, with the tokens that calls are made with.

Whoever changes a session's content first takes its turn, a row that can be removed once: a refresh token must not be
traded twice, whichever processes the browser's requests reach, for then the issuer takes it for stolen.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from server.errors import Unavailable
from server.portal.issuer import SignInEndedError, TokenIssuer, Tokens
from server.sessions.service import LIFETIME, Session, Sessions

COOKIE: Final = "__Host-portal"

_KIND: Final = "portal"
_TURN: Final = "portal-turn"
_TURN_LIFETIME = LIFETIME + timedelta(hours=1)
_RENEWED_BEFORE = 60.0
"""Seconds before its end at which an access token is renewed: longer than a page takes, so that none ends under way."""
_WAITS, _WAIT_SECONDS = 50, 0.1
"""How often and how long to wait for tokens that somebody else is getting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """One browser's session: whose it is, its access token, and what the developer is called.

    `cookie` is what the browser holds; `name` is empty until the user has registered.
    """

    cookie: str
    subject: str
    access_token: str
    name: str


class PortalSessions:
    """Opens, finds and ends the portal's sessions, and renews their tokens in time."""

    def __init__(self, sessions: Sessions, issuer: TokenIssuer, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self._sessions = sessions
        self._issuer = issuer
        self._clock = clock

    async def open(self, subject: str, tokens: Tokens) -> str:
        """Begin a session and return what the browser is to hold."""
        return await self._sessions.open(_KIND, subject, await self._content(tokens, {}), LIFETIME)

    async def find(self, cookie: str | None) -> SignedIn | None:
        """Return the session of a browser, None when there is none any more.

        Its access token is good for a minute, unless the issuer is away. Raises Unavailable when the token has ended
        and the issuer is away.
        """
        session = await self._sessions.find(_KIND, cookie)
        if session is None or cookie is None:
            return None
        if self._left(session) < _RENEWED_BEFORE:
            # A browser that goes away must not stop what has begun: the refresh token would be spent and lost.
            session = await asyncio.shield(asyncio.ensure_future(self._renewed(session, cookie)))
        if session is None:
            return None
        access_token, name = session.content["access_token"], session.content["name"]
        return SignedIn(cookie=cookie, subject=session.subject, access_token=access_token, name=name)

    async def note_name(self, cookie: str, name: str) -> None:
        """Keep what the developer is called, so that pages need not ask; while tokens are renewed it is not kept."""
        session = await self._sessions.find(_KIND, cookie)
        if session is not None and session.content["name"] != name and await self._takes_turn(session):
            content = {**session.content, "name": name, "turn": await self._new_turn()}
            await self._sessions.replace(_KIND, cookie, content)

    async def close(self, cookie: str | None) -> None:
        """End a session here and its tokens at the issuer; a session that is gone is no fault."""
        session = await self._sessions.find(_KIND, cookie)
        await self._sessions.close(_KIND, cookie)
        if session is None:
            return
        await self._takes_turn(session)
        if session.content["refresh_token"]:
            try:
                await self._issuer.revoke(session.content["refresh_token"])
            except (SignInEndedError, Unavailable):
                return  # the tokens are forgotten here and end by themselves

    async def _renewed(self, session: Session, cookie: str) -> Session | None:
        """Renew the tokens if it is our turn; else use what there is while it is good, or wait for the others."""
        if await self._takes_turn(session):
            return await self._renew(session, cookie)
        if self._left(session) > 0:
            return session
        for _ in range(_WAITS):
            await asyncio.sleep(_WAIT_SECONDS)
            found = await self._sessions.find(_KIND, cookie)
            if found is None or self._left(found) > 0:
                return found
        await self._sessions.close(_KIND, cookie)  # whoever had the turn is gone, and the refresh token with it
        return None

    async def _renew(self, session: Session, cookie: str) -> Session | None:
        """Trade the refresh token; when it is not good any more the session ends."""
        try:
            tokens = await self._traded(session)
        except SignInEndedError:
            await self._sessions.close(_KIND, cookie)
            return None
        except Unavailable:
            await self._sessions.replace(_KIND, cookie, {**session.content, "turn": await self._new_turn()})
            if self._left(session) <= 0:
                raise
            return session
        await self._sessions.replace(_KIND, cookie, await self._content(tokens, session.content))
        return await self._sessions.find(_KIND, cookie)

    async def _traded(self, session: Session) -> Tokens:
        refresh_token = session.content["refresh_token"]
        if refresh_token:
            return await self._issuer.renew(refresh_token)
        if self._left(session) <= 0:
            raise SignInEndedError
        raise Unavailable  # nothing to renew with: the token serves until its end

    async def _content(self, tokens: Tokens, before: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh_token or before.get("refresh_token", ""),
            "expires_at": self._clock() + tokens.expires_in,
            "name": before.get("name", ""),
            "turn": await self._new_turn(),
        }

    async def _takes_turn(self, session: Session) -> bool:
        return await self._sessions.close(_TURN, session.content["turn"])

    async def _new_turn(self) -> str:
        return await self._sessions.open(_TURN, "", {}, _TURN_LIFETIME)

    def _left(self, session: Session) -> float:
        return float(session.content["expires_at"]) - self._clock()
