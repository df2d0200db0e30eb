"""The pages for people, and what is mounted beside them: tokens over forms, metadata, reports of leaks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

import orjson
from pydantic import SecretStr
from starlette.routing import BaseRoute, Route

from server.authorization.endpoints import revocation_endpoint, token_endpoint
from server.authorization.metadata import METADATA_PATH, REVOCATION_PATH, TOKEN_PATH, metadata
from server.authorization.model import ClientCredentials
from server.authorization.pages import TEMPLATES as AUTHORIZATION_TEMPLATES
from server.authorization.pages import authorization_routes
from server.authorization.service import AuthorizationService
from server.authorization.sign_in import CALLBACK_PATH, SignInThrottle
from server.authorization.throttle import AddressLimit
from server.authorization.upstream import UpstreamProvider
from server.config import Settings
from server.engine import Engine
from server.leaks.endpoint import PATH as LEAK_REPORTS
from server.leaks.endpoint import leak_routes
from server.leaks.model import Policy
from server.leaks.service import LeakReports
from server.leaks.signatures import ReporterKeys
from server.pages.site import Site
from server.peppers import Peppers
from server.portal.app import ASSETS as PORTAL_ASSETS
from server.portal.app import TEMPLATES as PORTAL_TEMPLATES
from server.portal.app import portal_routes
from server.portal.issuer import PORTAL_CLIENT, LocalTokens, TokenIssuer
from server.portal.remote_issuer import RemoteTokens
from server.portal.sign_in import Verify
from server.rpc.in_process import InProcessCaller
from server.secret import Secret
from server.sessions.service import Session, Sessions
from server.users.passwords import Passwords
from server.users.service import UserService
from server.web.app import Document
from server.web.asgi import App

_SWEPT_AT_ONCE: Final = 1000
_PAGES: Final = ("/", "/portal", "/assets")
_SIGNING_IN: Final = ("/sign-in", "/sign-out", "/v1/auth/authorize", TOKEN_PATH, REVOCATION_PATH, METADATA_PATH)
_FOR_PROGRAMS: Final = (TOKEN_PATH, REVOCATION_PATH, LEAK_REPORTS)
"""Paths that no browser sends forms to."""


class Website(NamedTuple):
    """The pages, the paths at and below which they are, and the sessions of those who use them."""

    app: App
    paths: tuple[str, ...]
    sessions: Sessions


class SignOn(NamedTuple):
    """Who signs people in: the local authorization server, with its users or a provider upstream."""

    authorization: AuthorizationService
    users: UserService | None
    upstream: UpstreamProvider | None


class Surroundings(NamedTuple):
    """What pages stand on besides the engine. `authorization` is None with an external issuer.

    `openapi` is the document that describes this installation's REST API.
    """

    authorization: AuthorizationService | None
    caller: InProcessCaller
    verify: Verify
    public_url: str
    openapi: bytes


@asynccontextmanager
async def open_website(
    settings: Settings, engine: Engine, peppers: Peppers, surroundings: Surroundings
) -> AsyncIterator[Website]:
    """Build the pages that this installation has; on leaving, close what they fetch with.

    Raises:
        PrivateFileError: the file of the development account cannot be used.
    """
    authorization, caller, verify, public_url, openapi = surroundings
    async with AsyncExitStack() as stack:
        site = Site(
            [PORTAL_TEMPLATES, AUTHORIZATION_TEMPLATES],
            public_url=public_url,
            csrf_key=peppers.derive("csrf/v1", peppers.current) or b"",
            assets=[PORTAL_ASSETS],
        )
        site.prepare()
        sessions = Sessions(engine.databases.main, peppers)
        routes: list[BaseRoute] = []
        paths: list[str] = []
        if authorization is not None:
            sign_on = await _open_sign_on(settings, engine, authorization, public_url, stack)
            routes += _sign_on_routes(site, sessions, sign_on, engine, public_url)
            paths += _SIGNING_IN
        issuer = await _open_token_issuer(settings, caller, public_url, stack)
        if issuer is not None:
            routes += portal_routes(site, sessions, caller, issuer, verify, public_url, openapi)
            paths += _PAGES
        if settings.leak_report_keys_url is not None:
            routes += _leak_routes(settings, engine, peppers, stack)
            paths.append(LEAK_REPORTS)
        yield Website(site.app(routes, exempt=_FOR_PROGRAMS), (*paths, "/assets"), sessions)


async def _open_sign_on(
    settings: Settings, engine: Engine, authorization: AuthorizationService, public_url: str, stack: AsyncExitStack
) -> SignOn:
    """Make who signs people in at the local issuer; a development installation gets an account to begin with."""
    if settings.upstream_issuer is not None:
        upstream = UpstreamProvider(
            issuer=settings.upstream_issuer,
            client_id=settings.upstream_client_id or "",
            client_secret=_secret(settings.upstream_client_secret),
            redirect_uri=f"{public_url}{CALLBACK_PATH}",
        )
        upstream.start()
        stack.push_async_callback(upstream.close)
        return SignOn(authorization, None, upstream)
    passwords = Passwords()
    stack.callback(passwords.close)
    users = UserService(engine.databases.main, passwords, SignInThrottle(engine.limiter))
    if not settings.is_production:
        await users.ensure_development_user(settings.data_dir)
    return SignOn(authorization, users, None)


def _sign_on_routes(
    site: Site, sessions: Sessions, sign_on: SignOn, engine: Engine, public_url: str
) -> list[BaseRoute]:
    limit = AddressLimit(engine.limiter)
    return [
        *authorization_routes(
            site,
            sign_on.authorization,
            sessions,
            users=sign_on.users,
            upstream=sign_on.upstream,
            end_portal_session=partial(_end_portal_session, sign_on.authorization),
        ),
        Route(TOKEN_PATH, token_endpoint(sign_on.authorization, limit, public_url)),
        Route(REVOCATION_PATH, revocation_endpoint(sign_on.authorization, limit, public_url)),
        Route(METADATA_PATH, Document(orjson.dumps(metadata(public_url)))),
    ]


async def _end_portal_session(authorization: AuthorizationService, session: Session) -> None:
    """End what the portal was given for somebody who signed out of the issuer."""
    refresh_token = session.content["refresh_token"]
    if refresh_token:
        await authorization.revoke(ClientCredentials(client_id=PORTAL_CLIENT), {"token": refresh_token})


async def _open_token_issuer(
    settings: Settings, caller: InProcessCaller, public_url: str, stack: AsyncExitStack
) -> TokenIssuer | None:
    """Make where the portal gets its tokens; None where it has no client at the configured issuer."""
    if settings.uses_local_issuer:
        return LocalTokens(caller, public_url)
    if settings.portal_client_id is None:
        return None
    remote = RemoteTokens(
        settings.oauth_issuer or "",
        settings.portal_client_id,
        _secret(settings.portal_client_secret),
        audience=settings.oauth_audience or "",
    )
    stack.push_async_callback(remote.close)
    return remote


def _leak_routes(settings: Settings, engine: Engine, peppers: Peppers, stack: AsyncExitStack) -> list[Route]:
    keys = ReporterKeys(settings.leak_report_keys_url or "")
    stack.push_async_callback(keys.close)
    reports = LeakReports(engine.databases.main, peppers, Policy(settings.leak_policy))
    return leak_routes(reports, keys)


def _secret(setting: SecretStr | None) -> Secret | None:
    return Secret(setting.get_secret_value()) if setting else None
