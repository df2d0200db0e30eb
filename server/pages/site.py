"""The site: renders templates for a reader, redirects within itself, and answers faults with pages.

Everything a request brings is untrusted; templates escape it by themselves, and `user_text` isolates it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute

from server.errors import Error, Kind, Violation
from server.pages.assets import Assets
from server.pages.faults import fault_of
from server.pages.languages import read_languages
from server.pages.reader import THEMES, Choices, Reader, read_reader
from server.pages.rendering import rendering_for, template_environment
from server.pages.security import HOME, PageSecurity, allow_form_action, same_origin_path
from server.web.asgi import App

_HERE: Final = Path(__file__).parent
_STATUS: Final[Mapping[Kind, int]] = {
    Kind.INVALID_REQUEST: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.PERMISSION_DENIED: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.RATE_LIMITED: 429,
    Kind.OVERLOADED: 503,
    Kind.UNAVAILABLE: 503,
    Kind.UNIMPLEMENTED: 501,
}


class Failure(Protocol):
    """What failed, in the terms of `server.errors`: an `Error`, or a call that was answered with one.

    It may also have `violations` and `retry_after`, as those of some kinds have. What it says is English and public.
    """

    @property
    def kind(self) -> Kind:
        """Why it failed."""

    @property
    def message(self) -> str:
        """What to tell, if there are no violations."""


def _now() -> datetime:
    return datetime.now(UTC)


class Site:
    """Pages from the templates of some folders, on top of our own base templates.

    Beside a template folder `x/templates` lies its catalogue, `x/locales/<language>.po`. `assets` are folders of more
    files to serve. `csrf_key` makes the tokens of forms. `now` is replaced in tests only.
    """

    def __init__(
        self,
        template_folders: Sequence[Path],
        *,
        public_url: str,
        csrf_key: bytes,
        assets: Sequence[Path] = (),
        now: Callable[[], datetime] = _now,
    ) -> None:
        folders = [*template_folders, _HERE / "templates"]
        self._public_url = public_url
        self._csrf_key = csrf_key
        self._now = now
        self._assets = Assets([_HERE / "static", *assets])
        self._languages = read_languages(folder.parent / "locales" for folder in folders)
        self._templates = template_environment(folders)
        self._templates.globals["asset"] = self._assets.url
        self._templates.globals["languages"] = tuple(self._languages.values())

    def app(self, routes: Sequence[BaseRoute], *, exempt: Collection[str] = ()) -> App:
        """Build the ASGI app of `routes` and the assets, with error pages, choices and defences.

        Paths in `exempt` are for programs: they skip the proofs that our own page sent the request.
        """
        inner = Starlette(
            routes=[*routes, self._assets.route()],
            exception_handlers={HTTPException: self._http_fault, Error: self._domain_fault, Exception: self._failure},
        )
        inner.router.redirect_slashes = False
        return PageSecurity(Choices(inner), self._public_url, self._csrf_key, exempt=exempt, refuse=self._refuse)

    def prepare(self) -> None:
        """Compile every template, so that no reader waits for it. Raises jinja2's errors for one with a fault."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def reader(self, request: Request) -> Reader:
        """Return the reader of a request; with `reader.gettext("…")` handlers translate what they say."""
        reader: Reader | None = getattr(request.state, "reader", None)
        if reader is None:
            reader = request.state.reader = read_reader(request, self._languages)
        return reader

    def render(
        self,
        request: Request,
        template: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        form_action: Sequence[str] = (),
        **context: Any,
    ) -> Response:
        """Render a template with `context` for the request's reader.

        Forms on the page may lead to the sources in `form_action` too: see `form_action_of`. Raises jinja2's errors
        for a template or a variable that does not exist.
        """
        allow_form_action(request, form_action)
        reader = self.reader(request)
        with rendering_for(request, reader, self._now()):
            text = self._templates.get_template(template).render(_shared(request, reader), **context)
        return HTMLResponse(text, status, headers)

    def redirect(self, request: Request, path: str) -> Response:
        """Lead the browser to another page of ours with a GET (303); anything but such a path leads home."""
        return Response(status_code=303, headers={"location": same_origin_path(path)})

    def error(
        self,
        request: Request,
        status: int,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
    ) -> Response:
        """Render the page of a fault: what it means and what to do.

        `detail` is a public sentence to add, if any, in the reader's language, as those of the `violations` are.
        """
        said: dict[str, Any] = {"fault": fault_of(status), "detail": detail, "violations": violations}
        return self.render(request, "error.html", status, headers, status_code=status, **said)

    def failure(self, request: Request, failed: Failure) -> Response:
        """Render the page of an expected failure, with its sentences in the reader's language."""
        told, wait = self.reader(request).told, getattr(failed, "retry_after", None)
        violations = [Violation(field, told(fault)) for field, fault in getattr(failed, "violations", ())]
        return self.error(
            request,
            _STATUS.get(failed.kind, HTTPStatus.INTERNAL_SERVER_ERROR),
            "" if violations else told(failed.message),
            None if wait is None else {"retry-after": str(wait)},
            violations,
        )

    def _refuse(self, request: Request, status: int) -> Response:
        said: dict[str, Any] = {"fault": fault_of(status, refused_form=True), "detail": "", "violations": ()}
        return self.render(request, "error.html", status=status, status_code=status, **said)

    async def _http_fault(self, request: Request, fault: Any) -> Response:
        return self.error(request, fault.status_code, headers=fault.headers)

    async def _domain_fault(self, request: Request, fault: Any) -> Response:
        """Show an expected error that a handler let pass."""
        return self.failure(request, fault)

    async def _failure(self, request: Request, _fault: Exception) -> Response:
        """Answer what nobody expected; it is raised on, and logged where the server ends."""
        return self.error(request, HTTPStatus.INTERNAL_SERVER_ERROR)


def _shared(request: Request, reader: Reader) -> dict[str, object]:
    """Make what every template may use without being given it."""
    return {
        "request_path": request.url.path,
        "lang": reader.language.code,
        "dir": reader.language.direction,
        "theme": reader.theme,
        "themes": THEMES,
        "zone": reader.zone.key,
        "home": HOME,
        "reloadable": request.method == "GET",
    }
