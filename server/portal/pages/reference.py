"""The reference of the API, made of our own OpenAPI document, with command lines that carry the reader's own key."""

from functools import partial
from typing import Final

from sdk.developer.v1.api_key_pb2 import API_KEY_STATUS_ACTIVE
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from server.portal.openapi_view import Description
from server.portal.portal import Portal, Visit

REFERENCE: Final = "/portal/reference"

_NO_KEY: Final = "ang_live_XXXXXXXX"
"""What stands for the prefix of a key while the reader has none."""


def routes(portal: Portal, description: Description) -> list[Route]:
    """Return the pages' routes."""
    return [
        portal.get(REFERENCE, partial(show, description=description)),
        portal.get(f"{REFERENCE}/{{service}}", partial(show_service, description=description)),
    ]


async def show(visit: Visit, *, description: Description) -> Response:
    """Show how to call the API, and which operations there are."""
    newest = (await visit.calls.list_keys(status=API_KEY_STATUS_ACTIVE)).api_keys[:1]
    return visit.render(
        "reference.html",
        active="reference",
        description=description,
        server=description.server or visit.portal.public_url,
        prefix=newest[0].key_prefix if newest else _NO_KEY,
        key=newest[0] if newest else None,
    )


async def show_service(visit: Visit, *, description: Description) -> Response:
    """Show one service's operations in full."""
    service = description.find(visit.path("service"))
    if service is None:
        raise HTTPException(404)
    return visit.render("reference_service.html", active="reference", service=service, services=description.services)
