"""Throws one case at a server and reads what comes back, for as long as anything is due."""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass

from tests.fuzz.answers import Answer, BrokenAnswer, faults_of, read_answers
from tests.fuzz.cases import Case

PATIENCE = 6.0
"""Seconds after which nobody waits any more."""
_QUIET = 0.01
"""Seconds to wait for more than one answer when nobody knows how many are due."""
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a case. `seconds` is from the last byte sent to the last answer read."""

    statuses: tuple[int, ...]
    seconds: float
    faults: tuple[str, ...]


async def throw(address: str, case: Case) -> Ending:
    """Send a case and judge the answers."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # ports are free again at once
    try:
        await _send(writer, case)
        if case.leaves:
            return Ending(statuses=(), seconds=0.0, faults=())
        return await _judge(reader, case)
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, case: Case) -> None:
    """Write the pieces. A server that has refused what came before need not read the rest."""
    with contextlib.suppress(ConnectionError):
        for number, piece in enumerate(case.pieces):
            if number and case.pause:
                await asyncio.sleep(case.pause)
            writer.write(piece)
            async with asyncio.timeout(PATIENCE):
                await writer.drain()


async def _judge(reader: asyncio.StreamReader, case: Case) -> Ending:
    started = last = time.perf_counter()
    received, answers, closed = b"", list[Answer](), False
    with_heads = b"HEAD" in b"".join(case.pieces)
    try:
        while not closed and not _is_enough(case, answers):
            quiet = bool(answers) and answers[-1].whole and not case.sound
            try:
                async with asyncio.timeout(_QUIET if quiet else PATIENCE):
                    piece = await reader.read(2**16)
            except TimeoutError:
                if not quiet:
                    return Ending(statuses=(), seconds=PATIENCE, faults=("a hang: neither an answer nor the end",))
                break
            except ConnectionError:
                piece = b""
            closed = not piece
            received += piece
            answers = read_answers(received, with_heads=with_heads)
            last = time.perf_counter()
    except BrokenAnswer as fault:
        return Ending(statuses=(), seconds=0.0, faults=(f"an answer that is no HTTP: {fault}",))
    faults = tuple(faults_of(case, answers, closed=closed))
    return Ending(statuses=tuple(answer.status for answer in answers), seconds=last - started, faults=faults)


def _is_enough(case: Case, answers: list[Answer]) -> bool:
    return case.sound and len(answers) >= case.requests and answers[-1].whole
