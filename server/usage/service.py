"""What a developer may do, and how much of it is left."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from server.errors import NotFound
from server.ids import DeveloperId
from server.limits.model import Claim, Rate, Tier
from server.limits.service import Limiter
from server.postgres.pool import Database
from server.usage.store import LimitStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A developer's limits and where it stands.

    `remaining` units fit into the window of all keys together now; its oldest use leaves it at `reset_at`, in Unix
    seconds. `key_rates` are of live keys with a limit of their own, by id, newest first.
    """

    tier: Tier
    remaining: int
    reset_at: int
    quota_used: int
    live_keys: int
    key_rates: Mapping[str, Rate]


class LimitService:
    """Tells developers their limits."""

    def __init__(self, database: Database, limiter: Limiter, *, clock: Callable[[], float] = time.time) -> None:
        """Take the limiter that verification asks as well; `clock` gives Unix seconds."""
        self._store = LimitStore(database)
        self._limiter = limiter
        self._clock = clock

    async def get(self, developer_id: DeveloperId) -> Limits:
        """Return a developer's limits.

        Raises:
            NotFound: there is no such developer.
        """
        grant = await self._store.find_grant(developer_id)
        if grant is None:
            raise NotFound("There is no such developer.")
        claim = Claim(f"d:{developer_id}".encode(), grant.tier.developer_rate)
        standing = await self._limiter.peek([claim], 0)
        return Limits(
            tier=grant.tier,
            remaining=standing.remaining,
            reset_at=math.ceil(self._clock() + standing.reset_seconds),
            quota_used=grant.quota_used,
            live_keys=grant.live_keys,
            key_rates=await self._store.key_rates(developer_id),
        )
