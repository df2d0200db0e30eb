"""What templates can call: translations, formats and forms' tokens, all for the reader of the page being rendered.

That reader is kept in a context variable, not in the template's context, so that imported macros know it too and can
be compiled and kept once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from starlette.requests import Request

from server.pages import formats
from server.pages.reader import Reader, without_choices


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendering:
    request: Request
    reader: Reader
    now: datetime


_RENDERING: Final[ContextVar[_Rendering]] = ContextVar("rendering")


@contextmanager
def rendering_for(request: Request, reader: Reader, now: datetime) -> Iterator[None]:
    """Let templates rendered inside work for this reader, at this time."""
    token = _RENDERING.set(_Rendering(request=request, reader=reader, now=now))
    try:
        yield
    finally:
        _RENDERING.reset(token)


def template_environment(folders: Sequence[Path]) -> Environment:
    """Make the environment of the templates in `folders`; of two with one name, the first folder's counts."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        bytecode_cache=_Compiled(),
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    translate: Any = environment
    translate.install_gettext_callables(_gettext, _ngettext, newstyle=True)
    environment.globals.update(csrf=_csrf, choice_href=_choice_href)
    environment.filters.update(
        datetime=lambda value, length="medium": formats.write_datetime(_reader(), value, length),
        date=lambda value, length="medium": formats.write_date(_reader(), value, length),
        month=lambda value: formats.write_month(_reader(), value),
        time_ago=lambda value: formats.write_time_ago(_reader(), value, _RENDERING.get().now),
        number=lambda value: formats.write_number(_reader(), value),
        percent=lambda value, places=0: formats.write_percent(_reader(), value, places),
        utc=formats.write_utc,
        told=lambda sentence: _reader().told(sentence),
    )
    return environment


def _reader() -> Reader:
    return _RENDERING.get().reader


def _gettext(message: str) -> str:
    return _reader().gettext(message)


def _ngettext(singular: str, plural: str, number: int) -> str:
    return _reader().ngettext(singular, plural, number)


def _csrf() -> str:
    return str(getattr(_RENDERING.get().request.state, "csrf_token", ""))


def _choice_href(name: str, value: str) -> str:
    """Return the link that makes a choice (`lang`, `theme`) and comes back to this page."""
    request = _RENDERING.get().request
    kept = without_choices(request.url.query) if request.method in ("GET", "HEAD") else ""
    return f"?{kept}&{name}={value}" if kept else f"?{name}={value}"


class _Compiled(BytecodeCache):
    """Compiled templates of this process: another site with the same templates need not compile them again."""

    _codes: Final[dict[tuple[str, str], CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template its code, if it was compiled from the same text."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code of a template."""
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code
