"""An HTTP client for an ASGI application, in process and without a server."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from server.transcoding.app import Transcoder


@dataclass(frozen=True, slots=True)
class Response:
    """A response as it went out; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    parts: tuple[bytes, ...] = ()
    whole: bool = True
    """Whether the response came to its end."""

    def json(self) -> Any:
        """Return the body's document."""
        return json.loads(self.body)


class Client:
    """Sends requests to one transcoder. `gone` disconnects the client after the body was sent."""

    def __init__(self, app: Transcoder) -> None:
        self._app = app

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | str | list[bytes] = b"",
        headers: list[tuple[str, str]] | None = None,
        *,
        gone: asyncio.Event | None = None,
        http_version: str = "1.1",
        state: dict[str, Any] | None = None,
    ) -> Response:
        """Send one request. A list of bytes is sent chunk by chunk, without a length."""
        chunks = body if isinstance(body, list) else [body.encode() if isinstance(body, str) else body]
        sent = list(headers or [])
        if not isinstance(body, list) and body:
            sent.append(("content-length", str(len(chunks[0]))))
        events = [
            {"type": "http.request", "body": chunk, "more_body": index + 1 < len(chunks)}
            for index, chunk in enumerate(chunks)
        ]
        stray = [{"type": "http.request", "body": b"", "more_body": False}]
        out: list[Any] = []

        async def receive() -> Any:
            if events:
                return events.pop(0)
            await (gone or asyncio.Event()).wait()
            return stray.pop() if stray else {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            out.append(event)

        scope = _scope(method, target, sent) | {"http_version": http_version, "state": state or {}}
        await self._app(scope, receive, send)
        if not out:
            return Response(0, {}, b"", whole=False)
        start, *contents = out
        parts = tuple(content["body"] for content in contents)
        received = {name.decode(): value.decode() for name, value in start["headers"]}
        whole = bool(contents) and not contents[-1].get("more_body", False)
        return Response(start["status"], received, b"".join(parts), parts, whole)


def _scope(method: str, target: str, headers: list[tuple[str, str]]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 5000),
    }
