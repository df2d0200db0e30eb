"""The pages of the authorization server over a database, and the people and browsers in front of them."""

from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlencode

from argon2 import PasswordHasher

from server.authorization.model import RegisteredClient
from server.authorization.pages import TEMPLATES, authorization_routes
from server.authorization.sign_in import COOKIES, SignInThrottle
from server.authorization.upstream import UpstreamProvider
from server.limits.service import LocalLimiter
from server.pages.site import Site
from server.peppers import Peppers
from server.sessions.service import Session, Sessions
from server.users.passwords import Passwords
from server.users.service import UserService
from server.web.asgi import App
from tests.browser import Browser, Page
from tests.integration.authorization.flow import (
    CONFIDENTIAL,
    ISSUER,
    PORTAL,
    PUBLIC,
    Flow,
    authorization_parameters,
)
from tests.unit.limits.windows import Clock

PEPPERS: Final = Peppers({1: b"a pepper of sufficient length for it"})
PASSWORD: Final = "a good password"
PORTAL_REDIRECT: Final = f"{ISSUER}/portal/signed-in"
OUR_PORTAL: Final = replace(PORTAL, redirect_uris=(PORTAL_REDIRECT,))
CLIENTS: Final = (PUBLIC, CONFIDENTIAL, OUR_PORTAL)


def authorize_path(client: RegisteredClient = PUBLIC, **changes: str | None) -> str:
    """Return the address of a good request for consent, with some parameters changed or (None) left out."""
    return f"/v1/auth/authorize?{urlencode(authorization_parameters(client, **changes))}"


@dataclass(kw_only=True)
class Desk:
    """Where people sign in. `ended` are the portal sessions whose grants were to be ended."""

    flow: Flow
    upstream: UpstreamProvider | None = None
    clock: Clock = field(default_factory=Clock)
    ended: list[Session] = field(default_factory=list)
    sessions: Sessions = field(init=False)
    users: UserService = field(init=False)
    app: App = field(init=False)
    _browsers: list[Browser] = field(default_factory=list)

    def __post_init__(self) -> None:
        quick = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.sessions = Sessions(self.flow.database, PEPPERS)
        self.users = UserService(self.flow.database, quick, SignInThrottle(LocalLimiter(clock=self.clock)))
        self.flow.server._first_party = {OUR_PORTAL.id: OUR_PORTAL}
        site = Site([TEMPLATES], public_url=ISSUER, csrf_key=b"a key of sufficient length for it")
        self.app = site.app(
            authorization_routes(
                site,
                self.flow.server,
                self.sessions,
                users=self.users if self.upstream is None else None,
                upstream=self.upstream,
                end_portal_session=self._end,
            )
        )

    async def _end(self, session: Session) -> None:
        self.ended.append(session)

    def browser(self, *, language: str = "en", peer: str = "203.0.113.9") -> Browser:
        """Open a browser that nobody has used."""
        self._browsers.append(Browser(ISSUER, self.app, language=language, peer=peer))
        return self._browsers[-1]

    async def close(self) -> None:
        """Close the browsers, and the way to the provider."""
        for browser in self._browsers:
            await browser.close()
        if self.upstream is not None:
            await self.upstream.close()

    async def signed_in(self, username: str = "alice") -> Browser:
        """Open a browser and sign in a user, who is added if need be."""
        if not await self.users.is_active(username):
            await self.users.create(username, PASSWORD)
        browser = self.browser()
        await sign_in(browser, username)
        assert COOKIES["issuer"] in browser.cookies
        return browser

    async def grants(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return whose grants there are, for which client and with which scopes."""
        rows = await self.flow.database.fetch("SELECT subject, client_id, scopes FROM oauth_grants ORDER BY id")
        return [(row["subject"], row["client_id"], tuple(row["scopes"])) for row in rows]


async def sign_in(browser: Browser, username: str = "alice", password: str = PASSWORD, at: str = "/sign-in") -> Page:
    """Fill the sign-in form and send it."""
    return await browser.submit(await browser.open(at), "/sign-in", username=username, password=password)
