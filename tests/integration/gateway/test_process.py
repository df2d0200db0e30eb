"""`gateway` and `openapi` in processes of their own, with nothing of the service's settings or data."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from server.transcoding.router import routes_of
from tests.integration.gateway.upstream import Upstreams
from tests.unit.transcoding.kitchen import SERVICE, compile_proto

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"PATH": "/nowhere", "DATABASE_URL": "nonsense", "DEVELOPER_HTTP_ADDRESS": "nonsense"}

Process = asyncio.subprocess.Process


@asynccontextmanager
async def started(*words: str) -> AsyncIterator[Process]:
    """Start a command in an environment that `serve` would refuse; see that it ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server", *words),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(process: Process, until: str) -> list[str]:
    """Read what a process prints, up to the line that begins so."""
    assert process.stdout is not None
    lines: list[str] = []
    while not (lines or [""])[-1].startswith(until):
        line = await process.stdout.readline()
        assert line, lines
        lines.append(line.decode().rstrip("\n"))
    return lines


async def test_it_says_what_it_serves_and_ends_well(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with started("gateway", "--upstream", upstreams.address, "--listen", "127.0.0.1:0") as process:
        lines = await told(process, "curl ")
        url = lines[-1].split()[-1]
        async with httpx2.AsyncClient() as http:
            called = await http.get(f"{url}/dune")
        process.send_signal(signal.SIGTERM)
        rest, errors = await process.communicate()

    assert lines[0].startswith("Serving REST on http://127.0.0.1:")
    assert lines[1] == "Ready."
    assert lines[4] == f"  routes    {len(list(routes_of(SERVICE)))}, of kitchen.v1.Kitchen"
    assert (called.status_code, called.json()["name"]) == (200, "dune")
    assert (process.returncode, rest) == (0, b"\nStopping: calls in flight may finish.\n")
    logged = [json.loads(line) for line in errors.splitlines()]
    calls = [line for line in logged if line["event"] == "call"]
    assert [line["event"] for line in logged if line not in calls] == ["routes_learned", "upstream_health"]
    assert [(line["method"], line["outcome"]) for line in calls] == [("/kitchen.v1.Kitchen/GetBook", "OK")]


async def test_it_waits_for_an_upstream_and_tells_so(upstreams: Upstreams) -> None:
    async with started("gateway", "--upstream", upstreams.address, "--listen", "127.0.0.1:0") as process:
        lines = await told(process, "The upstream cannot be reached")
        await upstreams.start()
        lines += await told(process, "curl ")
        process.send_signal(signal.SIGINT)
        await process.communicate()

    assert "Ready." in lines
    assert process.returncode == 0


async def test_a_port_that_is_taken_is_refused(upstreams: Upstreams) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        async with started("gateway", "--upstream", upstreams.address, "--listen", place) as process:
            output, errors = await process.communicate()

    assert (process.returncode, output) == (1, b"")
    sentence = f"--listen: cannot listen on {place}: the port is in use by another process"
    assert errors.decode() == f"Cannot start:\n  {sentence}\n"


async def test_the_document_is_all_that_is_printed(upstreams: Upstreams) -> None:
    await upstreams.start()
    async with started("openapi", "--upstream", upstreams.address) as process:
        output, errors = await process.communicate()

    document = json.loads(output)
    assert (process.returncode, errors) == (0, b"")
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "kitchen.v1.Kitchen")
    assert str(upstreams.port) not in output.decode()


async def test_without_a_document_there_is_a_sentence(upstreams: Upstreams) -> None:
    async with started("openapi", "--upstream", upstreams.address) as process:
        output, errors = await process.communicate()
    await upstreams.start(versions=())
    async with started("openapi", "--upstream", upstreams.address) as other:
        _, no_reflection = await other.communicate()

    assert (process.returncode, output) == (1, b"")
    assert errors == b"The upstream cannot be reached, or not with these TLS options.\n"
    assert b"turn it on" in no_reflection


async def test_what_cannot_be_served_is_one_line_and_no_document(upstreams: Upstreams) -> None:
    rpc = 'returns (M) { option (google.api.http) = {get: "/v1/m"}; }'
    text = 'syntax = "proto3"; package t; import "google/api/annotations.proto"; message M {}'
    await upstreams.start(compile_proto(f"{text} service A {{ rpc Get(M) {rpc} rpc Got(M) {rpc} }}"), ["t.A"], object())
    async with started("openapi", "--upstream", upstreams.address) as process:
        output, errors = await process.communicate()

    sentence = "t.A.Get and t.A.Got both claim GET /v1/m (the second as /v1/m)"
    assert (process.returncode, output) == (1, b"")
    assert errors.decode() == f"The upstream has google.api.http rules that cannot be served: {sentence}.\n"
