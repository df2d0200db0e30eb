"""What a portal has to show after a while: keys with an hour of calls, a rotation, clients, 30 days of streams.

What a page is made of is written the way it comes about: keys and clients over REST, calls as batches of the counters,
streams as reports to the internal port.
"""

import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
from sdk.metering.v1.metering_service_pb2 import RecordStreamAcquisitionsRequest, StreamAcquisition
from sdk.metering.v1.metering_service_pb2_grpc import MeteringServiceStub
from sdk.usage.v1.usage_pb2 import MEDIUM_MUSIC, MEDIUM_VIDEO

from server.metering.batch import Batch, Cell
from server.metering.rollup import RollUp
from server.metering.store import MeterStore
from server.times import format_time
from tests.interop.chromium import Guest, Place

MINUTE = timedelta(minutes=1)
REDIRECT_URI = "https://app.example.com/signed-in"

_KEYS = {"Production backend": "LIVE", "Search service": "LIVE", "Nightly import": "TEST", "مفتاح الاختبار": "TEST"}


async def furnish(guest: Guest) -> dict[str, str]:
    """Give a registered developer something to look at; return the ids by the names of things."""
    place = guest.place
    developer_id = (await guest.api("GET", "/v1/developer/account"))["developer"]["id"]
    ids = {}
    await place.database.execute("INSERT INTO tiers VALUES ('partner', 6000, 60, 12000, NULL, 5000, 50)")
    for name, environment in _KEYS.items():
        wish = {"name": name, "scopes": ["read"], "environment": f"API_KEY_ENVIRONMENT_{environment}"}
        ids[name] = (await guest.api("POST", "/v1/developer/keys", wish))["apiKey"]["id"]
    await guest.api("POST", f"/v1/developer/keys/{ids['Nightly import']}/revoke", {})
    await guest.api("POST", f"/v1/developer/keys/{ids['Search service']}/rotate", {})
    now = await place.clock.now()
    await count(place, [*_busy_hour(ids["Production backend"], developer_id, now)])
    await count(place, [*_two_secrets(ids["Search service"], developer_id, now)])
    await count(place, [*_long_day(ids["Production backend"], developer_id, now)])
    for name, kind in (("Alice Player", "CONFIDENTIAL"), ("Pocket Radio", "PUBLIC")):
        wish = {"name": name, "type": f"O_AUTH_CLIENT_TYPE_{kind}", "redirectUris": [REDIRECT_URI]}
        answer = await guest.api("POST", "/v1/developer/oauth-clients", {**wish, "allowedScopes": ["read", "stream"]})
        ids[name] = answer["client"]["id"]
    await report_streams(place, developer_id, ids["Alice Player"], days=30)
    await report_streams(place, developer_id, ids["Pocket Radio"], days=9)
    return ids


async def count(place: Place, cells: Sequence[Cell]) -> None:
    """Write calls as the counters of a process do, and sum up hours and days."""
    store = MeterStore(place.database)
    await store.add(Batch(id=uuid4(), cells=tuple(cells)))
    await store.note_key_uses([(key_id, time.time()) for key_id in {cell.key_id for cell in cells}])
    await RollUp(place.database).roll_up()


def _busy_hour(key_id: str, developer_id: str, now: datetime) -> Iterator[Cell]:
    """Make an hour of calls in waves, of which the highest are cut by the limit."""
    for ago in range(60):
        minute = int((now - ago * MINUTE).timestamp()) // 60 * 60
        calls = int(320 + 180 * math.sin(ago / 6) + 60 * math.sin(ago / 1.7))
        refused = max(0, calls - 450) * 2
        for operation, share in (("catalog.search", 0.6), ("catalog.albums", 0.3), ("playlists.read", 0.1)):
            done = int(calls * share)
            yield Cell(minute, key_id, operation, "valid", 1, developer_id, done, done)
        if refused:
            yield Cell(minute, key_id, "catalog.search", "rate_limited", 1, developer_id, refused, 0)
        if ago % 17 == 0:
            yield Cell(minute, key_id, "playlists.write", "insufficient_scope", 1, developer_id, 4, 0)


def _long_day(key_id: str, developer_id: str, now: datetime) -> Iterator[Cell]:
    """Make the hours before: few calls at night, many by day."""
    for ago in range(1, 24):
        minute = int((now - (ago * 60 + 5) * MINUTE).timestamp()) // 60 * 60
        calls = int(15_000 - 10_000 * math.cos(ago / 24 * math.tau))
        yield Cell(minute, key_id, "catalog.search", "valid", 1, developer_id, calls, calls)
        yield Cell(minute, key_id, "catalog.search", "rate_limited", 1, developer_id, max(0, calls // 12 - 1200), 0)


def _two_secrets(key_id: str, developer_id: str, now: datetime) -> Iterator[Cell]:
    """Make calls that move from the first secret of a key to its second."""
    for ago in range(50):
        minute = int((now - ago * MINUTE).timestamp()) // 60 * 60
        for version, calls in ((1, max(0, 4 * ago - 60)), (2, max(0, 120 - 4 * ago))):
            if calls:
                yield Cell(minute, key_id, "catalog.search", "valid", version, developer_id, calls, calls)


async def report_streams(place: Place, developer_id: str, client_id: str, *, days: int) -> list[Any]:
    """Report acquisitions of the last days, some of which are repetitions; return what became of them."""
    now = datetime.now(UTC)
    events = []
    for ago in range(days):
        for number in range(6 + (ago * 7) % 11):
            acquired_at = now - timedelta(days=ago, minutes=3 * number)
            content = number - number % 4 // 3  # each fourth repeats the one before
            events.append(
                StreamAcquisition(
                    event_id=f"{client_id[-12:]}-{ago}-{number}",
                    developer_id=developer_id,
                    client_id=client_id,
                    user_id=f"user-{client_id[-12:]}-{ago}",
                    content_id=f"track-{content}",
                    medium=MEDIUM_VIDEO if content % 3 == 0 else MEDIUM_MUSIC,
                    quality="high",
                    acquired_at=format_time(acquired_at),
                    url_expires_at=format_time(acquired_at + timedelta(hours=4)),
                )
            )
    return await record(place, events)


async def record(place: Place, events: Sequence[StreamAcquisition]) -> list[Any]:
    """Send events to the ledger as an internal service."""
    async with grpc.aio.insecure_channel(place.service.addresses.internal_grpc) as channel:
        stub: Any = MeteringServiceStub(channel)
        answer = await stub.RecordStreamAcquisitions(
            RecordStreamAcquisitionsRequest(acquisitions=events),
            metadata=[("authorization", f"Bearer {place.internal_token}")],
        )
    return list(answer.results)
