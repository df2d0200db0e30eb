"""The portal's cookies: only for our own origin, only for its HTTP, and not sent along by other sites' posts."""

from datetime import timedelta

from starlette.responses import Response


def set_cookie(response: Response, name: str, value: str, lifetime: timedelta | None = None) -> None:
    """Give the browser a cookie; without a lifetime it is dropped when the browser is closed."""
    max_age = int(lifetime.total_seconds()) if lifetime else None
    response.set_cookie(name, value, max_age=max_age, path="/", secure=True, httponly=True, samesite="lax")


def drop_cookie(response: Response, name: str) -> None:
    """Take a cookie away; a browser heeds it only with the attributes of a `__Host-` cookie (RFC 6265bis)."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
