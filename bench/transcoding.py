"""The transcoder against a bare server, the real Envoy and our own gateway, over two echoing methods; codec alone.

All of them take turns in the same rounds, and all but the bare server have the same Python handlers: ours in its own
process, Envoy and the gateway over gRPC. `python -m bench.transcoding` runs this part alone.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson
import uvloop

from bench.http1 import Http1Connection
from bench.load import call_once
from bench.process import Program, program
from bench.report import Result, machine, progress, table
from bench.rounds import Busy, Side, compared, take_turns
from bench.transcoding_codec import codec
from bench.transcoding_peers import envoy, gateway

_CONNECTIONS = (16, 64)
_ROUNDS = 5
_ADDRESS = re.compile(r"address (?P<address>\S+)\n")
_NOTE = {"id": "note_1", "title": "A small message", "reads": "42", "tags": ["small", "message"], "pinned": True}
_OURS, _BARE, _ENVOY, _GATEWAY = "transcoder", "bare ASGI", "Envoy + grpc.aio", "gateway + grpc.aio"
_COMPARED = ((_OURS, _BARE, 0.6), (_OURS, _ENVOY, 3.0), (_OURS, _GATEWAY, None), (_GATEWAY, _ENVOY, None))


@dataclass(frozen=True, slots=True)
class Together:
    """Programs of which each does a part of the work."""

    parts: Sequence[Busy]

    def cpu_seconds(self) -> float:
        """Return the processor time spent so far by all of them."""
        return sum(part.cpu_seconds() for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked of every server."""

    what: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None = None

    async def side(self, server: Busy, address: str, count: int) -> Side:
        """Connect to one of them so many times. Raises RuntimeError when it answers with something else."""
        connections = [
            await Http1Connection.open(address, self.path, dict(self.headers), self.body) for _ in range(count)
        ]
        answer = await call_once(connections[0])
        if orjson.loads(answer) != _NOTE:
            raise RuntimeError(f"a server answered {answer!r}")
        return Side(program=server, connections=connections, depth=1, answer_bytes=len(answer))


_CALLS = (
    Call(what="GET", path="/v1/notes/note_1?reads=42", headers={"accept": "application/json"}),
    Call(
        what="POST",
        path="/v1/notes",
        headers={"accept": "application/json", "content-type": "application/json"},
        body=orjson.dumps(_NOTE),
    ),
)


async def transcoding(rounds: int = _ROUNDS) -> list[Result]:
    """Measure all of it."""
    results = codec()
    async with _servers() as servers:
        for call in _CALLS:
            for count in _CONNECTIONS:
                sides = {name: await call.side(server, address, count) for name, (server, address) in servers.items()}
                what = f"{call.what}, {count} connections"
                await take_turns(what, list(sides.values()), rounds)
                for first, second, goal in _COMPARED:
                    heading = f"{what}: {first} / {second}"
                    results += compared(heading, sides[first], sides[second], goal)
                    results.append(_latency(heading, sides[first], sides[second]))
    return results


@asynccontextmanager
async def _servers() -> AsyncIterator[dict[str, tuple[Busy, str]]]:
    """Start every server; give what spends processor time for it, and its address."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> tuple[Program, str]:
            running = await stack.enter_async_context(program("-m", *arguments, ready=_ADDRESS))
            return running, running.found["address"]

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        upstream, upstream_address = await start("bench.transcoding_service", "grpc")
        servers: dict[str, tuple[Busy, str]] = {
            _OURS: await start("bench.transcoding_service", "http"),
            _BARE: await start("bench.json_echo", orjson.dumps(_NOTE).decode()),
        }
        for name, peer in ((_ENVOY, envoy), (_GATEWAY, gateway)):
            running, address = await stack.enter_async_context(peer(upstream_address, folder))
            servers[name] = (Together((running, upstream)), address)
        yield servers


def _latency(what: str, ours: Side, bare: Side) -> Result:
    def told(side: Side) -> str:
        return f"{median(side.middles):.2f}, {median(side.lates):.2f}"

    ratios = (
        median([theirs / mine for mine, theirs in zip(mine_all, theirs_all, strict=True)])
        for mine_all, theirs_all in ((ours.middles, bare.middles), (ours.lates, bare.lates))
    )
    return Result(
        what=f"{what}: p50, p99, ms",
        ours=told(ours),
        bare=told(bare),
        ratio=", ".join(f"{ratio:.2f}" for ratio in ratios),
    )


def main() -> int:
    """Run this part alone; a number as the only argument is how many rounds each comparison has."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    description = machine()
    try:
        results = uvloop.run(transcoding(rounds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    progress("done")
    print(f"{table(results)}\n\n{description}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
