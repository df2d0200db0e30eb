"""A key with a past that is rotated in every way there is, and all that can be seen of it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from prometheus_client import CollectorRegistry

from server.ids import DeveloperId
from server.keys.model import Environment
from server.keys.replay import Issued
from server.keys.service import CreateKey
from server.limits.service import Limiter, LocalLimiter
from server.metering.model import Granularity
from server.metering.reports import Period, UsageReports
from server.usage.service import LimitService
from server.verification.model import Presented, Question
from server.verification.service import VerificationService
from tests.database import Clock
from tests.integration.keys.vault import GRACE, PEPPERS, acting, rotation, wish
from tests.integration.metering.meter import meter
from tests.integration.verification.platform import Replica

PEEK = Question(fresh=True, explain=True)
USE = Question(operation="search", required_scopes=("read",))
_NEEDED = "SELECT needed_scopes FROM api_keys WHERE id = $1"
LIMIT, USED = 5, 3
_MINUTE = timedelta(minutes=1)
_MINUTES = Period(granularity=Granularity.MINUTE, start_time="", end_time="")


class Way(NamedTuple):
    """A way to rotate: for each rotation whether it ends the previous secrets at once; the key lives for so long."""

    at_once: tuple[bool, ...]
    lifetime: timedelta = timedelta(days=30)


WAYS = {
    "once": Way((False,)),
    "twice": Way((False, False)),
    "at once": Way((True,)),
    "twice, then at once": Way((False, True)),
    "near its expiry": Way((False,), timedelta(minutes=10)),
    "twice near its expiry": Way((False, False), timedelta(minutes=10)),
}


@dataclass(kw_only=True)
class Scene:
    """A key with a past, between two others of its developer, and what was done to it."""

    replica: Replica
    limiter: Limiter
    clock: Clock
    alice: DeveloperId
    asked: CreateKey
    way: Way
    first: Issued
    moments: list[datetime] = field(default_factory=list)
    rotated: list[Issued] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """All secrets that the key ever had, oldest first."""
        return [issued.secret.reveal() for issued in (self.first, *self.rotated)]

    async def rotate(self) -> None:
        """Rotate the key in its way, a minute before each time."""
        for at_once in self.way.at_once:
            await self.clock.advance(_MINUTE)
            self.moments.append(await self.clock.now())
            wanted = rotation(self.first.key.id, expire_previous_now=at_once)
            self.rotated.append(await self.replica.keys.rotate(acting(self.alice), wanted))

    def ends(self) -> list[datetime | None]:
        """Say when each secret must end: after its grace, with the key, or at once; the newest one never."""
        ends: list[datetime | None] = [None]
        for moment, at_once in zip(self.moments, self.way.at_once, strict=True):
            expiry = self.first.key.expires_at
            assert expiry
            ends[-1] = min(moment + GRACE, expiry)
            ends = [min(end, moment) if at_once and end else end for end in ends] + [None]
        return ends

    def live(self) -> list[str]:
        """Return the secrets that must work now."""
        now = max(self.moments)
        return [text for text, end in zip(self.texts, self.ends(), strict=True) if end is None or now < end]


Sight = dict[str, Any]


async def see(scene: Scene) -> Sight:
    """Look at everything, as owner, as verifier and in the database, and use nothing."""
    keys, database, key_id = scene.replica.keys, scene.replica.database, scene.first.key.id
    key, listed = await keys.get(scene.alice, key_id), (await keys.list(scene.alice, 100, ""))[0]
    answers = [await scene.replica.ask(text, PEEK) for text in scene.texts]
    entry = answers[-1].entry
    assert entry
    known = entry.key
    windows = [await scene.limiter.peek([claim], 0) for claim in entry.claims]
    limits = await LimitService(database, scene.limiter, clock=lambda: 0.0).get(scene.alice)
    events = "SELECT action, details->>'version' FROM audit_events WHERE target_id = $1 ORDER BY created_at"
    secrets = await database.fetch("SELECT * FROM api_key_secrets WHERE key_id = $1 ORDER BY version", key_id)
    replayed = await keys.create(acting(scene.alice), scene.asked)
    return {
        "id": (key.id, known.key_id),
        "developer": (key.developer_id, known.developer_id),
        "name": key.name,
        "environment": (key.environment, known.environment),
        "scopes": (key.scopes, known.scopes),
        "expiry": (key.expires_at, known.expires_at),
        "revocation": (key.revoked_at, known.revoked),
        "creation": key.created_at,
        "place in lists": [each.id for each in listed],
        "rate override": (known.rate, limits.key_rates),
        "window of the key": windows[0],
        "window of the developer": windows[1],
        "tier": (limits.tier, known.developer_rate),
        "quota": (limits.quota_used, known.units_used, answers[-1].quota_left),
        "live keys": limits.live_keys,
        "counted calls": (await UsageReports(database).of_key(key_id, _MINUTES)).totals,
        "last use of the key": key.last_used_at,
        "scopes needed": dict(await database.fetchrow(_NEEDED, key_id) or {}),
        "audit trail": [tuple(row) for row in await database.fetch(events, key_id)],
        "answer to the creation's request id": (replayed.key, replayed.secret.reveal()),
        "end of the current secret": (known.secret_expires_at, known.secret_retired_at),
        "ends of the secrets": [row["expires_at"] for row in secrets],
        "retirement of the secrets": [(row["retired_at"], row["retired_for"]) for row in secrets],
        "what the secrets open": [answer.verdict for answer in answers],
        "prefix": {key.key_prefix, known.key_prefix, *(each.key_prefix for each in listed if each.id == key_id)},
        "secret": secrets[-1]["digest"],
        "pepper": secrets[-1]["pepper_version"],
        "secret_version": [*(row["version"] for row in secrets), known.secret_version],
        "age of the secret": secrets[-1]["created_at"],
        "use of the secret": (secrets[-1]["last_used_at"], secrets[-1]["last_client_ip"]),
    }


async def set_scene(replica: Replica, clock: Clock, alice: DeveloperId, way: Way) -> Scene:
    """Make a key and give it a past: settings of its own, calls of all kinds, and neighbours."""
    database, now = replica.database, datetime.now(UTC)
    await clock.set(now)
    await database.execute("UPDATE tiers SET developer_requests = 50, monthly_quota = 1000, max_keys = 3")
    limiter = LocalLimiter(clock=lambda: 10**18)  # whose time stands, so that windows compare to the nanosecond
    replica.verification = VerificationService(replica.cache, limiter, replica.counters, CollectorRegistry())
    asked = CreateKey(
        name="Production, Europe",
        scopes=("read", "stream"),
        environment=Environment.TEST,
        expires_at=(now + way.lifetime).isoformat(),
        request_id=str(uuid4()),
    )
    await replica.keys.create(acting(alice), wish("older"))
    first = await replica.keys.create(acting(alice), asked)
    await replica.keys.create(acting(alice), wish("newer"))
    key_id, text = first.key.id, first.secret.reveal()
    await database.execute("UPDATE api_keys SET rate_requests = $2, rate_seconds = 3600 WHERE id = $1", key_id, LIMIT)
    await replica.hear_everything()
    for question in [USE] * USED + [Question(environment="live"), Question(required_scopes=("write",))]:
        await replica.verification.verify(Presented(text, question, client_ip="203.0.113.7"))
    counted = meter(database, replica.counters)
    await counted.flush()
    await counted.note_uses()
    digest = PEPPERS.digest(first.secret, 1)
    await database.execute(
        "UPDATE api_key_secrets SET digest = $2, pepper_version = 1 WHERE key_id = $1", key_id, digest
    )
    return Scene(replica=replica, limiter=limiter, clock=clock, alice=alice, asked=asked, way=way, first=first)
