"""Windows in a real Valkey: the same decisions as in memory, and one count for everybody."""

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from valkey import Valkey as Client
from valkey.exceptions import ResponseError

from server.limits import script
from server.limits.model import Claim, Decision, Rate
from server.limits.service import Limiter, LocalLimiter
from server.limits.shared import SharedLimiter
from tests.valkey import Valkey

from .conftest import Server, until

_ROOT = Path(__file__).parents[3]
_MICROSECOND = 1000
_TAKER = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from server.limits.model import Claim, Rate
from server.limits.service import LocalLimiter
from server.limits.shared import SharedLimiter
async def main(url, calls):
    limiter = SharedLimiter(url, LocalLimiter(remembered=1), CollectorRegistry())
    await limiter.open()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    answers = await asyncio.gather(*(limiter.take([Claim(b"a:1", Rate(100, 3600))]) for _ in range(calls)))
    await limiter.close()
    print(sum(answer.allowed for answer in answers))
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def _key(part: str = "key_1", requests: int = 10, seconds: int = 3600) -> Claim:
    return Claim(f"k:dev_1:{part}".encode(), Rate(requests, seconds))


def _developer(requests: int, seconds: int = 3600) -> Claim:
    return Claim(b"d:dev_1", Rate(requests, seconds))


async def _allowed(limiters: Sequence[Limiter], claims: Sequence[Claim], calls: int) -> int:
    """Make calls at once, dealt to the limiters in turn, and count those let in."""
    answers = await asyncio.gather(*(limiters[number % len(limiters)].take(claims) for number in range(calls)))
    return sum(answer.allowed for answer in answers)


async def test_exactly_as_many_parallel_calls_pass_as_the_rate_says_across_two_servers(
    servers: Callable[[], Server],
) -> None:
    one, other = servers(), servers()
    await one.limiter.open()
    await other.limiter.open()
    assert await _allowed([one.limiter, other.limiter], [_key(requests=100)], 400) == 100
    assert one.local_decisions + other.local_decisions == 0


async def test_servers_that_count_by_themselves_would_let_in_too_many(valkey: Valkey) -> None:
    assert await _allowed([LocalLimiter(), LocalLimiter()], [_key(requests=100)], 400) == 200


async def test_exactly_as_many_calls_pass_across_two_processes(valkey: Valkey) -> None:
    command = [sys.executable, "-c", _TAKER, valkey.url, "200"]
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=_ROOT) for _ in range(2)]
    for process in processes:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
    printed = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert sum(int(output) for output, _ in printed) == 100


async def test_a_developers_keys_share_the_developers_cap(servers: Callable[[], Server]) -> None:
    one, other = servers(), servers()
    await one.limiter.open()
    await other.limiter.open()
    claims = [[_key(f"key_{number}", requests=10), _developer(25)] for number in range(4)]
    calls = [
        server.limiter.take(pair) for _, server, pair in itertools.product(range(10), (one, other), claims)
    ]  # 80 calls, 20 with each key
    assert sum(answer.allowed for answer in await asyncio.gather(*calls)) == 25


async def test_a_call_refused_by_one_window_is_counted_in_none(server: Server) -> None:
    for _ in range(3):
        await server.limiter.take([_key(requests=10), _developer(2)])
    assert (await server.limiter.peek([_key(requests=10)], 0)).remaining == 8
    refused = await server.limiter.take([_key(requests=10), _developer(2)])
    assert (refused.allowed, refused.limit, refused.tightest) == (False, 2, 1)


async def test_refused_calls_move_no_reset(server: Server) -> None:
    await server.limiter.take([_key(requests=1)])
    first, *_, last = [await server.limiter.take([_key(requests=1)]) for _ in range(50)]
    assert not first.allowed
    assert first.reset_seconds > last.reset_seconds > 3590


async def test_looking_counts_nothing(server: Server) -> None:
    foreseen = await server.limiter.peek([_key(requests=2)])
    assert await server.limiter.peek([_key(requests=2)]) == foreseen
    assert await server.limiter.take([_key(requests=2)]) == foreseen


async def test_a_window_that_nobody_uses_leaves_valkey(server: Server, valkey: Valkey) -> None:
    await server.limiter.take([_key(seconds=7)])
    with Client.from_url(valkey.url) as client:
        assert 6000 < client.pttl("developer:{dev_1}:k:dev_1:key_1") <= 7001


async def test_a_cluster_keeps_the_windows_of_a_call_in_one_slot(short_tmp: Path, quick_watch: None) -> None:
    valkey = Valkey(short_tmp, "--cluster-enabled", "yes", "--cluster-port", "1")
    server = Server(valkey.url)
    valkey.start()
    try:
        with Client.from_url(valkey.url) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
            await server.limiter.open()
            await until(lambda: server.is_shared)  # a cluster takes two seconds until it answers
            with pytest.raises(ResponseError, match="CROSSSLOT"):
                client.mget("developer:k:dev_1:key_1", "developer:d:dev_1")
        await server.limiter.take([_key(), _developer(10)])
        assert (server.is_shared, server.local_decisions) == (True, 0)
    finally:
        await server.limiter.close()
        valkey.kill()


