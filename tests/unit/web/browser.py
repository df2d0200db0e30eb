"""A client that calls an ASGI app in process, and the smallest app to call."""

import httpx2

from server.web.asgi import App, Receive, Scope, Send, respond


def client_of(app: App, *, peer: str = "203.0.113.9") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app, client=(peer, 4711))
    return httpx2.AsyncClient(transport=transport, base_url="http://api.test")


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Say who called, through which scheme."""
    await respond(scope, send, 200, f"{scope['scheme']} {scope['client'][0]}".encode())


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("the password is hunter2")
