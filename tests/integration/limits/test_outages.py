"""What limits do while Valkey is away, slow, refuses or forgets: nobody waits, nobody fails, and it shows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from valkey import Valkey as Client

from server.limits import shared
from server.limits.model import Claim, Rate
from server.limits.script import Command
from server.limits.shared import SharedLimiter
from tests.valkey import Valkey

from .conftest import Server, until

_BUDGET = 0.1
KEY = [Claim(b"k:dev_1:key_1", Rate(10, 3600)), Claim(b"d:dev_1", Rate(100, 3600))]


async def _remaining(server: Server) -> int:
    return (await server.limiter.take(KEY)).remaining


async def _timed(server: Server) -> float:
    started = time.perf_counter()
    await server.limiter.take(KEY)
    return time.perf_counter() - started


async def test_a_dead_valkey_costs_no_call_and_its_return_is_noticed(server: Server, valkey: Valkey) -> None:
    with capture_logs() as logs:
        assert await _remaining(server) == 9
        valkey.kill()
        assert max([await _timed(server) for _ in range(20)]) < _BUDGET
        assert (server.is_shared, server.local_decisions) == (False, 20)
        valkey.start()
        await until(lambda: server.is_shared)
    assert await _remaining(server) == 9  # what was counted in between was counted here only
    assert server.local_decisions == 20
    assert [line["event"] for line in logs] == ["limits_are_local", "limits_are_shared_again"]


async def test_an_outage_gives_no_window_a_fresh_start(server: Server, valkey: Valkey) -> None:
    assert [await _remaining(server) for _ in range(6)] == [9, 8, 7, 6, 5, 4]
    valkey.kill()
    answers = [await server.limiter.take(KEY) for _ in range(6)]
    assert [answer.allowed for answer in answers] == [True] * 4 + [False] * 2


async def test_a_frozen_valkey_costs_a_call_a_tenth_of_a_second_and_the_others_nothing(
    server: Server, valkey: Valkey
) -> None:
    valkey.stop()
    first = await asyncio.gather(*(_timed(server) for _ in range(5)))
    assert _BUDGET / 2 < max(first) < 3 * _BUDGET
    assert max([await _timed(server) for _ in range(50)]) < _BUDGET
    assert (server.is_shared, server.local_decisions) == (False, 55)
    valkey.cont()
    await until(lambda: server.is_shared)
    answers = [await _remaining(server) for _ in range(4)]  # late answers to the first calls must not be among them
    assert answers in ([4, 3, 2, 1], [9, 8, 7, 6])  # whether these calls had been sent before Valkey froze


async def test_the_frozen_valkey_would_be_felt_without_the_budget(
    server: Server, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_BUDGET_SECONDS", 0.6)
    valkey.stop()
    assert await _timed(server) > 0.5


async def test_a_call_that_comes_while_others_wait_in_vain_does_not_wait_a_budget_of_its_own_on_top(
    server: Server, valkey: Valkey
) -> None:
    valkey.stop()
    early = asyncio.create_task(_timed(server))
    await asyncio.sleep(0.05)
    assert await _timed(server) < 0.1
    await early


async def _remaining_while_busy(server: Server, turns: int) -> int:
    """Make a call and be busy when it waits to be sent, is on its way, or has an answer that nobody has read."""
    call = asyncio.create_task(_remaining(server))
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(2):
        time.sleep(1.5 * _BUDGET)
        await asyncio.sleep(0)
    return await call


async def test_a_busy_process_does_not_take_a_healthy_valkey_for_dead(server: Server) -> None:
    assert [await _remaining_while_busy(server, turns) for turns in range(5)] == [9, 8, 7, 6, 5]
    assert (server.is_shared, server.local_decisions) == (True, 0)


async def test_a_busy_process_would_take_it_for_dead_by_the_clock(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(limiter: SharedLimiter, commands: list[Command]) -> list[list[int]]:
        async with asyncio.timeout(_BUDGET):
            return await limiter._script.run(commands)

    monkeypatch.setattr(SharedLimiter, "_ask", ask)
    for turns in range(5):
        await _remaining_while_busy(server, turns)
    assert server.local_decisions > 0


async def test_a_frozen_valkey_is_noticed_without_calls(server: Server, valkey: Valkey) -> None:
    valkey.stop()
    await until(lambda: not server.is_shared)
    assert await _timed(server) < _BUDGET


async def test_a_slow_valkey_counts_as_away(server: Server, valkey: Valkey) -> None:
    with Client.from_url(valkey.url) as client:
        client.client_pause(400)
    assert await _timed(server) < 0.3
    assert not server.is_shared
    await until(lambda: server.is_shared)


@pytest.mark.parametrize(
    ("refuse", "relent"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("ACL SETUSER default -evalsha", "ACL SETUSER default +evalsha"),
    ],
)
async def test_a_valkey_that_refuses_counts_as_away_until_it_relents(
    server: Server, valkey: Valkey, refuse: str, relent: str
) -> None:
    with Client.from_url(valkey.url) as client, capture_logs() as logs:
        client.execute_command(*refuse.split())
        for _ in range(3):
            assert (await server.limiter.take(KEY)).allowed
            await asyncio.sleep(0.03)  # long enough for a return
        assert (server.is_shared, server.local_decisions) == (False, 3)
        client.execute_command(*relent.split())
        await until(lambda: server.is_shared)
    assert [line["event"] for line in logs] == ["limits_are_local", "limits_are_shared_again"]


async def test_a_valkey_that_lost_the_script_gets_it_again(server: Server, valkey: Valkey) -> None:
    with Client.from_url(valkey.url) as client:
        await _remaining(server)
        client.script_flush()
        answers = await asyncio.gather(*(_remaining(server) for _ in range(5)))
    assert sorted(answers) == [4, 5, 6, 7, 8]
    assert (server.is_shared, server.local_decisions) == (True, 0)


async def test_a_valkey_that_lost_its_data_counts_from_the_start(server: Server, valkey: Valkey) -> None:
    with Client.from_url(valkey.url) as client:
        assert await _remaining(server) == 9
        client.flushall()
    assert await _remaining(server) == 9
    assert (server.is_shared, server.local_decisions) == (True, 0)


async def test_a_restarted_valkey_is_used_again(server: Server, valkey: Valkey) -> None:
    valkey.restart()
    await _remaining(server)
    await until(lambda: server.is_shared)
    before = server.local_decisions
    assert await _remaining(server) == 9
    assert server.local_decisions == before


async def test_a_server_may_start_before_its_valkey(servers: Callable[[], Server], valkey: Valkey) -> None:
    valkey.kill()
    server = servers()
    await server.limiter.open()
    assert (await server.limiter.take(KEY)).allowed
    assert (server.is_shared, server.local_decisions) == (False, 1)
    valkey.start()
    await until(lambda: server.is_shared)


@asynccontextmanager
async def _listener(answer: bytes) -> AsyncIterator[str]:
    """Listen like a Valkey, and answer the same to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield f"valkey://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 9, b"*2\r\n:1\r\n:2\r\n" * 9, b"-NOSCRIPT x\r\n" * 9, b""],
)
async def test_whatever_else_answers_is_no_valkey(answer: bytes, quick_watch: None) -> None:
    async with _listener(answer) as url:
        server = Server(url)
        await server.limiter.open()
        assert (await server.limiter.take(KEY)).allowed
        assert (server.is_shared, server.local_decisions) == (False, 1)
        await server.limiter.close()


async def test_limits_hold_through_one_outage_after_another(servers: Callable[[], Server], valkey: Valkey) -> None:
    one, other = servers(), servers()
    for server in (one, other):
        await server.limiter.open()
    let_in, ended = 0, False

    async def call(server: Server) -> None:
        nonlocal let_in
        while not ended:
            answer = await server.limiter.take(KEY)
            let_in += answer.allowed
            await asyncio.sleep(0)

    callers = [asyncio.create_task(call(server)) for server in (one, other) for _ in range(4)]
    for disturb in (valkey.stop, valkey.cont, valkey.stop, valkey.cont):
        disturb()
        await asyncio.sleep(0.15)
    await until(lambda: one.is_shared and other.is_shared)
    ended = True
    await asyncio.wait_for(asyncio.gather(*callers), 1)
    assert 10 <= let_in <= 30  # Valkey's ten, and at worst each server's
