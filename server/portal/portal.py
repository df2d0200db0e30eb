"""What the portal's pages share, and how a request becomes a visit of a signed-in developer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.errors import Kind
from server.pages.forms import Form, read_form
from server.pages.languages import translatable
from server.pages.reader import Reader
from server.pages.site import Site
from server.portal.calls import Calls
from server.portal.cookies import drop_cookie
from server.portal.reveal import Reveals
from server.portal.signed_in import COOKIE, PortalSessions, SignedIn
from server.rpc.in_process import CallFailed, InProcessCaller
from server.transcoding.headers import peer_of

HOME = "/portal/"
SIGN_IN = "/portal/sign-in"
SIGN_OUT = "/portal/sign-out"
REGISTER = "/portal/register"

_NAVIGATION = (
    ("overview", translatable("Overview"), HOME),
    ("keys", translatable("API keys"), "/portal/keys"),
    ("clients", translatable("OAuth clients"), "/portal/clients"),
    ("usage", translatable("Usage & billing"), "/portal/usage"),
    ("audit", translatable("Audit log"), "/portal/audit"),
    ("account", translatable("Account"), "/portal/account"),
    ("reference", translatable("API reference"), "/portal/reference"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of somebody who is signed in."""

    portal: "Portal"
    request: Request
    signed_in: SignedIn
    calls: Calls

    @property
    def reader(self) -> Reader:
        """How the page is wanted: its language and time zone."""
        return self.portal.site.reader(self.request)

    @property
    def is_refresh(self) -> bool:
        """Whether our JavaScript asks for the live regions of a page that is open, not for all of it."""
        return self.request.headers.get("x-refresh") == "1"

    def path(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """Return a parameter behind the path, empty when it is not there."""
        return self.request.query_params.get(name, "")

    @property
    def now(self) -> datetime:
        """The time, for what pages compute by themselves."""
        return self.portal.now()

    async def form(self) -> Form:
        """Read the form that was sent."""
        return await read_form(self.request)

    def render(
        self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
    ) -> Response:
        """Answer with a page of the portal. `context` says at least which entry of the navigation is `active`."""
        shell: dict[str, Any] = {"nav": navigation(self.reader), "user": self.signed_in.name or self.signed_in.subject}
        site = self.portal.site
        return site.render(self.request, template, status, headers, **shell, sign_out=SIGN_OUT, **context)

    def faults(self, failed: CallFailed) -> dict[str, str]:
        """Return what is wrong with a form as `faults_by_field`, in the reader's language."""
        return {field: self.reader.told(fault) for field, fault in faults_by_field(failed).items()}

    def redirect(self, path: str) -> Response:
        """Send the browser to another page of ours (303)."""
        return self.portal.site.redirect(self.request, path)


Page = Callable[[Visit], Awaitable[Response]]


class Portal:
    """Makes routes of pages: nobody sees one who is not signed in, and what fails becomes a page that says so."""

    def __init__(
        self,
        *,
        site: Site,
        sessions: PortalSessions,
        reveals: Reveals,
        caller: InProcessCaller,
        public_url: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.site = site
        self.now = now
        self.sessions = sessions
        self.reveals = reveals
        self.public_url = public_url
        self._caller = caller

    def get(self, path: str, page: Page, *, registered: bool = True) -> Route:
        """Serve a page. `registered`: only to users who have registered as developers; others are sent to do so."""
        return Route(path, self._endpoint(page, registered=registered), methods=["GET"])

    def post(self, path: str, page: Page, *, registered: bool = True) -> Route:
        """Take a form. The site has checked by then that one of our pages sent it."""
        return Route(path, self._endpoint(page, registered=registered), methods=["POST"])

    def calls(self, request: Request, token: str) -> Calls:
        """Return the methods, to be called with a token for the browser that asks."""
        return Calls(self._caller, token, peer_of(request.client))

    def _endpoint(self, page: Page, *, registered: bool) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            signed_in = await self.sessions.find(request.cookies.get(COOKIE))
            if signed_in is None:
                return self._not_signed_in(request)
            visit = Visit(
                portal=self, request=request, signed_in=signed_in, calls=self.calls(request, signed_in.access_token)
            )
            try:
                if registered and not signed_in.name:
                    name = await self.learn_name(visit)
                    if not name:
                        return self.redirect_with_next(request, REGISTER)
                    visit = replace(visit, signed_in=replace(signed_in, name=name))
                return await page(visit)
            except CallFailed as failed:
                return await self._failed(visit, failed)

        return serve

    async def learn_name(self, visit: Visit) -> str:
        """Ask what the developer is called and keep it; empty when the user has not registered."""
        developer = await visit.calls.get_developer()
        if developer.display_name:
            await self.sessions.note_name(visit.signed_in.cookie, developer.display_name)
        return developer.display_name

    def redirect_with_next(self, request: Request, path: str) -> Response:
        """Send the browser to a page that leads back to the one that was asked for."""
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = f"?{urlencode({'next': asked})}" if request.method in ("GET", "HEAD") and asked != HOME else ""
        return self.site.redirect(request, path + query)

    def _not_signed_in(self, request: Request) -> Response:
        """Send to sign in. A form's sender is told first: what was sent is lost, and must not seem to be done."""
        if request.method != "POST":
            return self.redirect_with_next(request, SIGN_IN)
        response = self.site.error(request, 401)
        drop_cookie(response, COOKIE)
        return response

    async def _failed(self, visit: Visit, failed: CallFailed) -> Response:
        """Turn an error that a page did not expect into a page."""
        if failed.kind is Kind.UNAUTHENTICATED:
            await self.sessions.close(visit.signed_in.cookie)
            return self._not_signed_in(visit.request)
        if failed.kind is Kind.PERMISSION_DENIED and (failed.metadata or {}).get("reason") == "not_registered":
            return self.redirect_with_next(visit.request, REGISTER)
        if failed.kind is Kind.NOT_FOUND:
            return self.site.error(visit.request, 404)  # its page says all that the sentence does
        return self.site.failure(visit.request, failed)


def navigation(reader: Reader) -> list[tuple[str, str, str]]:
    """Return the entries of the navigation: key, label, path."""
    return [(key, reader.gettext(label), path) for key, label, path in _NAVIGATION]


def faults_by_field(failed: CallFailed) -> dict[str, str]:
    """Return what is wrong with each field of a form, by the field's name; raise on what is not about fields.

    `scopes[0]` counts as `scopes`; the first fault of a field is told. A conflict is told under the empty name.
    """
    if failed.kind is Kind.CONFLICT:
        return {"": failed.message}
    if failed.kind is not Kind.INVALID_REQUEST or not failed.violations:
        raise failed
    faults: dict[str, str] = {}
    for violation in failed.violations:
        faults.setdefault(violation.field.partition("[")[0], violation.description)
    return faults
