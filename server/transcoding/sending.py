"""Whole responses on their way out: compressed when that pays and is asked for (RFC 9110 section 12.5.3)."""

import zlib

from server.transcoding.asgi import Send
from server.transcoding.errors import Reply

_VARY = (b"vary", b"accept-encoding")
_GZIPPED = (b"content-encoding", b"gzip")
_LEVEL = 1
"""The quickest: JSON shrinks to a fraction already, and the event loop waits meanwhile."""


def varying(reply: Reply) -> Reply:
    """Return a response that another client could have got compressed."""
    return reply._replace(headers=[*reply.headers, _VARY])


def compressed(reply: Reply) -> Reply:
    """Return the response with its body as gzip, unless an entity tag names exactly the bytes that it has."""
    if any(name == b"etag" and not value.startswith(b"W/") for name, value in reply.headers):
        return varying(reply)
    stream = zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)
    body = stream.compress(reply.body) + stream.flush()
    return reply._replace(headers=[*reply.headers, _VARY, _GZIPPED], body=body)


async def send_reply(send: Send, reply: Reply, *, without_body: bool) -> None:
    """Send a response; one to HEAD has the length of the body but not the body (RFC 9110 section 9.3.2)."""
    headers = list(reply.headers)
    if reply.status != 204:
        headers += ((b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if without_body else reply.body})
