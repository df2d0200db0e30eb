"""What the tests of usage share: the service under test, and who calls it."""

from datetime import UTC, datetime

from server.identity.principal import AccessToken, Principal, bind_principal
from server.ids import DeveloperId
from server.limits.service import LocalLimiter
from server.metering.counters import Counters, Use
from server.metering.reports import UsageReports
from server.metering.rollup import RollUp
from server.postgres.pool import Database
from server.usage.attention import KeyAttention
from server.usage.rpc import UsageService
from server.usage.service import LimitService
from server.usage.throttling import ThrottlingService
from tests.integration.metering.meter import meter

NOW = datetime(2030, 1, 15, 12, 34, 56, tzinfo=UTC)


def act_as(developer_id: DeveloperId) -> None:
    """Make a developer the caller."""
    token = AccessToken(
        issuer="https://issuer.example",
        subject="subject",
        client_id=None,
        token_id=None,
        scopes=frozenset(),
        expires_at=NOW,
        digest=bytes(32),
    )
    bind_principal(Principal(developer_id=developer_id, token=token))


def usage_service(database: Database, limiter: LocalLimiter) -> UsageService:
    """Make the service under test."""
    return UsageService(
        UsageReports(database),
        LimitService(database, limiter, clock=NOW.timestamp),
        ThrottlingService(database, limiter),
        KeyAttention(database),
    )


async def use(
    database: Database, key: Use, calls: int, outcome: str = "valid", *, at: datetime = NOW, cost: int = 1
) -> None:
    """Count calls with a key, all the way into the database."""
    counters = Counters(clock=at.timestamp)
    for _ in range(calls):
        counters.count(key, "search", outcome, cost, "")
    await meter(database, counters).flush()
    await RollUp(database).roll_up()
