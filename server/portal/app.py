"""The portal's routes. The root puts them into the site's app and says who signs people in."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server.pages.site import Site
from server.portal.issuer import TokenIssuer
from server.portal.openapi_view import read_description
from server.portal.pages import (
    account,
    audit,
    client,
    clients,
    key,
    key_changes,
    keys,
    new_secret,
    overview,
    reference,
    register,
    statements,
    usage,
)
from server.portal.portal import HOME, Portal
from server.portal.reveal import Reveals
from server.portal.sign_in import SignIn, Verify
from server.portal.signed_in import PortalSessions
from server.rpc.in_process import InProcessCaller
from server.sessions.service import Sessions

TEMPLATES: Final = Path(__file__).parent / "templates"
"""For the site: the portal's templates, with translations beside them."""
ASSETS: Final = Path(__file__).parent / "static"
"""For the site: the portal's own style sheet."""

_PAGES: Final = (
    overview.routes,
    keys.routes,
    new_secret.routes,
    key_changes.routes,
    key.routes,
    clients.routes,
    usage.routes,
    statements.routes,
    register.routes,
    audit.routes,
    account.routes,
)


def portal_routes(
    site: Site,
    sessions: Sessions,
    caller: InProcessCaller,
    issuer: TokenIssuer,
    verify: Verify,
    public_url: str,
    openapi: bytes,
) -> list[BaseRoute]:
    """Return all routes of the portal, and `/`, which leads to it.

    `site` knows the folders `TEMPLATES` and `ASSETS`; `verify` is what judges the access tokens of our methods;
    `public_url` is how browsers reach us, without a slash at its end; `openapi` is the document of our REST API.
    """
    portal = Portal(
        site=site,
        sessions=PortalSessions(sessions, issuer),
        reveals=Reveals(sessions),
        caller=caller,
        public_url=public_url,
    )

    async def lead_home(request: Request) -> Response:
        return site.redirect(request, HOME)

    routes: list[BaseRoute] = [Route(path, lead_home, methods=["GET"]) for path in ("/", "/portal")]
    routes += SignIn(portal, sessions, issuer, verify).routes()
    for pages in _PAGES:
        routes += pages(portal)
    routes += client.routes(portal, can_try=bool(issuer.sign_out_path))
    routes += reference.routes(portal, read_description(openapi))
    return routes
