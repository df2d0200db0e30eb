"""How soon a change on one server is seen on another, whatever happens in between."""

import asyncio
import time
from statistics import quantiles

import pytest

from server.errors import Conflict
from server.ids import DeveloperId
from server.keys.service import RotateKey, UpdateKey
from server.postgres.pool import Database
from server.verification.cache import LIFETIME_SECONDS, Entry
from server.verification.model import Presented, Question
from server.verification.replicas import Replicas
from server.verification.verdict import Verdict
from tests.integration.verification.platform import Replica, new_key


async def refused_after(replica: Replica, secret: str, *, within: float) -> float:
    """Ask until the key is refused; return the seconds it took."""
    started = time.monotonic()
    while await replica.verdict(secret, Question(explain=True)) is Verdict.VALID:
        assert time.monotonic() - started < within, "a revoked key is still accepted"
        await asyncio.sleep(0.001)
    return time.monotonic() - started


async def test_a_revocation_is_seen_on_the_other_server_within_a_second(
    one: Replica, other: Replica, alice: DeveloperId
) -> None:
    delays = []
    for _ in range(100):
        key_id, secret, actor = await new_key(one, alice)
        assert await other.verdict(secret) is Verdict.VALID
        await one.keys.revoke(actor, key_id)
        delays.append(await refused_after(other, secret, within=LIFETIME_SECONDS))

    assert quantiles(delays, n=100)[98] <= 1.0


async def test_whoever_changes_a_row_is_heard(
    one: Replica, other: Replica, alice: DeveloperId, database: Database
) -> None:
    """Even an operator with a SQL prompt, because the triggers tell and not the service."""
    key_id, secret, _ = await new_key(one, alice)
    changes = [
        ("UPDATE api_keys SET rate_requests = 7, rate_seconds = 60 WHERE id = $1", key_id, Verdict.VALID),
        ("UPDATE developers SET suspended_at = clock() WHERE id = $1", alice, Verdict.DEVELOPER_SUSPENDED),
        ("UPDATE developers SET suspended_at = NULL WHERE id = $1", alice, Verdict.VALID),
        ("UPDATE api_keys SET expires_at = clock() WHERE id = $1", key_id, Verdict.EXPIRED),
    ]

    for statement, argument, verdict in changes:
        await other.verdict(secret)
        await database.execute(statement, argument)
        await one.hear_everything()
        assert await other.verdict(secret) is verdict


async def test_use_of_a_key_is_no_change(one: Replica, alice: DeveloperId, database: Database) -> None:
    key_id, secret, _ = await new_key(one, alice)
    await one.hear_everything()
    await one.verdict(secret)
    reads = one.cache.misses

    await database.execute("UPDATE api_keys SET last_used_at = clock() WHERE id = $1", key_id)
    await database.execute("UPDATE api_key_secrets SET last_used_at = clock() WHERE key_id = $1", key_id)
    await one.hear_everything()
    await one.verdict(secret)

    assert one.cache.misses == reads


async def test_a_new_expiry_and_a_rotation_are_seen(one: Replica, other: Replica, alice: DeveloperId) -> None:
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID

    await one.keys.rotate(actor, RotateKey(id=key_id, expire_previous_now=False, request_id=""))
    await one.hear_everything()
    entry = (await other.ask(secret)).entry
    assert entry is not None
    assert entry.key.secret_expires_at is not None

    wish = UpdateKey(id=key_id, name="", expires_at="2999-01-01T00:00:00Z", paths=("expires_at",))
    await one.keys.update(actor, wish)
    await one.hear_everything()
    entry = (await other.ask(secret)).entry
    assert entry is not None
    assert entry.key.expires_at is not None


async def test_a_waiting_revocation_returns_when_nobody_accepts_the_key_any_more(
    one: Replica, other: Replica, alice: DeveloperId
) -> None:
    for _ in range(30):
        key_id, secret, actor = await new_key(one, alice)
        assert await other.verdict(secret) is Verdict.VALID

        await one.keys.revoke(actor, key_id, wait=True)

        assert await other.verdict(secret) is Verdict.REVOKED


