"""Who reads a page, as far as it changes the page's form: language, time zone, colour theme. All of it untrusted.

The choices are cookies. `?lang=` and `?theme=` on any page set them and lead back to the same page without them.
"""

import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import parse_qs, unquote_plus
from zoneinfo import ZoneInfo

from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.pages.languages import NAMES, Language, choose_language
from server.web.asgi import App, Receive, Scope, Send

THEMES: Final = ("auto", "light", "dark")
CHOICES: Final[Mapping[str, frozenset[str]]] = {"lang": frozenset(NAMES), "theme": frozenset(THEMES)}
UTC: Final = ZoneInfo("UTC")

_YEAR: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How one reader wants pages."""

    language: Language
    zone: ZoneInfo
    theme: str

    def gettext(self, message: str) -> str:
        """Translate a message id."""
        return str(self.language.translations.gettext(message))

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """Translate a message id that counts; the language chooses its plural by `number`."""
        return str(self.language.translations.ngettext(singular, plural, number))

    def told(self, sentence: str) -> str:
        """Translate what a service said, whatever values it filled in."""
        sentences = self.language.sentences
        return sentence if sentences is None else sentences.translate(sentence)


def read_reader(request: HTTPConnection, languages: Mapping[str, Language]) -> Reader:
    """Read the choices of a request; whatever is missing or unknown takes its default."""
    cookies = request.cookies
    theme = cookies.get("theme", "")
    code = choose_language(cookies.get("lang"), request.headers.get("accept-language", ""))
    return Reader(
        language=languages[code],
        zone=_zone(cookies.get("tz", "")),
        theme=theme if theme in THEMES else THEMES[0],
    )


def without_choices(query: str) -> str:
    """Return a raw query string without the parameters that are choices; the rest stays to the letter."""
    kept = [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) not in CHOICES]
    return "&".join(kept)


class Choices:
    """Answer `?lang=` and `?theme=` of a GET before `app` sees them: set the cookies, go back without them."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a value that is no choice is dropped from the address as well."""
        chosen = _chosen(scope) if scope["type"] == "http" and scope["method"] == "GET" else None
        if chosen is None:
            await self._app(scope, receive, send)
            return
        query = without_choices(scope["query_string"].decode("ascii", "replace"))
        response = Response(status_code=303, headers={"location": _own_path(scope) + (f"?{query}" if query else "")})
        for name, value in chosen.items():
            response.set_cookie(name, value, max_age=_YEAR, secure=True, httponly=True, samesite="lax")
        await response(scope, receive, send)


def _chosen(scope: Scope) -> dict[str, str] | None:
    """Return the choices in the query, None when there is none at all."""
    raw: bytes = scope["query_string"]
    if b"lang=" not in raw and b"theme=" not in raw:
        return None
    try:
        given = parse_qs(raw.decode("ascii", "replace"), max_num_fields=100)
    except ValueError:
        return None
    named = {name: given[name][-1] for name in CHOICES if name in given}
    return {name: value for name, value in named.items() if value in CHOICES[name]} if named else None


def _own_path(scope: Scope) -> str:
    """Return the path as it was sent, with one slash in front: two would name another host."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    sent = raw.partition(b"?")[0].decode("ascii", "replace")
    return "/" + "".join(letter for letter in sent if "!" <= letter <= "~" and letter != "\\").lstrip("/")


@cache
def _zones() -> Mapping[str, ZoneInfo]:
    return {name: ZoneInfo(name) for name in zoneinfo.available_timezones()}


def _zone(name: str) -> ZoneInfo:
    return _zones().get(name, UTC) if name else UTC
