"""Somebody tries keys that do not exist: what that does to the memory of a server and to the good keys.

`python -m bench.bad_keys` tries a million; `make bench` tries fewer.
"""

import random
from collections.abc import Sequence

import httpx2
import uvloop
from sdk.verification.v1.verdict_pb2 import VERDICT_NOT_FOUND, VERDICT_VALID
from sdk.verification.v1.verification_service_pb2 import (
    BatchVerifyApiKeysRequest,
    BatchVerifyApiKeysResponse,
    VerifyApiKeyRequest,
)

from bench.http2 import Http2Connection
from bench.load import call_once
from bench.report import Result, progress, table
from bench.setting import Service, Setting
from bench.verify import new_key
from server.keys.model import Environment
from server.keys.secret import draw

SOME, MANY = 50_000, 1_000_000
_BATCH = "/sdk.verification.v1.VerificationService/BatchVerifyApiKeys"
_GOOD_KEYS = 50
_BAD_AT_A_TIME, _GOOD_AT_A_TIME = 60, 40


async def bad_keys(service: Service, database_url: str, count: int) -> Sequence[Result]:
    """Ask for bad keys among good ones, and look at memory and at how often the database was asked for good ones."""
    good = [await new_key(service, database_url) for _ in range(_GOOD_KEYS)]
    await _ask(service, good, 0)
    before, read_before = service.program.memory().resident, await _reads(service)
    asked = bad = 0
    while bad < count:
        presented = random.choices(good, k=_GOOD_AT_A_TIME)
        await _ask(service, presented, _BAD_AT_A_TIME)
        asked += len(presented)
        bad += _BAD_AT_A_TIME
        if not bad % (_BAD_AT_A_TIME * 200):
            progress(f"bad keys: {bad:,} of {count:,}")
    reads = await _reads(service) - read_before - bad
    return [
        Result(
            what=f"good keys found in memory among {bad:,} bad ones: share",
            ours=f"{1 - reads / asked:.4f}",
            goal=">= 0.95",
        ),
        Result(
            what="memory of the server before and after, MiB",
            ours=f"{service.program.memory().resident:.0f}",
            bare=f"{before:.0f}",
        ),
    ]


async def _ask(service: Service, good: Sequence[str], bad: int) -> None:
    texts = [*good, *(draw(Environment.LIVE).reveal() for _ in range(bad))]
    request = BatchVerifyApiKeysRequest(requests=[VerifyApiKeyRequest(api_key=text) for text in texts])
    connection = await Http2Connection.open(
        service.internal, _BATCH, service.service_token, request.SerializeToString()
    )
    answer = BatchVerifyApiKeysResponse.FromString(await call_once(connection))
    connection.close()
    verdicts = [each.verdict for each in answer.responses]
    if verdicts != [VERDICT_VALID] * len(good) + [VERDICT_NOT_FOUND] * bad:
        raise RuntimeError("a verdict is wrong")


async def _reads(service: Service) -> int:
    async with httpx2.AsyncClient() as http:
        page = (await http.get(f"http://{service.metrics}/metrics")).text
    (line,) = (line for line in page.splitlines() if line.startswith("developer_verification_lookups_total"))
    return int(float(line.split()[1]))


async def _run() -> None:
    async with Setting.prepared() as setting:
        url = await setting.database("bad")
        async with setting.service(url) as service:
            print(table(await bad_keys(service, url, MANY)))


if __name__ == "__main__":
    uvloop.run(_run())