async def test_who_asks_again_waits_as_well_before_the_conflict_is_told(
    one: Replica, other: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lost answer would lose what it promised."""
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID
    forget = other.cache.forget
    monkeypatch.setattr(other.cache, "forget", lambda changed: None)  # the first notice does not arrive
    await one.keys.revoke(actor, key_id)
    monkeypatch.setattr(other.cache, "forget", forget)

    async def late(self: Replicas, token: str) -> None:
        await asyncio.sleep(0.3)
        forget("*")
        await confirm(self, token)

    confirm = Replicas._confirm
    monkeypatch.setattr(Replicas, "_confirm", late)
    with pytest.raises(Conflict):
        await one.keys.revoke(actor, key_id, wait=True)

    assert await other.verdict(secret) is Verdict.REVOKED


async def test_waiting_takes_no_longer_than_the_answers(one: Replica, other: Replica, alice: DeveloperId) -> None:
    key_id, _, actor = await new_key(one, alice)

    async with asyncio.timeout(2.0):
        await one.keys.revoke(actor, key_id, wait=True)


async def test_a_silent_server_is_waited_for_until_it_can_remember_nothing(
    one: Replica, other: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: Replicas, token: str) -> None:
        """Hear, but never confirm."""

    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID
    monkeypatch.setattr(Replicas, "_confirm", silent)
    started = time.monotonic()

    await one.keys.revoke(actor, key_id, wait=True)

    assert LIFETIME_SECONDS - 0.1 <= time.monotonic() - started < LIFETIME_SECONDS + 1
    assert await other.verdict(secret) is Verdict.REVOKED


async def test_a_server_that_is_gone_is_not_waited_for(one: Replica, alice: DeveloperId, database: Database) -> None:
    await database.execute("INSERT INTO replicas VALUES ('long gone', clock() - interval '5 seconds')")
    key_id, _, actor = await new_key(one, alice)

    async with asyncio.timeout(2.0):
        await one.keys.revoke(actor, key_id, wait=True)


async def _kill_listeners(database: Database) -> None:
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query IN ('SELECT 1', 'LISTEN \"verification\"',"
        " 'LISTEN \"verification_confirmed\"') AND pid <> pg_backend_pid()"
    )


async def test_a_killed_listener_empties_the_cache_and_comes_back(
    one: Replica, other: Replica, alice: DeveloperId, database: Database
) -> None:
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID

    await _kill_listeners(database)
    await one.keys.revoke(actor, key_id)

    assert await refused_after(other, secret, within=LIFETIME_SECONDS) <= 1.5
    assert await other.listener.wait_connected(5)
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID
    await one.keys.revoke(actor, key_id, wait=True)
    assert await other.verdict(secret) is Verdict.REVOKED


async def test_without_its_ears_a_server_forgets_within_its_lifetime_alone(
    one: Replica, other: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound that holds when a notice is lost on its way and nobody knows."""
    key_id, secret, actor = await new_key(one, alice)
    assert await other.verdict(secret) is Verdict.VALID
    monkeypatch.setattr(other.cache, "forget", lambda changed: None)

    await one.keys.revoke(actor, key_id)

    took = await refused_after(other, secret, within=LIFETIME_SECONDS + 0.5)
    assert took > 1.0, "the notice was not lost: this test shows nothing"


async def test_a_read_that_began_before_a_revocation_is_not_remembered_after_it(
    one: Replica, other: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, secret, actor = await new_key(one, alice)
    await one.hear_everything()
    was_read, go_on = asyncio.Event(), asyncio.Event()
    read = other.cache._read

    async def slow_read(text: str) -> Entry | None:
        entry = await read(text)
        was_read.set()
        await go_on.wait()
        return entry

    monkeypatch.setattr(other.cache, "_read", slow_read)
    asking = asyncio.create_task(other.verdict(secret))
    await was_read.wait()
    await one.keys.revoke(actor, key_id, wait=True)
    go_on.set()

    assert await asking is Verdict.REVOKED, "accepted after the revocation was said to be everywhere"
    assert await other.verdict(secret) is Verdict.REVOKED


async def test_a_batch_tells_nothing_that_changed_while_others_were_read(
    one: Replica, other: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, doomed, actor = await new_key(one, alice)
    _, slow, _ = await new_key(one, alice)
    await one.hear_everything()
    was_read, go_on = asyncio.Event(), asyncio.Event()
    read = other.cache._read

    async def slow_read(text: str) -> Entry | None:
        if text == slow:
            was_read.set()
            await go_on.wait()
        return await read(text)

    monkeypatch.setattr(other.cache, "_read", slow_read)
    batch = [Presented(doomed, Question()), Presented(slow, Question())]
    asking = asyncio.create_task(other.verification.verify_all(batch))
    await was_read.wait()
    await one.keys.revoke(actor, key_id, wait=True)
    go_on.set()

    assert [answer.verdict for answer in await asking] == [Verdict.REVOKED, Verdict.VALID]
