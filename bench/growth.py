"""What becomes of the cost of a verification when a million keys become ten: `python -m bench.growth`, some minutes.

Keys are loaded by SQL with secrets of their own; those that are asked for are made by the service in between.
"""

from collections.abc import Sequence
from statistics import median

import asyncpg
import uvloop
from sdk.verification.v1.verification_service_pb2 import CONSISTENCY_FRESH, VerifyApiKeyRequest

from bench.flush import flush_times
from bench.http2 import Http2Connection
from bench.latency import at_rate
from bench.report import Result, machine, progress, table
from bench.setting import Service, Setting, connection, load_keys
from bench.verify import new_key
from server.postgres.pool import Database

_STEPS = (1_000_000, 10_000_000)
_ASKED = 40
_RATE, _SECONDS = 400.0, 8.0
_SECRETS = """
INSERT INTO api_key_secrets (key_prefix, key_id, version, digest, pepper_version, created_at)
SELECT key_prefix, id, 1, decode(md5(id) || md5(key_prefix), 'hex'), 1, created_at
FROM api_keys AS key
WHERE name LIKE 'Production %' AND NOT EXISTS (SELECT FROM api_key_secrets WHERE key_id = key.id)
"""


async def run() -> None:
    """Measure with few keys in the database's memory and with many, and compare."""
    async with Setting.prepared() as setting:
        url = await setting.database("growth")
        async with setting.service(url) as service:
            secrets = [await new_key(service, url) for _ in range(_ASKED)]
            measured = []
            loaded = 0
            for step in _STEPS:
                await _load(url, service, loaded, step)
                loaded = step
                secrets += [await new_key(service, url) for _ in range(_ASKED)]
                measured.append(await _measure(service, url, secrets))
        print(table(_results(measured)), machine(await setting.version()), sep="\n\n")


async def _load(url: str, service: Service, loaded: int, step: int) -> None:
    async for done in load_keys(url, service.developer_id, step, after=loaded):
        progress(f"loading keys: {done:,} of {step:,}")
    progress("loading their secrets")
    async with connection(url) as database:
        await _unchecked(database)
        await database.execute(_SECRETS)
        await database.execute("RESET session_replication_role")
        await database.execute("VACUUM (ANALYZE) api_key_secrets")
        await database.execute("CHECKPOINT")


async def _unchecked(database: "asyncpg.Connection[asyncpg.Record]") -> None:
    await database.execute("SET session_replication_role = replica")
    await database.execute("SET synchronous_commit = off")


async def _measure(service: Service, url: str, secrets: Sequence[str]) -> tuple[float, float, float]:
    """Return milliseconds: the middle and the 99th percentile of reads of a key, and the middle of flushes."""
    connections = [
        await Http2Connection.open(
            service.internal,
            "/sdk.verification.v1.VerificationService/VerifyApiKey",
            service.service_token,
            VerifyApiKeyRequest(api_key=secret, consistency=CONSISTENCY_FRESH).SerializeToString(),
        )
        for secret in secrets
    ]
    progress("asking")
    await at_rate(connections, _RATE, 2.0)
    latency = await at_rate(connections, _RATE, _SECONDS)
    for each in connections:
        each.close()
    database = Database(url, size=2)
    await database.open()
    try:
        return latency.middle, latency.p99, median(await flush_times(database))
    finally:
        await database.close()


def _results(measured: Sequence[tuple[float, float, float]]) -> list[Result]:
    few, many = measured
    names = ("VerifyApiKey, read from the database: p50", "the same: p99", "flush of 1,000 counters")
    return [
        Result(
            what=f"{name}, ms, of {_STEPS[1]:,} keys / of {_STEPS[0]:,}",
            ours=f"{more:.2f}",
            bare=f"{less:.2f}",
            ratio=f"{more / less:.2f}",
            goal="<= 1.50",
        )
        for name, less, more in zip(names, few, many, strict=True)
    ]


if __name__ == "__main__":
    uvloop.run(run())
