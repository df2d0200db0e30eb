"""Signing in and out with a browser: the pages, the cookies, and how guessing is slowed.

Where there is an upstream provider, it says who people are and no password is asked for here.
"""

import hashlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.authorization.metadata import AUTHORIZATION_PATH
from server.authorization.model import Destination, RefusedRequest, UntrustedRequest
from server.authorization.service import AuthorizationService
from server.authorization.upstream import Login, SignInFailed, UpstreamProvider
from server.errors import Error, RateLimited, Unauthenticated, Unavailable
from server.limits.model import Claim, Rate
from server.limits.service import Limiter
from server.pages.forms import read_form
from server.pages.languages import translatable
from server.pages.security import HOME, form_action_of, same_origin_path
from server.pages.site import Site
from server.sessions.service import LIFETIME, Session, SessionKind, Sessions
from server.users.service import UserService

SIGN_IN_PATH: Final = "/sign-in"
UPSTREAM_PATH: Final = "/sign-in/upstream"
CALLBACK_PATH: Final = "/sign-in/callback"
SIGN_OUT_PATH: Final = "/sign-out"

COOKIES: Final[Mapping[SessionKind, str]] = {
    "issuer": "__Host-signed-in",
    "portal": "__Host-portal",
    "portal-login": "__Host-portal-login",
    "upstream-login": "__Host-upstream-login",
}
"""The cookie of each kind of session."""

EndSession = Callable[[Session], Awaitable[None]]

_FAILURES = Rate(10, 15 * 60)
_NAME_FAILURES = Rate(100, 60 * 60)
_ADDRESS_FAILURES = Rate(50, 15 * 60)
_LOGIN_LIFETIME = timedelta(minutes=10)
_REFUSED = translatable("The user name or the password is not right.")
_INTERRUPTED = translatable("The sign-in was interrupted or took too long. Nothing is lost: start it again.")

_log = structlog.get_logger(__name__)


class SignInThrottle:
    """Counts failed sign-ins. Nothing but time makes them fewer.

    10 in 15 minutes for a name from one neighbourhood, so that a stranger's guesses do not keep its owner out; 100 in
    an hour for a name from everywhere, for those who guess from many places; 50 in 15 minutes for a neighbourhood.
    """

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def wait_seconds(self, username: str, address: str) -> float:
        """Return in how many seconds this name may be tried from this address; 0 for now."""
        decisions = [await self._limiter.peek([claim]) for claim in _claims(username, address)]
        return max(decision.retry_seconds for decision in decisions)

    async def count_failure(self, username: str, address: str) -> None:
        """Count a failure against the name, there and everywhere, and against the address."""
        for claim in _claims(username, address):  # one by one: their owners differ
            await self._limiter.take([claim])


class Account(NamedTuple):
    """Who is signed in: the subject of tokens, and a name for people to recognise."""

    subject: str
    name: str


class BrowserSessions:
    """Who is signed in with a browser, by its cookies."""

    def __init__(self, sessions: Sessions, users: UserService | None) -> None:
        """Take the sessions, and the users where their subjects are local ones."""
        self._sessions = sessions
        self._users = users

    async def find(self, request: Request) -> Account | None:
        """Return who is signed in at the issuer; a user who was disabled meanwhile is not."""
        session = await self._sessions.find("issuer", request.cookies.get(COOKIES["issuer"]))
        if session is None or (self._users is not None and not await self._users.is_active(session.subject)):
            return None
        return Account(session.subject, session.content["name"])

    async def sign_in(self, request: Request, response: Response, account: Account) -> Response:
        """Open a session under a new cookie, whatever the browser sent; an earlier one of the browser ends."""
        await self._sessions.close("issuer", request.cookies.get(COOKIES["issuer"]))
        await self.open(response, "issuer", account.subject, {"name": account.name}, LIFETIME)
        return response

    async def open(
        self,
        response: Response,
        kind: SessionKind,
        subject: str,
        content: Mapping[str, str],
        lifetime: timedelta = _LOGIN_LIFETIME,
    ) -> None:
        """Open a session and give its cookie to the browser with a response."""
        cookie = await self._sessions.open(kind, subject, content, lifetime)
        response.set_cookie(COOKIES[kind], cookie, path="/", secure=True, httponly=True, samesite="lax")

    async def current(self, request: Request, kind: SessionKind) -> Session | None:
        """Return the browser's session of a kind."""
        return await self._sessions.find(kind, request.cookies.get(COOKIES[kind]))

    async def close(self, request: Request, response: Response, *kinds: SessionKind) -> list[Session]:
        """End the browser's sessions of some kinds, take their cookies away, and return those that this call ended."""
        ended = []
        for kind in kinds:
            session = await self.current(request, kind)
            if await self._sessions.close(kind, request.cookies.get(COOKIES[kind])) and session is not None:
                ended.append(session)
            response.delete_cookie(COOKIES[kind], path="/", secure=True, httponly=True, samesite="lax")
        return ended


