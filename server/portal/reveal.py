"""Showing a new secret once: it waits, sealed, for the page after the form, and is gone when that page was made.

The form's answer cannot show it, since a reload would send the form again and get it again.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from server.portal.cookies import drop_cookie, set_cookie
from server.sessions.service import Sessions

_KIND: Final = "portal-reveal"
_LIFETIME: Final = timedelta(minutes=5)
_REPEATABLE: Final = timedelta(minutes=11)
"""Longer than the methods answer a repeated request with the same secret (10 minutes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """A secret to show, and when the one before it ends (RFC 3339); empty when there was none before."""

    secret: str
    previous_expires_at: str


class Reveals:
    """Keeps new secrets for the one page that shows them: for five minutes, one browser and one user."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def keep(
        self,
        request: Request,
        response: Response,
        subject: str,
        target_id: str,
        secret: str,
        previous_expires_at: str = "",
    ) -> None:
        """Keep the new secret of a key or client for a user; `response` takes the cookie that opens it.

        A secret that this browser was shown is not kept again: a form that is sent once more, from a page in the
        history, gets the same secret again, and must not show it.
        """
        if request.cookies.get(_shown_cookie(target_id)) == _mark(secret):
            return
        content = {"target_id": target_id, "secret": secret, "previous_expires_at": previous_expires_at}
        value = await self._sessions.open(_KIND, subject, content, _LIFETIME)
        set_cookie(response, _cookie(target_id), value, _LIFETIME)

    async def take(self, request: Request, subject: str, target_id: str) -> Revealed | None:
        """Return a secret that waits, and forget it: of any number who ask, one gets it. None when there is none.

        Asking ahead, as browsers do for pages that may be wanted, takes nothing.
        """
        if request.method != "GET" or "prefetch" in request.headers.get("sec-purpose", ""):
            return None
        value = request.cookies.get(_cookie(target_id))
        session = await self._sessions.find(_KIND, value)
        if session is None or session.subject != subject or session.content["target_id"] != target_id:
            return None
        if not await self._sessions.close(_KIND, value):
            return None
        return Revealed(secret=session.content["secret"], previous_expires_at=session.content["previous_expires_at"])

    def note_shown(self, response: Response, target_id: str, revealed: Revealed) -> None:
        """Let the browser drop the cookie, and remember for as long as forms can be sent again what it was shown."""
        drop_cookie(response, _cookie(target_id))
        set_cookie(response, _shown_cookie(target_id), _mark(revealed.secret), _REPEATABLE)


def _mark(secret: str) -> str:
    """Tell secrets of one key from one another, without saying anything of them."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def _cookie(target_id: str) -> str:
    """Name the cookie by what the secret is of, so that two tabs do not take it from one another."""
    return f"__Host-reveal-{target_id}"


def _shown_cookie(target_id: str) -> str:
    return f"__Host-shown-{target_id}"