_LIMITS = st.integers(1, 6)
_SECONDS = st.integers(1, 5)
_CALL = st.tuples(
    st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),  # which windows, in which order
    st.tuples(_LIMITS, _LIMITS, _LIMITS) | st.none(),  # new limits, now and then
    st.integers(0, 4),  # cost
    st.booleans(),  # counted
    st.integers(0, 3_000_000) | st.integers(0, 100_000) | st.integers(0, 16).map(lambda quarters: quarters * 250_000),
)


class _Replay:
    """Both limiters by one clock: the script as it is, but for where it learns the time."""

    numbers = itertools.count()

    def __init__(self, client: Client) -> None:
        source = script._SOURCE.decode()
        assert source.count("redis.call('TIME')") == 1
        self._decide = client.register_script(source.replace("redis.call('TIME')", "cjson.decode(ARGV[#ARGV])"))
        self._name = f"{next(self.numbers)}"
        self.now = 1_700_000_000_123_457
        self._local = LocalLimiter(clock=lambda: self.now * _MICROSECOND)

    def both(self, claims: Sequence[Claim], cost: int, *, counted: bool) -> tuple[Decision, Decision]:
        """Decide a call twice, in memory and in Valkey."""
        _, _, _, *rest = script.command(claims, cost, counted=counted)
        keys = [f"{self._name}:{key!r}" for key in rest[: len(claims)]]
        time = json.dumps([str(self.now // 1_000_000), str(self.now % 1_000_000)])
        allowed, place, remaining, reset, retry = self._decide(keys=keys, args=[*rest[len(claims) :], time])
        limit = claims[place].rate.requests
        decided = Decision(bool(allowed), limit, remaining, reset / 1_000_000, retry / 1_000_000, place)
        return self._local.decide(claims, cost, counted=counted), decided


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(seconds=st.tuples(_SECONDS, _SECONDS, _SECONDS), calls=st.lists(_CALL, max_size=40))
def test_the_script_decides_as_the_memory_does(
    valkey: Valkey,
    seconds: Sequence[int],
    calls: list[tuple[list[int], Sequence[int] | None, int, bool, int]],
) -> None:
    limits: Sequence[int] = (3, 4, 5)
    with Client.from_url(valkey.url) as client:
        replay = _Replay(client)
        for chosen, new_limits, cost, counted, pause in calls:
            replay.now += pause
            limits = new_limits or limits
            claims = [Claim(b"a:%d" % place, Rate(limits[place], seconds[place])) for place in chosen]
            local, shared = replay.both(claims, cost, counted=counted)
            assert shared == local


async def test_a_clock_set_back_far_forgives_and_one_set_back_a_little_does_not(valkey: Valkey) -> None:
    with Client.from_url(valkey.url) as client:
        replay = _Replay(client)
        for back, remaining in ((0, 8), (30_000_000, 7), (200_000_000, 9)):
            replay.both([_key(seconds=60)], 1, counted=True)
            replay.now -= back
            _, answer = replay.both([_key(seconds=60)], 1, counted=False)
            assert answer.remaining == remaining
            assert 0 < answer.reset_seconds <= 90


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "valkey://:secret@h:x", "valkey://h?nonsense=1", "valkeys://h?ssl_cert_reqs=secret", ""]
)
def test_what_is_no_address_of_a_valkey_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="valkey://HOST:PORT") as refusal:
        Server(url)
    assert "secret" not in str(refusal.value)


def test_over_tls_the_certificates_host_counts() -> None:
    assert script.WindowScript("valkeys://h")._connection.check_hostname
    assert not script.WindowScript("valkeys://h?ssl_check_hostname=false")._connection.check_hostname


async def test_calls_made_at_once_travel_together(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    run = script.WindowScript.run

    async def counting(self: script.WindowScript, commands: Sequence[script.Command]) -> list[list[int]]:
        sizes.append(len(commands))
        return await run(self, commands)

    monkeypatch.setattr(script.WindowScript, "run", counting)
    await asyncio.gather(*(server.limiter.take([_key(requests=100)]) for _ in range(50)))
    assert max(sizes) >= 50


async def test_a_caller_that_goes_away_leaves_the_others_their_answers(server: Server) -> None:
    takes = [asyncio.ensure_future(server.limiter.take([_key(requests=100)])) for _ in range(10)]
    await asyncio.sleep(0)
    takes[3].cancel()
    answers = await asyncio.gather(*takes, return_exceptions=True)
    assert sum(isinstance(answer, Decision) and answer.allowed for answer in answers) == 9
    assert server.local_decisions == 0


async def test_unopened_and_closed_limiters_decide_locally(servers: Callable[[], Server]) -> None:
    server = servers()
    assert (await server.limiter.take([_key()])).allowed
    await server.limiter.open()
    await server.limiter.close()
    assert (await server.limiter.take([_key()])).remaining == 8
    assert isinstance(server.limiter, SharedLimiter)
    assert (server.is_shared, server.local_decisions) == (False, 2)
