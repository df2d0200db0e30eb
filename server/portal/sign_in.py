"""Signing in to the portal and out of it: the client's side of an authorization code flow (RFC 6749, 7636, 9207)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Unauthenticated
from server.identity.principal import AccessToken
from server.pages.security import same_origin_path
from server.portal.cookies import drop_cookie, set_cookie
from server.portal.issuer import Endpoint, SignInEndedError, TokenIssuer
from server.portal.portal import HOME, SIGN_IN, SIGN_OUT, Portal
from server.portal.signed_in import COOKIE
from server.sessions.service import Sessions

SIGNED_IN: Final = "/portal/signed-in"

LOGIN_COOKIE: Final = "__Host-portal-login"
_LOGIN: Final = "portal-login/v1"
_LOGIN_LIFETIME: Final = timedelta(minutes=10)
_LONGEST_NEXT: Final = 2000
"""How long a path to go on with may be: it stands in a cookie, of which browsers keep 4,096 bytes."""

_log = structlog.get_logger(__name__)

Verify = Callable[[str], Awaitable[AccessToken]]
"""Says what an access token says. Raises Unauthenticated when our methods would not accept it."""


class SignIn:
    """The pages on the way in and out."""

    def __init__(self, portal: Portal, sessions: Sessions, issuer: TokenIssuer, verify: Verify) -> None:
        self._portal = portal
        self._login_seal = sessions.carried(_LOGIN)
        self._issuer = issuer
        self._verify = verify
        self._redirect_uri = f"{portal.public_url}{SIGNED_IN}"

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(SIGN_IN, self.begin, methods=["GET"]),
            Route(SIGNED_IN, self.complete, methods=["GET"]),
            Route(SIGN_OUT, self.end, methods=["POST"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Send the browser to the issuer, and have it carry what the issuer's answer must fit to: we keep nothing."""
        if request.method == "HEAD":
            return Response()
        endpoint = await self._issuer.endpoint()
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        content = {"state": state, "verifier": verifier, "next": _next(request)}
        response = Response(status_code=303, headers={"location": self._authorization_url(endpoint, state, verifier)})
        set_cookie(response, LOGIN_COOKIE, self._login_seal.seal(content, _LOGIN_LIFETIME), _LOGIN_LIFETIME)
        return response

    async def complete(self, request: Request) -> Response:
        """Take the issuer's answer: trade the code for tokens and begin a session, under a new id.

        Of two answers with one code the issuer refuses the second (RFC 6749 section 4.1.2), and a code for a verifier
        that is not its own (RFC 7636).
        """
        if request.method == "HEAD":
            return Response()
        login = self._login_seal.open(request.cookies.get(LOGIN_COOKIE, ""))
        if login is None or not await self._is_ours(request, login):
            return self._start_again(request)
        code = request.query_params.get("code", "")
        try:
            tokens = await self._issuer.exchange(code, login["verifier"], self._redirect_uri)
            subject = (await self._verify(tokens.access_token)).subject
        except (SignInEndedError, Unauthenticated):
            return self._start_again(request)
        await self._portal.sessions.close(request.cookies.get(COOKIE))
        cookie = await self._portal.sessions.open(subject, tokens)
        response = self._portal.site.redirect(request, login["next"])
        set_cookie(response, COOKIE, cookie)
        drop_cookie(response, LOGIN_COOKIE)
        return response

    async def end(self, request: Request) -> Response:
        """Sign out here, and then at the local issuer: else a click would sign in again without a question.

        The form goes on to the issuer as it is (307): it is one of our pages that sent it, for both.
        """
        await self._portal.sessions.close(request.cookies.get(COOKIE))
        if self._issuer.sign_out_path:
            response = Response(status_code=307, headers={"location": self._issuer.sign_out_path})
        else:
            response = self._portal.site.render(request, "signed_out.html")
        drop_cookie(response, COOKIE)
        return response

    async def _is_ours(self, request: Request, login: Mapping[str, Any]) -> bool:
        """Tell whether an answer belongs to our question and comes from our issuer (RFC 9207 section 2.4)."""
        parameters = request.query_params
        if any(len(parameters.getlist(name)) > 1 for name in ("code", "state", "iss", "error")):
            return False
        if not hmac.compare_digest(parameters.get("state", "").encode(), login["state"].encode()):
            return False
        issuer = parameters.get("iss")
        if issuer is None:
            is_from_issuer = not (await self._issuer.endpoint()).names_issuer
        else:
            is_from_issuer = issuer == self._issuer.issuer
        return is_from_issuer and "error" not in parameters and bool(parameters.get("code"))

    def _authorization_url(self, endpoint: Endpoint, state: str, verifier: str) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            **endpoint.parameters,
            "response_type": "code",
            "redirect_uri": self._redirect_uri,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint.url}{'&' if '?' in endpoint.url else '?'}{urlencode(parameters)}"

    def _start_again(self, request: Request) -> Response:
        """Say that the sign-in did not come to its end, whatever the reason, and offer a new beginning."""
        denied = request.query_params.get("error") == "access_denied"
        _log.info("portal_sign_in_ended", denied=denied)
        response = self._portal.site.render(request, "sign_in_failed.html", 400, denied=denied, sign_in=SIGN_IN)
        drop_cookie(response, LOGIN_COOKIE)
        return response


def _next(request: Request) -> str:
    """Return where to go afterwards: a page of the portal that is not part of signing in, else its first page."""
    wanted = same_origin_path(request.query_params.get("next", ""), HOME)
    is_straight = {".", ".."}.isdisjoint(unquote(wanted.partition("?")[0]).split("/"))
    is_page = wanted.startswith(HOME) and not wanted.startswith((SIGN_IN, SIGNED_IN, SIGN_OUT))
    return wanted if is_page and is_straight and len(wanted) <= _LONGEST_NEXT else HOME
