"""Pages of ListApiKeys, and GetApiKey, with many keys: what must not slow down as keys become more."""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from sdk.developer.v1.developer_service_pb2 import GetApiKeyRequest, ListApiKeysRequest, ListApiKeysResponse

from bench.load import Connection, call_once
from bench.report import Result, progress, spread
from bench.setting import Service, Setting, key_id, load_keys
from server.paging import PageTokens

MANY = 1_000_000
_DEPTH = 990_000
_PAGE = 100
_KEYS_READ = 20
_ROUNDS = 10
_CALLS = 20


async def pages(setting: Setting, few: Service, few_keys: int) -> Sequence[Result]:
    """Load a developer with a million keys; compare a deep page with the first, and a key's cost with that of `few`."""
    url = await setting.database("many")
    async with setting.service(url) as service:
        async for loaded in load_keys(url, service.developer_id, MANY):
            progress(f"loading keys: {loaded:,} of {MANY:,}")
        first = await _page(service, "")
        last = MANY - _DEPTH + 1
        token = PageTokens(setting.peppers, "ListApiKeys").after(service.developer_id, _time_of(last), key_id(last))
        deep = await _page(service, token)
        listed = ListApiKeysResponse.FromString(await call_once(deep))
        if len(listed.api_keys) != _PAGE or listed.api_keys[0].id != key_id(MANY - _DEPTH):
            raise RuntimeError("the deep page is not where it should be")
        return [
            await _compare(f"page of {_PAGE} after {_DEPTH:,} keys / first page", [deep], [first], "<= 1.50"),
            await _compare(
                f"GetApiKey of {MANY:,} keys / of {few_keys:,}",
                await _gets(service, range(1, MANY, MANY // _KEYS_READ)),
                await _gets(few, range(1, few_keys, few_keys // _KEYS_READ)),
            ),
        ]


async def _page(service: Service, token: str) -> Connection:
    return await service.connect(
        "ListApiKeys", ListApiKeysRequest(page_size=_PAGE, page_token=token).SerializeToString()
    )


async def _gets(service: Service, numbers: Iterable[int]) -> list[Connection]:
    return [
        await service.connect("GetApiKey", GetApiKeyRequest(id=key_id(number)).SerializeToString())
        for number in numbers
    ]


async def _compare(what: str, ours: Sequence[Connection], base: Sequence[Connection], goal: str = "") -> Result:
    """Call both in turns, one call at a time, and compare the medians of their times."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(_ROUNDS + 1):
        for side, connections in enumerate((ours, base)):
            measured = [await _seconds(connections[call % len(connections)]) for call in range(_CALLS)]
            if number:  # the first round warms up
                times[side].append(median(measured))
    progress(what)
    for connection in (*ours, *base):
        connection.close()
    return Result(
        what=f"{what}: ms",
        ours=f"{median(times[0]) * 1000:.2f}",
        bare=f"{median(times[1]) * 1000:.2f}",
        ratio=spread([mine / theirs for mine, theirs in zip(*times, strict=True)]),
        goal=goal,
    )


async def _seconds(connection: Connection) -> float:
    started = time.perf_counter()
    await call_once(connection)
    return time.perf_counter() - started


def _time_of(number: int) -> datetime:
    """Return when a loaded key was made; they are a second apart."""
    return datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC) + timedelta(seconds=number)
