"""The lifecycle of keys against a model of a few lines: whatever two developers do, and in whatever order.

The machine runs in a thread with an event loop and a pool of its own, since Hypothesis drives it from outside of any.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from server.errors import Conflict, Error, InvalidRequest, NotFound
from server.ids import DeveloperId
from server.keys.model import ApiKey, Environment, Status
from server.keys.replay import Issued
from server.keys.service import CreateKey, KeyService, UpdateKey
from server.postgres.errors import ConstraintViolation
from server.postgres.pool import Database
from server.secret import Secret, prefix_of
from server.times import format_time
from tests.database import Clock
from tests.integration.keys.vault import GRACE, acting, key_service, register, rotation, works

T = TypeVar("T")
START = datetime(2030, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
STEPS = st.sampled_from([MICROSECOND, timedelta(minutes=15), GRACE - MICROSECOND, GRACE, timedelta(days=1)])
LIFETIMES = st.none() | st.sampled_from([MICROSECOND, timedelta(minutes=15), GRACE, timedelta(days=1)])
OWNERS = st.sampled_from([0, 1])
TABLES = "developers, api_keys, api_key_secrets, request_ids, audit_events"


@dataclass(eq=False)
class ModelSecret:
    """A secret that was issued once; `ends_at` None while it is the current one."""

    secret: Secret
    ends_at: datetime | None = None


@dataclass(eq=False)
class ModelKey:
    """What a key should be."""

    id: str
    owner: int
    name: str
    scopes: tuple[str, ...]
    environment: Environment
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = None
    secrets: list[ModelSecret] = field(default_factory=list)

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def lives(self, secret: ModelSecret, now: datetime) -> bool:
        ended = secret.ends_at is not None and secret.ends_at <= now
        return not ended and self.revoked_at is None and not self.expired(now)

    def retiring(self, now: datetime) -> int:
        return sum(secret.ends_at is None or now < secret.ends_at for secret in self.secrets)


@dataclass(frozen=True)
class World:
    """What outlives one run of the machine: the loop, the database in it, the service over that."""

    run: Callable[[Awaitable[object]], object]
    database: Database
    clock: Clock
    keys: KeyService


class Lifecycle(RuleBasedStateMachine):
    """Does things to keys, and to the model."""

    world: World
    made = Bundle("made")

    @initialize(target=made, lifetime=LIFETIMES)
    def begin(self, lifetime: timedelta | None) -> MultipleResults[ModelKey]:
        self.now = START
        self.keys: list[ModelKey] = []
        self.developers: list[DeveloperId] = self.run(self._begin())
        return multiple(*(self._create(owner, "first", ("read",), None, lifetime) for owner in (0, 1)))

    async def _begin(self) -> list[DeveloperId]:
        await self.world.database.execute(f"TRUNCATE {TABLES} CASCADE")
        await self.world.clock.set(self.now)
        return [await register(self.world.database, name) for name in ("alice", "bob")]

    def run(self, work: Awaitable[T]) -> T:
        return self.world.run(work)  # type: ignore[return-value]

    def refused(self, kind: type[Error], work: Awaitable[object]) -> None:
        try:
            self.run(work)
        except kind:
            return
        raise AssertionError(f"should have been refused as {kind.__name__}")

    def actor(self, key: ModelKey) -> DeveloperId:
        return self.developers[key.owner]

    @rule(
        target=made,
        owner=OWNERS,
        name=st.sampled_from(["Production", "Café", "مفتاح"]),
        scopes=st.sampled_from([("read",), ("stream", "read")]),
        environment=st.sampled_from([None, Environment.LIVE]),
        lifetime=LIFETIMES,
    )
    def create(
        self,
        owner: int,
        name: str,
        scopes: tuple[str, ...],
        environment: Environment | None,
        lifetime: timedelta | None,
    ) -> ModelKey:
        return self._create(owner, name, scopes, environment, lifetime)

    def _create(
        self,
        owner: int,
        name: str,
        scopes: tuple[str, ...],
        environment: Environment | None,
        lifetime: timedelta | None,
    ) -> ModelKey:
        expires_at = None if lifetime is None else self.now + lifetime
        wish = CreateKey(
            name=name, scopes=scopes, environment=environment, expires_at=format_time(expires_at), request_id=""
        )
        issued = self.run(self.world.keys.create(acting(self.developers[owner]), wish))
        key = ModelKey(
            id=issued.key.id,
            owner=owner,
            name=name,
            scopes=scopes,
            environment=environment or Environment.TEST,
            created_at=self.now,
            expires_at=expires_at,
        )
        key.secrets.append(ModelSecret(issued.secret))
        self.keys.append(key)
        return key

    @rule(owner=OWNERS, ago=st.sampled_from([timedelta(0), MICROSECOND, timedelta(days=1)]))
    def create_expired(self, owner: int, ago: timedelta) -> None:
        expires_at = format_time(self.now - ago)
        wish = CreateKey(name="late", scopes=("read",), environment=None, expires_at=expires_at, request_id="")
        self.refused(InvalidRequest, self.world.keys.create(acting(self.developers[owner]), wish))

    @rule(key=made, name=st.sampled_from(["renamed", "née"]))
    def rename(self, key: ModelKey, name: str) -> None:
        work = self.world.keys.update(
            acting(self.actor(key)), UpdateKey(id=key.id, name=name, expires_at="", paths=None)
        )
        if key.revoked_at is not None:
            return self.refused(Conflict, work)
        self.run(work)
        key.name = name
        return None

    @rule(key=made, lifetime=LIFETIMES)
    def change_expiry(self, key: ModelKey, lifetime: timedelta | None) -> None:
        expires_at = None if lifetime is None else self.now + lifetime
        change = UpdateKey(id=key.id, name="ignored", expires_at=format_time(expires_at), paths=("expires_at",))
        work = self.world.keys.update(acting(self.actor(key)), change)
        if key.revoked_at is not None or key.expired(self.now):
            return self.refused(Conflict, work)
        self.run(work)
        key.expires_at = expires_at
        return None

    @rule(key=made, times=st.integers(1, 6))
    def rotate_often(self, key: ModelKey, times: int) -> None:
        for _ in range(times):
            self.rotate_once(key, at_once=False)

    @rule(key=made, at_once=st.booleans())
    def rotate(self, key: ModelKey, at_once: bool) -> None:
        self.rotate_once(key, at_once=at_once)

    def rotate_once(self, key: ModelKey, *, at_once: bool) -> None:
        work = self.world.keys.rotate(acting(self.actor(key)), rotation(key.id, expire_previous_now=at_once))
        dead = key.revoked_at is not None or key.expired(self.now)
        if dead or (not at_once and key.retiring(self.now) >= 5):
            return self.refused(Conflict, work)
        self._rotated(key, self.run(work), at_once=at_once)
        return None

    def _rotated(self, key: ModelKey, issued: Issued, *, at_once: bool) -> None:
        if at_once:
            deadline = self.now
            for secret in key.secrets:
                secret.ends_at = min(secret.ends_at or deadline, deadline)
        else:
            deadline = min(self.now + GRACE, key.expires_at or datetime.max.replace(tzinfo=UTC))
            key.secrets[-1].ends_at = deadline
        assert issued.previous_expires_at == deadline
        key.secrets.append(ModelSecret(issued.secret))

    @rule(key=made)
    def revoke(self, key: ModelKey) -> None:
        work = self.world.keys.revoke(acting(self.actor(key)), key.id)
        if key.revoked_at is not None:
            return self.refused(Conflict, work)
        self.run(work)
        key.revoked_at = self.now
        for secret in key.secrets:
            secret.ends_at = min(secret.ends_at or self.now, self.now)
        return None

    @rule(key=made)
    def try_to_bring_back(self, key: ModelKey) -> None:
        if key.revoked_at is None:
            return
        try:
            self.run(self.world.database.execute("UPDATE api_keys SET revoked_at = NULL WHERE id = $1", key.id))
        except ConstraintViolation:
            return
        raise AssertionError("a revoked key came back")

    @rule(key=made)
    def meddle_as_the_other_developer(self, key: ModelKey) -> None:
        other = acting(self.developers[1 - key.owner])
        change = UpdateKey(id=key.id, name="mine", expires_at="", paths=None)
        self.refused(NotFound, self.world.keys.get(other.developer_id, key.id))
        self.refused(NotFound, self.world.keys.update(other, change))
        self.refused(NotFound, self.world.keys.rotate(other, rotation(key.id)))
        self.refused(NotFound, self.world.keys.revoke(other, key.id))

    @rule(key=made, until=st.sampled_from([timedelta(0), MICROSECOND]))
    def a_deadline_comes(self, key: ModelKey, until: timedelta) -> None:
        """Stop at, or right before, the next moment at which the key or one of its secrets ends."""
        ends = [end for end in (key.expires_at, *(secret.ends_at for secret in key.secrets)) if end is not None]
        moment = min((end for end in ends if end > self.now), default=self.now) - until
        self._wait(max(moment - self.now, timedelta(0)))

    @rule(by=STEPS)
    def time_passes(self, by: timedelta) -> None:
        self._wait(by)

    def _wait(self, by: timedelta) -> None:
        self.now += by
        self.run(self.world.clock.advance(by))

    @rule(owner=OWNERS, size=st.integers(1, 4))
    def scan(self, owner: int, size: int) -> None:
        seen: list[ApiKey] = []
        token = ""
        while token or not seen:
            page, token = self.run(self.world.keys.list(self.developers[owner], size, token))
            assert len(page) == size or not token
            seen += page
            if not token:
                break
        assert [key.id for key in seen] == self._newest_first(owner)

    def _newest_first(self, owner: int) -> list[str]:
        mine = [key for key in self.keys if key.owner == owner]
        return [key.id for key in sorted(mine, key=lambda key: (key.created_at, key.id), reverse=True)]

    @invariant()
    def keys_are_what_they_should_be(self) -> None:
        for key in self.keys:
            stored = self.run(self.world.keys.get(self.actor(key), key.id))
            assert stored == ApiKey(
                id=stored.id,
                developer_id=self.actor(key),
                name=key.name,
                environment=key.environment,
                scopes=key.scopes,
                key_prefix=prefix_of(key.secrets[-1].secret),
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
                last_used_at=None,
            )
            assert stored.status is (Status.ACTIVE if key.revoked_at is None else Status.REVOKED)

    @invariant()
    def secrets_work_when_they_should(self) -> None:
        issued = [(key, secret) for key in self.keys for secret in key.secrets]
        found = self.run(works(self.world.database, *(secret.secret for _, secret in issued)))
        assert found == [key.lives(secret, self.now) for key, secret in issued]
        assert all(sum(key.lives(secret, self.now) for secret in key.secrets) <= 5 for key in self.keys)
        prefixes = [prefix_of(secret.secret) for _, secret in issued]
        assert len(prefixes) == len(set(prefixes))


@contextmanager
def world(database_url: str) -> Iterator[World]:
    """Open the database in a new event loop."""
    loop = uvloop.new_event_loop()
    database = Database(database_url, budget=30.0)

    def run(work: Awaitable[object]) -> object:
        return loop.run_until_complete(asyncio.wait_for(work, 30.0))

    run(database.open())
    try:
        clock = loop.run_until_complete(Clock.install(database))
        yield World(run=run, database=database, clock=clock, keys=key_service(database))
    finally:
        run(database.close())
        loop.close()


def explore(database_url: str) -> None:
    """Run the machine; blocks for as long as that takes."""
    with world(database_url) as over:
        run_state_machine_as_test(
            type("LifecycleHere", (Lifecycle,), {"world": over}),
            settings=settings(
                max_examples=100,
                stateful_step_count=30,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )


async def test_keys_live_and_die_by_the_rules(database_url: str) -> None:
    await asyncio.to_thread(explore, database_url)
