"""The authorization endpoint in a browser: who is asked, what is asked, and what becomes of the answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.authorization.metadata import AUTHORIZATION_PATH
from server.authorization.model import AuthorizationRequest, Destination, RefusedRequest, UntrustedRequest
from server.authorization.service import AuthorizationService
from server.authorization.sign_in import (
    Account,
    BrowserSessions,
    EndSession,
    SignInPages,
    form_action,
    next_of,
    see_other,
    sign_in_url,
)
from server.authorization.upstream import UpstreamProvider
from server.pages.forms import Form, read_form
from server.pages.languages import translatable
from server.pages.site import Site
from server.sessions.service import Sessions
from server.users.service import UserService

TEMPLATES: Final = Path(__file__).with_name("templates")
"""The folder of these pages' templates, for the site."""

_PARAMETERS = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "prompt",
)
_SCOPE_WORDS = {
    "read": (
        translatable("Browse the catalogue and see your library"),
        translatable("It can look at them, and change nothing."),
    ),
    "stream": (
        translatable("Play music and video as you"),
        translatable("Streams that it starts are yours, as if you had started them."),
    ),
}
_NOTHING_CHOSEN = translatable("Tick at least one box, or choose “Deny”.")
_OTHER_ACCOUNT = translatable("Someone else has signed in with this browser meanwhile. Look at the page again.")


def authorization_routes(
    site: Site,
    authorization: AuthorizationService,
    sessions: Sessions,
    *,
    users: UserService | None,
    upstream: UpstreamProvider | None = None,
    end_portal_session: EndSession | None = None,
) -> list[Route]:
    """Return the routes of the authorization endpoint and of signing in and out.

    People are `users`, or those whom `upstream` knows: one of the two. `end_portal_session` is given a portal session
    that was signed out of, to end its grant. The site must have been given `TEMPLATES`. Raises ValueError for neither.
    """
    if users is None and upstream is None:
        raise ValueError("somebody must know who people are")
    browsers = BrowserSessions(sessions, users if upstream is None else None)
    sign_in = SignInPages(
        site, authorization, browsers, users=users, upstream=upstream, end_portal_session=end_portal_session
    )
    consent = ConsentPages(site, authorization, browsers)
    return [*consent.routes(), *sign_in.routes()]


class ConsentPages:
    """The page on which users allow an application what it asks for, some of it, or nothing."""

    def __init__(self, site: Site, authorization: AuthorizationService, browsers: BrowserSessions) -> None:
        self._site = site
        self._authorization = authorization
        self._browsers = browsers

    def routes(self) -> list[Route]:
        """Return the routes of the authorization endpoint."""
        return [
            Route(AUTHORIZATION_PATH, self.ask, methods=["GET"]),
            Route(AUTHORIZATION_PATH, self.answer, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Ask the user, whatever was allowed before; only clients of our own have their answer at once.

        An earlier consent may have been revoked since, and was given to whatever name and redirect URIs the client had.
        """
        checked = await self._check(request, request.query_params.multi_items())
        if isinstance(checked, Response):
            return checked
        account = await self._browsers.find(request)
        if account is None or "login" in checked.prompts:
            return self._to_sign_in(request, checked, is_known=account is not None)
        if checked.client.is_first_party:
            return see_other(await self._authorization.approve(checked, account.subject, checked.scopes))
        if "none" in checked.prompts:
            return see_other(self._authorization.deny(checked, "consent_required"))
        known = await self._authorization.consented(account.subject, checked.client.id)
        return self._page(request, checked, account, known)

    async def answer(self, request: Request) -> Response:
        """Take the user's answer. Nothing in the form is believed: the request is checked as if it came anew."""
        form = await read_form(request)
        checked = await self._check(request, [(name, value) for name in _PARAMETERS for value in form.all(name)])
        if isinstance(checked, Response):
            return checked
        account = await self._browsers.find(request)
        if account is None:
            return self._to_sign_in(request, checked, is_known=False)
        if form.text("account") != account.subject:
            known = await self._authorization.consented(account.subject, checked.client.id)
            return self._page(request, checked, account, known, status=409, fault=_OTHER_ACCOUNT)
        return await self._decided(request, checked, account, form)

    async def _decided(self, request: Request, checked: AuthorizationRequest, account: Account, form: Form) -> Response:
        decision, allowed = form.text("decision"), form.all("allowed")
        if decision == "deny":
            return see_other(self._authorization.deny(checked))
        if decision != "allow":
            raise HTTPException(400)
        if not allowed:
            known = await self._authorization.consented(account.subject, checked.client.id)
            return self._page(request, checked, account, known, status=400, fault=_NOTHING_CHOSEN, ticked=())
        return see_other(await self._authorization.approve(checked, account.subject, allowed))

    async def _check(self, request: Request, parameters: Sequence[tuple[str, str]]) -> AuthorizationRequest | Response:
        """Return the request, or the answer to one that is not as it must be."""
        try:
            return await self._authorization.check_request(parameters)
        except UntrustedRequest as untrusted:
            violation = untrusted.violations[0]
            return self._site.render(
                request, "request_refused.html", 400, parameter=violation.field, description=violation.description
            )
        except RefusedRequest as refused:
            if refused.is_silent or await self._browsers.find(request):
                return see_other(refused.url)
            # Whoever registers a client chooses its address: ours must not lead strangers there.
            return self._sign_in_first(request, f"{AUTHORIZATION_PATH}?{urlencode(parameters)}", is_known=False)

    def _to_sign_in(self, request: Request, checked: AuthorizationRequest, *, is_known: bool) -> Response:
        """Send the user to sign in and then back here, as one who has just done so."""
        if "none" in checked.prompts:
            return see_other(self._authorization.deny(checked, "login_required"))
        return self._sign_in_first(request, _address(checked, without="login"), is_known=is_known)

    def _sign_in_first(self, request: Request, back: str, *, is_known: bool) -> Response:
        """Send the user to sign in and then to `back`, the request."""
        if next_of(back) != back:
            return self._site.error(request, 400, self._site.reader(request).gettext(_TOO_LONG))
        return see_other(sign_in_url(back, again=is_known))

    def _page(
        self,
        request: Request,
        checked: AuthorizationRequest,
        account: Account,
        known: Sequence[str],
        *,
        status: int = 200,
        fault: str = "",
        ticked: Sequence[str] | None = None,
    ) -> Response:
        return self._site.render(
            request,
            "consent.html",
            status,
            None,
            form_action(checked.redirect_uri),
            client=checked.client,
            account=account,
            parameters=checked.parameters(),
            back=_address(checked),
            scopes=[(scope, *_SCOPE_WORDS.get(scope, (scope, ""))) for scope in checked.scopes],
            ticked=checked.scopes if ticked is None else ticked,
            known=known,
            destination=Destination.of(checked.redirect_uri),
            fault=fault,
        )


_TOO_LONG = translatable("The application's request is too long to be kept while you sign in.")


def _address(checked: AuthorizationRequest, *, without: str = "") -> str:
    """Write a request as the address that makes it, `without` one of its prompts."""
    prompts = " ".join(sorted(checked.prompts - {without}))
    pairs = [pair for pair in checked.parameters() if pair[0] != "prompt"]
    return f"{AUTHORIZATION_PATH}?{urlencode([*pairs, *([('prompt', prompts)] if prompts else [])])}"
