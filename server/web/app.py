"""The ASGI root: health, readiness, the OpenAPI document and the local issuer's keys at exact paths; the API elsewhere.

What is reported and served is handed in; the middle layers (`cors`, `guard`, `proxies`) each have their own module.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from server.errors import Kind
from server.web.answers import method_not_allowed
from server.web.asgi import JSON, App, Receive, Scope, Send, header_values, respond
from server.web.cors import Cors
from server.web.guard import Guard
from server.web.proxies import Network, TrustedProxies

Readiness = Callable[[], Mapping[str, bool]]

_READ_ONLY: Final = method_not_allowed("GET", "HEAD")


def web_app(
    api: App,
    *,
    ready: Readiness,
    openapi: Mapping[str, object] | bytes,
    jwks: Mapping[str, object] | bytes | None = None,
    site: App | None = None,
    site_paths: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
    trusted_proxies: Sequence[Network] = (),
) -> App:
    """Build the root of the public port: our pages at their exact paths, `site` at and below its own, else `api`.

    `ready` is asked at each `/readyz` and must not wait: it returns a snapshot, part → can serve. `jwks` is served only
    if given. CORS and proxy headers cost nothing when their lists are empty. Raises ValueError for a bad origin.
    """
    pages: dict[str, App] = {"/healthz": _healthz, "/readyz": ReadyPage(ready), "/openapi.json": Document(openapi)}
    if jwks is not None:
        pages["/.well-known/jwks.json"] = Document(jwks)
    root: App = Pages(pages, Branches(site, site_paths, api) if site else api)
    if trusted_proxies:
        root = TrustedProxies(root, trusted_proxies)
    root = Guard(root)
    return Cors(root, cors_origins) if cors_origins else root


class Pages:
    """Read-only pages at exact paths; every other path belongs to `otherwise`."""

    def __init__(self, pages: Mapping[str, App], otherwise: App) -> None:
        self._pages = dict(pages)
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a page answers GET and HEAD, anything else is 405."""
        page = self._pages.get(scope["path"])
        if page is None:
            await self._otherwise(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _READ_ONLY.send(scope, send)
        else:
            await page(scope, receive, send)


class Branches:
    """The pages for people, at and below some paths; every other path belongs to `otherwise`."""

    def __init__(self, site: App, paths: Sequence[str], otherwise: App) -> None:
        self._site = site
        self._exact = frozenset(paths)
        self._below = tuple(f"{path}/" for path in paths if path != "/")
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_page = scope["path"] in self._exact or scope["path"].startswith(self._below)
        await (self._site if is_page else self._otherwise)(scope, receive, send)


async def _healthz(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that the process lives: it could answer. Says nothing of what it depends on."""
    await respond(scope, send, 200, b'{"status":"ok"}', (JSON,))


class ReadyPage:
    """Whether this process can serve, part by part: 200 when all are ready, else 503 naming those that are not."""

    def __init__(self, ready: Readiness) -> None:
        self._ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from one snapshot of the parts."""
        checks = dict(self._ready())
        report: dict[str, object] = {"status": "ok", "checks": checks}
        if missing := sorted(part for part, is_ready in checks.items() if not is_ready):
            report["status"] = "unavailable"
            report["code"] = Kind.UNAVAILABLE.value
            report["message"] = f"Not ready: {', '.join(missing)}."
        await respond(scope, send, 503 if missing else 200, orjson.dumps(report), (JSON,))


class Document:
    """A JSON document that does not change while the process lives; clients may keep it for `max_age` seconds."""

    def __init__(self, content: Mapping[str, object] | bytes, *, max_age: int = 300) -> None:
        self._body = content if isinstance(content, bytes) else orjson.dumps(content)
        self._etag = b'"%s"' % hashlib.sha256(self._body).hexdigest()[:32].encode()
        self._validators = ((b"etag", self._etag), (b"cache-control", b"public, max-age=%d" % max_age))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the document, or 304 when the client already has it (RFC 9110 section 13.1.2)."""
        if self._is_known(header_values(scope, b"if-none-match")):
            await respond(scope, send, 304, b"", self._validators)
        else:
            await respond(scope, send, 200, self._body, (JSON, *self._validators))

    def _is_known(self, if_none_match: list[bytes]) -> bool:
        tags = [tag.strip().removeprefix(b"W/") for tag in b",".join(if_none_match).split(b",")]
        return self._etag in tags or tags == [b"*"]
