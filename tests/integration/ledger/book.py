"""Made-up events, the bill as a few lines of Python make it, and what the ledger's tables say."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from server.metering.ledger.model import Acquisition, Medium
from server.metering.ledger.service import StreamLedger
from server.postgres.pool import Database

NOON = datetime(2030, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def acquisition(
    event_id: str,
    developer_id: str,
    minute: float = 0,
    *,
    lasts: timedelta = HOUR,
    user_id: str = "user",
    content_id: str = "song",
    quality: str = "high",
    medium: Medium = Medium.MUSIC,
    client_id: str = "client",
) -> Acquisition:
    """Make an event that happens some minutes after noon."""
    acquired_at = NOON + timedelta(minutes=minute)
    return Acquisition(
        event_id=event_id,
        developer_id=developer_id,
        client_id=client_id,
        user_id=user_id,
        content_id=content_id,
        medium=medium,
        quality=quality,
        acquired_at=acquired_at,
        url_expires_at=acquired_at + lasts,
    )


def many(count: int, developer_ids: Sequence[str], *, streams: int, until: datetime, seed: int) -> list[Acquisition]:
    """Make events of several days, crowded into few logical streams; the same for the same arguments."""
    rng = random.Random(seed)
    lifetimes = [timedelta(minutes=1), HOUR, 4 * HOUR, 12 * HOUR]
    events = []
    for number in range(count):
        acquired_at = until - timedelta(seconds=rng.randrange(6 * 86400))
        stream = rng.randrange(streams)
        events.append(
            Acquisition(
                event_id=f"event-{rng.getrandbits(64):016x}-{number}",
                developer_id=developer_ids[stream % len(developer_ids)],
                client_id=f"client-{rng.randrange(2)}",
                user_id=f"user-{stream}",
                content_id="content",
                medium=Medium.VIDEO if stream % 3 else Medium.MUSIC,
                quality="1080p",
                acquired_at=acquired_at,
                url_expires_at=acquired_at + rng.choice(lifetimes),
            )
        )
    return events


def billable_ids(events: Iterable[Acquisition]) -> set[str]:
    """Apply the rule of the contract to every pair of events."""
    streams = defaultdict(list)
    for event in events:
        streams[event.developer_id, event.user_id, event.medium, event.content_id, event.quality].append(event)
    return {
        later.event_id
        for stream in streams.values()
        for later in stream
        if not any(
            (earlier.acquired_at, earlier.event_id) < (later.acquired_at, later.event_id)
            and earlier.url_expires_at > later.acquired_at
            for earlier in stream
        )
    }


async def assert_exact(database: Database, events: Collection[Acquisition]) -> None:
    """Events, postings, all sums and the recount say what the rule says, for each developer of `events`."""
    for developer_id in {event.developer_id for event in events}:
        mine = [event for event in events if event.developer_id == developer_id]
        due = billable_ids(mine)
        rows = await database.fetch(
            "SELECT event_id, billable FROM stream_events WHERE developer_id = $1", developer_id
        )
        assert sorted(row["event_id"] for row in rows) == sorted(event.event_id for event in mine)
        assert {row["event_id"] for row in rows if row["billable"]} == due
        assert await _posted(database, developer_id) == due
        assert await _days(database, developer_id) == _expected_days(mine, due)
        assert await _stated(database, developer_id) == await _posted_by_month(database, developer_id)
        for month in {event.acquired_at.date().replace(day=1) for event in mine}:
            recount = await StreamLedger(database).recount(developer_id, month)
            assert recount.agrees
            assert recount.billable == sum(
                event.event_id in due and event.acquired_at.date().replace(day=1) == month for event in mine
            )


async def _posted(database: Database, developer_id: str) -> set[str]:
    """Return the events whose postings make one; all others must have none or two that make nothing."""
    rows = await database.fetch(
        "SELECT event_id, sum(amount) AS balance FROM stream_postings JOIN stream_events USING (event_id)"
        " WHERE stream_events.developer_id = $1 GROUP BY event_id",
        developer_id,
    )
    assert {row["balance"] for row in rows} <= {0, 1}
    return {row["event_id"] for row in rows if row["balance"] == 1}


async def _days(database: Database, developer_id: str) -> dict[tuple[str, str, str], tuple[int, int]]:
    rows = await database.fetch(
        "SELECT day::text, client_id, medium, sum(acquisitions) AS acquisitions, sum(billable) AS billable"
        " FROM stream_days WHERE developer_id = $1 GROUP BY day, client_id, medium",
        developer_id,
    )
    return {
        (row["day"], row["client_id"], row["medium"]): (int(row["acquisitions"]), int(row["billable"])) for row in rows
    }


_Sums = dict[tuple[str, str, str], tuple[int, int]]


async def _stated(database: Database, developer_id: str) -> _Sums:
    """Return the sums of statements."""
    rows = await database.fetch(
        "SELECT month::text, client_id, medium, sum(streams) AS streams, sum(adjustments) AS adjustments"
        " FROM statement_sums WHERE developer_id = $1 GROUP BY month, client_id, medium",
        developer_id,
    )
    return {(row["month"], row["client_id"], row["medium"]): (row["streams"], row["adjustments"]) for row in rows}


async def _posted_by_month(database: Database, developer_id: str) -> _Sums:
    """Return what statements should say, from postings and their events."""
    rows = await database.fetch(
        "SELECT to_char(posted_at AT TIME ZONE 'UTC', 'YYYY-MM-01') AS month, client_id, medium,"
        " coalesce(sum(amount) FILTER (WHERE acquired_at >= date_trunc('month', posted_at, 'UTC')), 0) AS streams,"
        " coalesce(sum(amount) FILTER (WHERE acquired_at < date_trunc('month', posted_at, 'UTC')), 0) AS adjustments"
        " FROM stream_postings JOIN stream_events USING (event_id)"
        " WHERE stream_events.developer_id = $1 AND stream_postings.developer_id = $1"
        " GROUP BY month, client_id, medium",
        developer_id,
    )
    return {(row["month"], row["client_id"], row["medium"]): (row["streams"], row["adjustments"]) for row in rows}


def _expected_days(events: Iterable[Acquisition], due: Collection[str]) -> dict[tuple[str, str, str], tuple[int, int]]:
    days: dict[tuple[str, str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for event in events:
        key = (event.acquired_at.date().isoformat(), event.client_id, event.medium.value)
        acquisitions, billable = days[key]
        days[key] = (acquisitions + 1, billable + (event.event_id in due))
    return dict(days)
