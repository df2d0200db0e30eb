"""The bare HTTP peer: an ASGI function under uvicorn (httptools, uvloop) that writes one JSON document with orjson.

A POST it answers with its own document, read and written by orjson.

Run: `python -m bench.json_echo DOCUMENT`.
"""

import socket
import sys
from typing import Any

import orjson
import uvicorn
import uvloop


async def serve(document: object) -> None:
    """Answer every GET with a document, written anew, and every POST with its own; print the address first."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = orjson.dumps(document if scope["method"] != "POST" else orjson.loads(await _body(receive)))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app,
        interface="asgi3",
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=60,  # others have their turns in between
    )
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(f"address 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await uvicorn.Server(config).serve([listener])


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


if __name__ == "__main__":
    uvloop.run(serve(orjson.loads(sys.argv[1])))
