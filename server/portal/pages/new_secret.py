"""The page that shows a key's new secret, once."""

from starlette.responses import Response
from starlette.routing import Route

from server.portal.portal import Portal, Visit


def routes(portal: Portal) -> list[Route]:
    """Return the page's routes."""
    path = "/portal/keys/{key_id}/secret"
    return [portal.get(path, show_secret), portal.post(path, confirm_stored)]


async def show_secret(visit: Visit) -> Response:
    """Show the secret that waits, if this is the first look; else say that it was shown, and what to do without it."""
    key = await visit.calls.get_key(visit.path("key_id"))
    revealed = await visit.portal.reveals.take(visit.request, visit.signed_in.subject, key.id)
    response = visit.render("new_secret.html", active="keys", key=key, revealed=revealed)
    if revealed is not None:
        visit.portal.reveals.note_shown(response, key.id, revealed)
    return response


async def confirm_stored(visit: Visit) -> Response:
    """Go on to the key."""
    key = await visit.calls.get_key(visit.path("key_id"))
    return visit.redirect(f"/portal/keys/{key.id}")
