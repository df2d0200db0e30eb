"""Forms as browsers send them: `application/x-www-form-urlencoded`, strict UTF-8, small, and untrusted.

A form that cannot be read raises Starlette's HTTPException with 400, 413 or 415, which the site shows as a page.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
LIMIT: Final = 64 * 1024
FIELD_LIMIT: Final = 500


class Form:
    """The fields of one form, in the order they were sent."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """Return the first value of a field, its line ends as line feeds; empty when it was not sent."""
        values = self._fields.get(name)
        return values[0] if values else ""

    def all(self, name: str) -> list[str]:
        """Return every value of a field, e.g. of checkboxes that share a name."""
        return list(self._fields.get(name, ()))

    def __contains__(self, name: str) -> bool:
        return name in self._fields


async def read_form(request: Request, limit: int = LIMIT) -> Form:
    """Read the form that a request carries, of at most `limit` bytes."""
    check_media_type(request.headers.getlist("content-type"))
    return parse_form(await read_body(request, limit))


def check_media_type(given: list[str]) -> None:
    """Check that the body is a form in UTF-8. Raises HTTPException with 415."""
    media_type, _, parameters = (given[0] if len(given) == 1 else "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != MEDIA_TYPE or charset not in ("", "utf-8"):
        raise HTTPException(415)


async def read_body(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes. Raises HTTPException with 413 before more than that is held."""
    if _declared_length(request) > limit:
        raise HTTPException(413)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise HTTPException(413)
    except ClientDisconnect:
        raise HTTPException(400) from None
    return bytes(body)


def parse_form(body: bytes) -> Form:
    """Parse the body of a form. Raises HTTPException with 400 for what is not UTF-8, has a NUL or too many fields."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELD_LIMIT, separator="&"
        )
    except ValueError:
        raise HTTPException(400) from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise HTTPException(400)
        fields.setdefault(name, []).append(value.replace("\r\n", "\n").replace("\r", "\n"))
    return Form(fields)


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