class SignInPages:
    """The pages before anyone is known, and the way out."""

    def __init__(
        self,
        site: Site,
        authorization: AuthorizationService,
        browsers: BrowserSessions,
        *,
        users: UserService | None,
        upstream: UpstreamProvider | None,
        end_portal_session: EndSession | None,
    ) -> None:
        self._site = site
        self._authorization = authorization
        self._browsers = browsers
        self._users = users
        self._upstream = upstream
        self._end_portal_session = end_portal_session

    def routes(self) -> list[Route]:
        """Return the routes of these pages."""
        routes = [
            Route(SIGN_IN_PATH, self.show, methods=["GET"]),
            Route(SIGN_OUT_PATH, self.sign_out, methods=["POST"]),
        ]
        if self._upstream is not None:
            routes.append(Route(UPSTREAM_PATH, self.leave, methods=["GET"]))
            routes.append(Route(CALLBACK_PATH, self.come_back, methods=["GET"]))
        else:
            routes.append(Route(SIGN_IN_PATH, self.sign_in, methods=["POST"]))
        return routes

    async def show(self, request: Request) -> Response:
        """Show the sign-in page; who is signed in goes on at once, unless asked to sign in `again`."""
        following = next_of(request.query_params.get("next", ""))
        again = request.query_params.get("again") == "1"
        if not again and await self._browsers.find(request) is not None:
            return self._site.redirect(request, following)
        return await self._page(request, following, again=again)

    async def sign_in(self, request: Request) -> Response:
        """Let a user in by a password."""
        form = await read_form(request)
        following, username = next_of(form.text("next")), form.text("username")
        assert self._users is not None  # noqa: S101 - tells the type checker: there is no such route otherwise
        try:
            user = await self._users.verify(username, form.text("password"), _address(request))
        except Unauthenticated:
            return await self._page(request, following, 400, username=username, fault=self._told(request, _REFUSED))
        except RateLimited as limited:
            return await self._wait_page(request, following, username, limited.retry_after)
        response = self._site.redirect(request, following)
        return await self._browsers.sign_in(request, response, Account(user.username, user.username))

    async def sign_out(self, request: Request) -> Response:
        """End what this browser is signed in to, here and in the portal."""
        form = await read_form(request)
        response = self._site.redirect(request, next_of(form.text("next")))
        await self._browsers.close(request, response, "issuer", "portal-login", "upstream-login")
        for session in await self._browsers.close(request, response, "portal"):
            if self._end_portal_session is not None:
                await self._give_up(session, self._end_portal_session)
        return response

    async def leave(self, request: Request) -> Response:
        """Send the browser to the upstream provider."""
        following = next_of(request.query_params.get("next", ""))
        again = request.query_params.get("again") == "1"
        assert self._upstream is not None  # noqa: S101 - as above
        try:
            login = await self._upstream.begin(again=again)
        except Unavailable:
            return await self._outage_page(request, following)
        response = see_other(login.url)
        content = {"state": login.state, "nonce": login.nonce, "verifier": login.verifier, "next": following}
        await self._browsers.open(response, "upstream-login", "", content)
        return response

    async def come_back(self, request: Request) -> Response:
        """Take the upstream provider's answer. An outage leaves everything as it was, so reloading is trying again."""
        waiting = await self._browsers.current(request, "upstream-login")
        assert self._upstream is not None  # noqa: S101 - as above
        if waiting is None:
            return await self._page(request, HOME, 400, fault=self._told(request, _INTERRUPTED))
        content = waiting.content
        login = Login(url="", state=content["state"], nonce=content["nonce"], verifier=content["verifier"])
        try:
            person = await self._upstream.finish(login, request.query_params.multi_items())
        except SignInFailed as failure:
            _log.info("upstream_sign_in_refused", reason=failure.reason)
            page = await self._page(request, content["next"], 400, fault=self._told(request, failure.sentence))
            if failure.is_over:
                await self._browsers.close(request, page, "upstream-login")
            return page
        except Unavailable:
            return await self._outage_page(request, content["next"], retry=f"{CALLBACK_PATH}?{request.url.query}")
        response = self._site.redirect(request, content["next"])
        if not await self._browsers.close(request, response, "upstream-login"):
            return await self._page(request, content["next"], 400, fault=self._told(request, _INTERRUPTED))
        return await self._browsers.sign_in(request, response, Account(person.subject, person.name))

    async def _page(
        self,
        request: Request,
        following: str,
        status: int = 200,
        *,
        again: bool = False,
        username: str = "",
        fault: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        client_name, address, form_action = await self._destination(following)
        query = urlencode([("next", following), *([("again", "1")] if again else [])])
        return self._site.render(
            request,
            "sign_in.html",
            status,
            headers,
            form_action,
            following=following,
            client_name=client_name,
            address=address,
            username=username,
            fault=fault,
            provider=self._upstream.host if self._upstream else "",
            provider_href=f"{UPSTREAM_PATH}?{query}",
        )

    async def _wait_page(self, request: Request, following: str, username: str, seconds: int) -> Response:
        minutes = math.ceil(seconds / 60)
        sentence = self._site.reader(request).ngettext(
            "There were too many attempts. Try again in %(num)s minute.",
            "There were too many attempts. Try again in %(num)s minutes.",
            minutes,
        )
        fault, headers = sentence % {"num": minutes}, {"retry-after": str(seconds)}
        return await self._page(request, following, 429, username=username, fault=fault, headers=headers)

    async def _outage_page(self, request: Request, following: str, retry: str = "") -> Response:
        assert self._upstream is not None  # noqa: S101 - as above
        return self._site.render(
            request,
            "provider_away.html",
            503,
            {"retry-after": "5"},
            provider=self._upstream.host,
            href=retry or f"{UPSTREAM_PATH}?{urlencode({'next': following})}",
        )

    async def _destination(self, following: str) -> tuple[str, str, Sequence[str]]:
        """Return for which client and address someone signs in, and where the form may lead besides our own pages.

        A browser holds the whole chain of redirects after a form against the page's `form-action`, and a client that
        gets its answer without a page is at the end of it.
        """
        path, _, query = following.partition("?")
        if path != AUTHORIZATION_PATH:
            return "", "", ()
        try:
            wanted = await self._authorization.check_request(parse_qsl(query, keep_blank_values=True))
        except UntrustedRequest:
            return "", "", ()
        except RefusedRequest as refused:
            return "", "", form_action(refused.url)
        name = "" if wanted.client.is_first_party else wanted.client.name
        return name, Destination.of(wanted.redirect_uri).address, form_action(wanted.redirect_uri)

    def _told(self, request: Request, sentence: str) -> str:
        return self._site.reader(request).gettext(sentence)

    async def _give_up(self, session: Session, end: EndSession) -> None:
        try:
            await end(session)
        except Error as fault:  # the browser is signed out all the same, and the tokens end by themselves
            _log.warning("portal_grant_not_ended", kind=fault.kind.value)


def next_of(text: str) -> str:
    """Return where to go after signing in or out: a request for consent, or a page of the portal; else its home."""
    path = unquote(urlsplit(same_origin_path(text)).path)
    is_plain = not {".", ".."}.intersection(path.split("/")) and "\\" not in path
    is_ours = path == AUTHORIZATION_PATH or path.startswith("/portal/") or path == "/portal"
    return text if text == same_origin_path(text) and is_plain and is_ours else HOME


def sign_in_url(following: str, *, again: bool = False) -> str:
    """Return the path of the sign-in page that leads on to `following`."""
    return f"{SIGN_IN_PATH}?{urlencode([('next', following), *([('again', '1')] if again else [])])}"


def see_other(url: str) -> Response:
    """Lead the browser to an address that has been checked, with a GET."""
    return Response(status_code=303, headers={"location": url})


def form_action(redirect_uri: str) -> Sequence[str]:
    """Return what a page's `form-action` must name so that the answer to its form may lead to a redirect URI."""
    try:
        return (form_action_of(redirect_uri),)
    except ValueError:
        return ()


def _claims(username: str, address: str) -> list[Claim]:
    name, place = _digest(username), _digest(_neighbourhood(address))
    return [
        Claim(b"sign-in:" + name + b":" + place, _FAILURES),
        Claim(b"sign-in-name:" + name, _NAME_FAILURES),
        Claim(b"sign-in-address:" + place, _ADDRESS_FAILURES),
    ]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32].encode()


def _neighbourhood(address: str) -> str:
    """Return what one caller has: an IPv4 address, or the 64 leading bits of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> 64)
    return str(parsed)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
