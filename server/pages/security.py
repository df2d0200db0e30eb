"""The browser's defences: headers on every answer, and which requests may change something.

A change needs two proofs that our own page sent it: where the browser says it comes from, and a token that only our
pages can read (a double-submit cookie whose other half is its HMAC under our key).
"""

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response

from server.pages.forms import LIMIT, check_media_type, parse_form, read_body
from server.web.asgi import App, Message, Receive, Scope, Send

CSRF_COOKIE: Final = "__Host-csrf"
CSRF_FIELD: Final = "csrf_token"
CSRF_HEADER: Final = "x-csrf-token"
HOME: Final = "/portal/"

Refusal = Callable[[Request, int], Response]

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DRAWN: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(?::\d{1,5})?|https?:|[a-z][a-z0-9+.-]*:", re.ASCII)
_NEVER_NAMED: Final = frozenset({"javascript:", "data:", "blob:", "filesystem:", "about:", "file:"})
_FIXED: Final = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action {}; frame-ancestors 'none'; base-uri 'none'"
)


def same_origin_path(text: str, default: str = HOME) -> str:
    """Return `text` if it is a path on this site that every browser reads as one, else `default`.

    One slash at the beginning and not two, no backslash (browsers read it as a slash), printable ASCII only.
    """
    is_path = text.startswith("/") and not text.startswith("//") and len(text) <= 4000
    return text if is_path and all("!" <= letter <= "~" and letter != "\\" for letter in text) else default


def origin_of(url: str) -> str:
    """Return the origin of an http or https `url` as browsers write it: lower case, without the scheme's own port."""
    parts = urlsplit(url)
    own = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(own)}"


def form_action_of(redirect_uri: str) -> str:
    """Return the CSP source that lets a form's answer redirect to `redirect_uri`: its origin, or else its scheme.

    CSP has no way to write an IPv6 address, so `http://[::1]:4000/x` gives `http:`. Raises ValueError for a URI that
    cannot be named in a header.
    """
    parts = urlsplit(redirect_uri)
    named = f"{parts.scheme}:"
    if parts.scheme in ("http", "https") and "[" not in parts.netloc:
        named += f"//{parts.netloc.lower()}"
    return _checked_source(named)


class PageSecurity:
    """Put the headers on every answer of `app`, and let only our own pages send it anything but GET and HEAD.

    `public_url` is how browsers reach the site; its origin is the only one that may change anything. Paths in `exempt`
    are for programs, which have no cookies to abuse: they get the headers and skip the proofs. `refuse` makes the page
    for a refused request from its status. Puts `csrf_token` into the request's state, and reads `form_action` from it.
    """

    def __init__(
        self,
        app: App,
        public_url: str,
        csrf_key: bytes,
        *,
        exempt: Collection[str] = (),
        refuse: Refusal | None = None,
    ) -> None:
        self._app = app
        self._origin = origin_of(public_url)
        self._key = csrf_key
        self._exempt = frozenset(exempt)
        self._refuse = refuse or _plain_refusal
        self._hsts = self._origin.startswith("https:")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it with 403 (or 400, 413, 415 for a body that is no form)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = HTTPConnection(scope).cookies.get(CSRF_COOKIE, "")
        cookie = known if _DRAWN.fullmatch(known) else secrets.token_urlsafe(32)
        token = self.token(cookie)
        state: dict[str, Any] = {**scope.get("state", {}), "csrf_token": token, "form_action": ()}
        scope = {**scope, "state": state}
        secured = self._secured(send, state, None if cookie == known else cookie)
        await self._serve(scope, receive, secured, token if cookie == known else None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, token: str | None) -> None:
        if scope["method"] in _SAFE_METHODS or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            receive = await self._proved(request, token)
        except HTTPException as refused:
            await self._refuse(request, refused.status_code)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _proved(self, request: Request, token: str | None) -> Receive:
        """Check both proofs and return how to receive the body again. Raises HTTPException with its status."""
        if token is None or not self._is_ours(request):
            raise HTTPException(403)
        given = request.headers.getlist(CSRF_HEADER)
        if given:
            self._compare(given[0] if len(given) == 1 else "", token)
            return request.receive
        check_media_type(request.headers.getlist("content-type"))
        body = await read_body(request, LIMIT)
        self._compare(parse_form(body).text(CSRF_FIELD), token)
        return _again(body, request.receive)

    def _is_ours(self, request: Request) -> bool:
        """Tell whether the browser says that one of our pages sent this.

        Our pages send no referrer, for which browsers write `Origin: null` on their forms (Fetch, "append a request
        Origin header"); so a missing and a null origin both leave the word to Sec-Fetch-Site, which no page can set.
        """
        origins = request.headers.getlist("origin")
        if origins in ([], ["null"]):
            return request.headers.getlist("sec-fetch-site") == ["same-origin"]
        return origins == [self._origin]

    def _compare(self, given: str, token: str) -> None:
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise HTTPException(403)

    def token(self, cookie: str) -> str:
        """Compute the half of the proof that forms carry from the half in the cookie."""
        return hmac.digest(self._key, cookie.encode(), "sha256").hex()

    def _secured(self, send: Send, state: dict[str, Any], cookie: str | None) -> Send:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ())]
                self._add_headers(MutableHeaders(raw=message["headers"]), state, cookie)
            await send(message)

        return send_secured

    def _add_headers(self, headers: MutableHeaders, state: dict[str, Any], cookie: str | None) -> None:
        headers["content-security-policy"] = _CSP.format(" ".join(("'self'", *state["form_action"])))
        for name, value in _FIXED:
            headers[name] = value
        if self._hsts:
            headers["strict-transport-security"] = "max-age=63072000"
        headers.setdefault("cache-control", "no-store")
        if cookie is not None and headers.get("content-type", "").startswith("text/html"):
            headers.append("set-cookie", f"{CSRF_COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Lax")


def allow_form_action(request: Request, sources: Sequence[str]) -> None:
    """Let forms on the page that answers `request` lead to `sources` too (origins or schemes). Raises ValueError."""
    request.state.form_action = tuple(_checked_source(source) for source in sources)


def _checked_source(source: str) -> str:
    if not _ORIGIN.fullmatch(source) or source in _NEVER_NAMED:
        raise ValueError("not an origin or scheme that a form may lead to")
    return source


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already to whoever reads next, then what follows it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    def receive_again() -> Awaitable[Message]:
        return _ready(waiting.pop()) if waiting else receive()

    return receive_again


async def _ready(message: Message) -> Message:
    return message


def _plain_refusal(_request: Request, status: int) -> Response:
    return PlainTextResponse("This form was not accepted. Reload the page and send it again.", status)
