"""A site of one template, and a browser-like client that calls it in process."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from server.pages.forms import read_form
from server.pages.security import CSRF_COOKIE, PageSecurity
from server.pages.site import Site
from server.web.asgi import App

ORIGIN = "https://portal.test"
KEY = b"a key of the tests"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DRAWN = "c" * 43
"""The value of a CSRF cookie, as if an earlier page had set it."""


def site_of(folder: Path, template: str = "", *, public_url: str = ORIGIN) -> Site:
    """Make a site whose `page.html` is `template`."""
    templates = folder / "templates"
    templates.mkdir(exist_ok=True)
    (templates / "page.html").write_text(template)
    return Site([templates], public_url=public_url, csrf_key=KEY, now=lambda: NOW)


def app_of(site: Site, routes: Sequence[BaseRoute] = (), **context: Any) -> App:
    """Serve `page.html` with `context` at `/page`, and echo the form's `name` from there."""

    async def page(request: Request) -> Response:
        if request.method == "POST":
            return PlainTextResponse((await read_form(request)).text("name"))
        return site.render(request, "page.html", **context)

    return site.app([Route("/page", page, methods=["GET", "POST"]), *routes], exempt=("/token",))


def client_of(app: App, *, origin: str = ORIGIN, cookies: dict[str, str] | None = None) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=origin, cookies=cookies)


def signed_client(app: App) -> httpx2.AsyncClient:
    return client_of(app, cookies={CSRF_COOKIE: DRAWN})


def token_for(cookie: str) -> str:
    """Compute the form's half for a cookie with the middleware itself."""
    return PageSecurity(_nothing, ORIGIN, KEY).token(cookie)


async def _nothing(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("never called")
