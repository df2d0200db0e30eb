"""What becomes of all there is about a key when its secret is rotated: kept, narrowed or deliberately reset, and why.

The table is the promise. Each row is checked against the service before and after every way to rotate.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from typing import NamedTuple
from uuid import uuid4

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from server.errors import Conflict
from server.ids import DeveloperId
from server.limits import shared
from server.limits.model import Claim
from server.limits.service import LocalLimiter
from server.limits.shared import SharedLimiter
from server.secret import prefix_of
from server.verification.cache import Entry
from server.verification.service import Answer, VerificationService
from server.verification.verdict import Verdict
from tests.database import Clock
from tests.integration.keys.vault import PEPPERS, acting, column, rotation
from tests.integration.metering.meter import meter
from tests.integration.verification.platform import Replica
from tests.integration.verification.rotations import LIMIT, PEEK, USE, USED, WAYS, Scene, Sight, Way, see, set_scene
from tests.valkey import Valkey

MICROSECOND = timedelta(microseconds=1)
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


class Fate(Enum):
    """What a rotation does to a thing."""

    KEPT = "stays as it was; a trail is added to"
    NARROWED = "grants less than before"
    RESET = "begins anew, on purpose"


class Row(NamedTuple):
    """What becomes of one thing and why, and the columns that hold it, of api_keys or, after a `.`, of its secrets."""

    fate: Fate
    why: str
    columns: str = ""


KEPT, NARROWED, RESET = Fate
MATRIX = {
    "id": Row(KEPT, "clients, logs and bills know the key by it", "id .key_id"),
    "developer": Row(KEPT, "a key never changes hands", "developer_id"),
    "name": Row(KEPT, "it names the use, not the secret", "name"),
    "environment": Row(KEPT, "it was set at creation", "environment"),
    "scopes": Row(KEPT, "they are never widened", "scopes"),
    "expiry": Row(KEPT, "a rotation prolongs no life", "expires_at"),
    "revocation": Row(KEPT, "only its owner ends a key, and nobody revives one", "revoked_at"),
    "creation": Row(KEPT, "the key is as old as it is", "created_at"),
    "place in lists": Row(KEPT, "pages stay in step"),
    "rate override": Row(KEPT, "it was granted to the key", "rate_requests rate_seconds"),
    "window of the key": Row(KEPT, "or rotating would double the limit"),
    "window of the developer": Row(KEPT, "all keys and secrets share it"),
    "tier": Row(KEPT, "it is the developer's"),
    "quota": Row(KEPT, "it is the developer's month"),
    "live keys": Row(KEPT, "a rotation makes no key: it works at the maximum"),
    "counted calls": Row(KEPT, "billing is by key"),
    "last use of the key": Row(KEPT, "whichever secret is used, the key is", "last_used_at"),
    "scopes needed": Row(KEPT, "calls needed them, whichever secret they came with", "needed_scopes"),
    "audit trail": Row(KEPT, "history is only added to"),
    "answer to the creation's request id": Row(KEPT, "a retry is told what the first try was, and makes no second key"),
    "end of the current secret": Row(KEPT, "it has none but the key's"),
    "ends of the secrets": Row(NARROWED, "grace counts from its own rotation and ends with the key", ".expires_at"),
    "retirement of the secrets": Row(
        NARROWED, "users are told since when there is a better one", ".retired_at .retired_for"
    ),
    "what the secrets open": Row(NARROWED, "what has ended opens nothing"),
    "prefix": Row(RESET, "it tells which secret is in use", "key_prefix .key_prefix"),
    "secret": Row(RESET, "the point of it all", ".digest"),
    "pepper": Row(RESET, "new secrets are digested under the current one", ".pepper_version"),
    "secret_version": Row(RESET, "each secret has its number", ".version"),
    "age of the secret": Row(RESET, "it is new", ".created_at"),
    "use of the secret": Row(RESET, "so its owner sees who still has to move", ".last_used_at .last_client_ip"),
}


def foretold(before: Sight, scene: Scene) -> Sight:
    """Say what must be seen after the rotations: what was seen before, but for this."""
    versions = range(1, len(scene.texts) + 1)
    secret = scene.rotated[-1].secret
    return before | {
        "audit trail": before["audit trail"] + [("key.rotated", str(version)) for version in versions[1:]],
        "ends of the secrets": scene.ends(),
        "retirement of the secrets": [*((moment, scene.alice) for moment in scene.moments), (None, None)],
        "what the secrets open": [
            Verdict.VALID if text in scene.live() else Verdict.ROTATED_OUT for text in scene.texts
        ],
        "prefix": {prefix_of(secret)},
        "secret": PEPPERS.digest(secret, PEPPERS.current),
        "pepper": PEPPERS.current,
        "secret_version": [*versions, versions[-1]],
        "age of the secret": scene.moments[-1],
        "use of the secret": (None, None),
    }


def broken(before: Sight, after: Sight, scene: Scene) -> set[str]:
    """Name the rows that do not hold."""
    expected = foretold(before, scene)
    return {what for what in MATRIX if after[what] != expected[what]}


@pytest.fixture
def way() -> Way:
    """How a test rotates that does not try every way."""
    return WAYS["once"]


@pytest_asyncio.fixture(loop_scope="session")
async def scene(one: Replica, clock: Clock, alice: DeveloperId, way: Way) -> Scene:
    """A key that was used and is not rotated yet."""
    return await set_scene(one, clock, alice, way)


@ways
async def test_a_rotation_carries_over_what_the_table_says(scene: Scene, way: Way) -> None:
    before = await see(scene)

    await scene.rotate()
    after = await see(scene)

    assert broken(before, after, scene) == set()
    changed = {what for what in after if after[what] != before[what]}
    assert changed == {what for what, row in MATRIX.items() if row.fate is not KEPT} | {"audit trail"}
    assert before.keys() == after.keys() == MATRIX.keys()


async def test_nothing_about_a_key_is_left_undecided(scene: Scene) -> None:
    columns = await column(
        scene.replica.database,
        "SELECT CASE table_name WHEN 'api_keys' THEN '' ELSE '.' END || column_name FROM information_schema.columns"
        " WHERE table_name IN ('api_keys', 'api_key_secrets')",
    )

    assert sorted(map(str, columns)) == sorted(name for row in MATRIX.values() for name in row.columns.split())


TAMPERING = {
    "name": "UPDATE api_keys SET name = 'Other'",
    "environment": "UPDATE api_keys SET environment = 'live'",
    "scopes": "UPDATE api_keys SET scopes = '{read}'",
    "expiry": "UPDATE api_keys SET expires_at = NULL",
    "creation": "UPDATE api_keys SET created_at = created_at - interval '1 second'",
    "place in lists": "UPDATE api_keys SET created_at = clock() WHERE id = $1",
    "rate override": "UPDATE api_keys SET rate_requests = NULL, rate_seconds = NULL",
    "last use of the key": "UPDATE api_keys SET last_used_at = NULL",
    "scopes needed": "UPDATE api_keys SET needed_scopes = '{}'",
    "counted calls": "DELETE FROM usage_minutes",
    "quota": "DELETE FROM usage_months",
    "audit trail": "DELETE FROM audit_events",
    "secret_version": "UPDATE api_key_secrets SET version = version + 10",
    "ends of the secrets": "UPDATE api_key_secrets SET expires_at = expires_at + interval '1 second'",
}


async def test_the_table_notices_what_is_lost_in_a_rotation(scene: Scene) -> None:
    before = await see(scene)
    await scene.rotate()

    for what, statement in TAMPERING.items():
        await scene.replica.database.execute(statement, *([scene.first.key.id] if "$1" in statement else []))
        assert what in broken(before, await see(scene), scene)


def forget_whose_calls_they_were(monkeypatch: pytest.MonkeyPatch, replica: Replica) -> None:
    """Make a mistake that others have made: give every secret a window of its own."""
    read = replica.cache._read

    async def read_for_secret(text: str) -> Entry | None:
        entry = await read(text)
        if entry is None:
            return None
        (window, rate), developer = entry.claims
        return replace(entry, claims=(Claim(window + b"#%d" % entry.key.secret_version, rate), developer))

    monkeypatch.setattr(replica.cache, "_read", read_for_secret)


async def use_up(replica: Replica, texts: Sequence[str]) -> list[Answer]:
    """Call twice as often as the limit allows, with each secret in turn."""
    return [await replica.ask(text, USE) for _ in range(2 * LIMIT) for text in texts]


def let_in(answers: Sequence[Answer]) -> int:
    assert {answer.verdict for answer in answers} <= {Verdict.VALID, Verdict.RATE_LIMITED}
    return sum(answer.verdict is Verdict.VALID for answer in answers)


@ways
async def test_a_rotation_in_the_middle_of_a_window_leaves_what_was_left_of_it(scene: Scene, way: Way) -> None:
    await scene.rotate()

    answers = await use_up(scene.replica, scene.live())

    assert let_in(answers) == LIMIT - USED


@ways
async def test_a_used_up_window_stays_used_up(scene: Scene, way: Way) -> None:
    old = await use_up(scene.replica, scene.texts)

    await scene.rotate()
    new = await use_up(scene.replica, scene.live())

    assert let_in(new) == 0
    assert {answer.decision for answer in new} == {old[-1].decision}  # nor does anybody wait longer


async def test_a_window_for_each_secret_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_whose_calls_they_were(monkeypatch, scene.replica)
    await scene.replica.ask(scene.texts[0], USE._replace(fresh=True))
    before = await see(scene)

    await scene.rotate()

    assert broken(before, await see(scene), scene) == {"window of the key"}
    assert let_in(await use_up(scene.replica, scene.live())) > LIMIT


@ways
async def test_servers_that_share_their_limits_give_no_fresh_window_either(
    scene: Scene, other: Replica, valkey: Valkey, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_BUDGET_SECONDS", 10.0)  # so that a slow machine does not make them decide alone
    used = scene.replica
    limiters = [SharedLimiter(valkey.url, LocalLimiter(), CollectorRegistry()) for _ in range(2)]
    for replica, limiter in zip((used, other), limiters, strict=True):
        await limiter.open()
        replica.verification = VerificationService(replica.cache, limiter, replica.counters, CollectorRegistry())
    before = let_in(await use_up(used, scene.texts))

    await scene.rotate()
    after = let_in(await use_up(other, scene.live()))
    for limiter in limiters:
        await limiter.close()

    assert (before, after) == (LIMIT, 0)


@ways
async def test_every_secret_works_until_its_end_and_no_longer(scene: Scene, clock: Clock, way: Way) -> None:
    await scene.rotate()
    expiry = scene.first.key.expires_at
    assert expiry
    ends = [end or expiry for end in scene.ends()]

    for moment in sorted({end for end in ends if end > max(scene.moments)}):
        for now in (moment - MICROSECOND, moment):
            await clock.set(now)
            verdicts = [await scene.replica.verdict(text, PEEK) for text in scene.texts]
            over = Verdict.EXPIRED if now >= expiry else Verdict.ROTATED_OUT
            assert verdicts == [Verdict.VALID if now < end else over for end in ends]


async def test_old_and_new_secret_are_counted_as_one_key(scene: Scene) -> None:
    before = await see(scene)
    await scene.rotate()

    for text in scene.texts:
        await scene.replica.verdict(text, USE)
    counted = meter(scene.replica.database, scene.replica.counters)
    await counted.flush()
    await counted.note_uses()
    after = await see(scene)

    old, new = before["counted calls"], after["counted calls"]
    assert (new.calls - old.calls, new.units - old.units) == (2, 2)
    assert after["quota"][0] - before["quota"][0] == 2
    assert after["last use of the key"] > before["last use of the key"]
    versions = "SELECT secret_version FROM usage_minutes WHERE outcome = 'valid' GROUP BY 1 ORDER BY 1"
    assert await column(scene.replica.database, versions) == [1, 2]


async def test_a_rotation_that_is_sent_again_is_one_rotation(scene: Scene) -> None:
    key_id, request_id = scene.first.key.id, str(uuid4())
    await scene.clock.advance(timedelta(minutes=1))
    tries = []
    for _ in range(3):
        tries.append(await scene.replica.keys.rotate(acting(scene.alice), rotation(key_id, request_id=request_id)))
        await scene.clock.advance(timedelta(minutes=1))

    after = await see(scene)

    assert len({issued.secret.reveal() for issued in tries}) == 1
    assert len({issued.previous_expires_at for issued in tries}) == 1
    assert [event for event, _ in after["audit trail"]] == ["key.created", "key.rotated"]
    assert after["ends of the secrets"] == [tries[0].previous_expires_at, None]


async def test_a_rotation_revives_nothing(scene: Scene, alice: DeveloperId) -> None:
    replica, key_id, texts = scene.replica, scene.first.key.id, scene.texts
    suspend = "UPDATE developers SET suspended_at = clock() WHERE id = $1"

    await replica.database.execute(suspend, alice)
    rotated = await replica.keys.rotate(acting(alice), rotation(key_id))
    texts.append(rotated.secret.reveal())
    assert [await replica.verdict(text, PEEK) for text in texts] == [Verdict.DEVELOPER_SUSPENDED] * 2

    assert scene.first.key.expires_at
    await scene.clock.set(scene.first.key.expires_at)
    with pytest.raises(Conflict):
        await replica.keys.rotate(acting(alice), rotation(key_id))
    assert await replica.verdict(texts[1], PEEK) is Verdict.EXPIRED

    await replica.keys.revoke(acting(alice), key_id)
    with pytest.raises(Conflict):
        await replica.keys.rotate(acting(alice), rotation(key_id, expire_previous_now=True))
    assert [await replica.verdict(text, PEEK) for text in texts] == [Verdict.REVOKED] * 2
