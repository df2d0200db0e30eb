"""What the cache remembers, for how long, and what it must never remember."""

import asyncio
from collections.abc import Callable

import pytest

from server.errors import Unavailable
from server.verification.cache import EVERYTHING, Entry, KeyCache
from tests.unit.verification.entries import Time, entry_of


class Source:
    """A database that counts its reads, holds them at a gate, and knows every key but those called absent."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.gate: asyncio.Event | None = None
        self.started = asyncio.Event()
        self.away = False
        self.ends_in: float | None = None
        self.made: list[Entry] = []

    async def __call__(self, text: str) -> Entry | None:
        self.reads.append(text)
        self.started.set()
        known = None if text.startswith("absent") else entry_of(text, ends_in=self.ends_in)  # what it sees now
        self.made += [known] if known else []
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise Unavailable
        return known


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(source: Source, time: Time) -> KeyCache:
    cache = KeyCache(source, size=100, absent=50, clock=time)
    cache.hear(True)
    return cache


async def look(cache: KeyCache, text: str) -> Entry | None:
    return cache.recall(text) or await cache.find(text)


async def test_a_key_is_read_once_and_remembered(cache: KeyCache, source: Source) -> None:
    first, second = await look(cache, "a"), await look(cache, "a")

    assert first is second
    assert source.reads == ["a"]


@pytest.mark.parametrize(("heard", "quiet", "lifetime"), [(True, 3.999, 5.0), (False, 0.999, 1.0)])
async def test_nothing_is_remembered_beyond_its_lifetime(
    cache: KeyCache, source: Source, time: Time, heard: bool, quiet: float, lifetime: float
) -> None:
    cache.hear(heard)
    await look(cache, "a")

    time.now += quiet
    await look(cache, "a")
    assert source.reads == ["a"]

    time.now += lifetime - quiet
    await look(cache, "a")
    assert source.reads == ["a", "a"]


async def test_a_key_in_use_is_read_anew_before_it_ends(cache: KeyCache, source: Source, time: Time) -> None:
    first = await look(cache, "a")
    time.now += 4.0
    source.started.clear()

    assert await look(cache, "a") is first  # nobody waits for the read
    assert await look(cache, "a") is first
    await source.started.wait()
    await asyncio.sleep(0)
    time.now += 1.0

    assert cache.recall("a") is source.made[1]
    assert source.reads == ["a", "a"]


async def test_nothing_lives_longer_for_a_refreshment_that_fails(cache: KeyCache, source: Source, time: Time) -> None:
    await look(cache, "a")
    source.away = True
    time.now += 4.5

    assert cache.recall("a") is not None
    time.now += 0.5
    assert cache.recall("a") is None
    with pytest.raises(Unavailable):
        await look(cache, "a")


async def test_lifetime_counts_from_before_the_database_was_asked(cache: KeyCache, source: Source, time: Time) -> None:
    source.gate = asyncio.Event()
    reading = asyncio.create_task(look(cache, "a"))
    await source.started.wait()
    time.now += 4.0
    source.gate.set()
    await reading

    time.now += 1.0
    await look(cache, "a")

    assert source.reads == ["a", "a"]


async def test_an_entry_ends_with_the_nearest_deadline_of_its_key(cache: KeyCache, source: Source, time: Time) -> None:
    source.ends_in = 0.5
    await look(cache, "a")

    time.now += 0.5
    await look(cache, "a")

    assert source.reads == ["a", "a"]


async def test_a_hundred_callers_share_one_read(cache: KeyCache, source: Source) -> None:
    source.gate = asyncio.Event()
    callers = [asyncio.create_task(look(cache, "a")) for _ in range(100)]
    await source.started.wait()
    source.gate.set()

    answers = await asyncio.gather(*callers)

    assert source.reads == ["a"]
    assert len(set(map(id, answers))) == 1


async def test_a_caller_who_leaves_takes_no_other_with_it(cache: KeyCache, source: Source) -> None:
    source.gate = asyncio.Event()
    first, second = (asyncio.create_task(look(cache, "a")) for _ in range(2))
    await source.started.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.gate.set()

    assert await second is not None


async def test_an_absent_key_is_remembered_for_a_second(cache: KeyCache, source: Source, time: Time) -> None:
    assert await look(cache, "absent") is None
    time.now += 0.999
    assert await look(cache, "absent") is None
    assert source.reads == ["absent"]

    time.now += 0.001
    await look(cache, "absent")
    assert source.reads == ["absent", "absent"]


@pytest.mark.parametrize("changed", ["key_a", "dev_1", EVERYTHING])
async def test_a_change_drops_what_it_concerns(cache: KeyCache, source: Source, changed: str) -> None:
    await look(cache, "a")

    cache.forget(changed)
    await look(cache, "a")

    assert source.reads == ["a", "a"]


async def test_a_change_of_another_key_drops_nothing(cache: KeyCache, source: Source) -> None:
    await look(cache, "a")

    cache.forget("key_b")
    cache.forget("dev_2")
    await look(cache, "a")

    assert source.reads == ["a"]


@pytest.mark.parametrize("change", ["key_a", "dev_1", EVERYTHING])
async def test_a_read_that_began_before_a_change_is_not_remembered(
    cache: KeyCache, source: Source, change: str
) -> None:
    source.gate = asyncio.Event()
    reading = asyncio.create_task(look(cache, "a"))
    await source.started.wait()
    cache.forget(change)
    source.gate.set()

    assert await reading is source.made[1], "what was true before the change is told after it"
    assert await look(cache, "a") is source.made[1]


async def test_a_key_that_changes_all_the_time_has_no_answer(cache: KeyCache, source: Source) -> None:
    async def changing(text: str) -> Entry | None:
        cache.forget("key_a")
        return await source(text)

    cache._read = changing

    with pytest.raises(Unavailable):
        await look(cache, "a")
    assert source.reads == ["a"] * 3


async def test_reads_under_way_are_bounded_and_hits_are_not_held_up(cache: KeyCache, source: Source) -> None:
    await look(cache, "good")
    source.gate = asyncio.Event()
    flood = [asyncio.create_task(look(cache, f"absent{number}")) for number in range(300)]
    await asyncio.sleep(0)

    assert cache.recall("good") is not None
    with pytest.raises(Unavailable):
        await look(cache, "another")
    source.gate.set()
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    assert sum(isinstance(each, Unavailable) for each in outcomes) == 300 - 128
    assert await look(cache, "another") is not None


def test_what_has_ended_goes_in_small_steps(time: Time) -> None:
    cache = KeyCache(Source(), size=5_000, absent=5_000, clock=time)
    for number in range(5_000):
        cache._remember_absent(number.to_bytes(16), time.now)
    time.now += 10

    for number in range(5_000, 5_100):
        cache._remember_absent(number.to_bytes(16), time.now)

    assert len(cache._absent) == 4_900  # two for each that came in


async def test_who_asks_after_a_change_does_not_join_a_read_from_before(cache: KeyCache, source: Source) -> None:
    source.gate = asyncio.Event()
    before = asyncio.create_task(look(cache, "a"))
    await source.started.wait()
    cache.forget("key_a")
    after = asyncio.create_task(look(cache, "a"))
    await asyncio.sleep(0)
    source.gate.set()
    await asyncio.gather(before, after)

    assert source.reads == ["a", "a", "a"]  # one from before, which is done again, and one of its own


async def test_a_read_from_before_the_listener_came_back_is_not_remembered(cache: KeyCache, source: Source) -> None:
    cache.hear(False)
    source.gate = asyncio.Event()
    reading = asyncio.create_task(look(cache, "a"))
    await source.started.wait()
    cache.hear(True)
    source.gate.set()
    await reading

    await look(cache, "a")

    assert source.reads == ["a", "a"]


async def test_changes_too_many_to_remember_forbid_every_older_read(source: Source, time: Time) -> None:
    cache = KeyCache(source, size=10, clock=time)
    cache.hear(True)
    source.gate = asyncio.Event()
    reading = asyncio.create_task(look(cache, "a"))
    await source.started.wait()
    cache.forget("key_a")
    for number in range(20):
        cache.forget(f"key_{number}")
    source.gate.set()
    await reading

    await look(cache, "a")

    assert source.reads == ["a", "a"]


async def test_losing_the_listener_empties_the_cache(cache: KeyCache, source: Source) -> None:
    await look(cache, "a")

    cache.hear(False)

    assert len(cache) == 0


async def test_a_fault_is_told_and_not_remembered(cache: KeyCache, source: Source) -> None:
    source.away = True
    with pytest.raises(Unavailable):
        await look(cache, "a")

    source.away = False
    assert await look(cache, "a") is not None


async def test_a_million_bad_keys_leave_the_good_ones_and_the_memory_alone(
    cache: KeyCache, source: Source, time: Time
) -> None:
    good = [f"good{number}" for number in range(50)]
    for text in good:
        await look(cache, text)

    for number in range(2000):  # forty times what fits
        time.now += 0.0001
        await look(cache, f"absent{number}")
    source.reads.clear()
    for text in good:
        await look(cache, text)

    assert source.reads == []
    assert len(cache._absent) <= 50


async def test_the_cache_is_bounded_and_keeps_its_index_in_step(cache: KeyCache) -> None:
    for number in range(300):
        await look(cache, f"k{number}")

    assert len(cache) == 100
    assert sum(map(len, cache._by_id.values())) == 200  # by key and by developer
    cache.forget("dev_1")
    assert len(cache) == 0
    assert cache._by_id == {}


async def test_what_has_ended_makes_room(cache: KeyCache, time: Time) -> None:
    for number in range(60):
        await look(cache, f"k{number}")
    time.now += 5.0

    for number in range(60):
        await look(cache, f"new{number}")

    assert len(cache) == 60


async def test_a_fresh_read_passes_by_what_is_remembered(cache: KeyCache, source: Source) -> None:
    await look(cache, "a")

    await cache.read("a")

    assert source.reads == ["a", "a"]


def test_the_key_itself_is_not_kept(cache: KeyCache, source: Source) -> None:
    secret = "ang_live_4fGh1JkL_verysecret"
    seen: list[Callable[[], object]] = [lambda: vars(cache), lambda: cache.recall(secret)]

    assert not any(secret in repr(each()) for each in seen)
