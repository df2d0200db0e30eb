"""Rules of the key service that need a database: final revocation, drawn prefixes, peppers, page tokens."""

from datetime import datetime, timedelta

import pytest

from server.errors import Conflict, InvalidRequest, NotFound
from server.ids import DeveloperId
from server.keys import service as service_module
from server.keys.model import Environment
from server.keys.secret import draw
from server.keys.service import KeyService, UpdateKey
from server.peppers import Peppers
from server.postgres.errors import ConstraintViolation
from server.postgres.pool import Database
from server.secret import Secret
from tests.database import Clock
from tests.integration.keys.vault import GRACE, acting, column, key_service, rotation, wish, works


async def test_only_a_digest_under_the_current_pepper_is_kept(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    issued = await keys.create(acting(alice), wish())
    row = await database.fetchrow("SELECT digest, pepper_version FROM api_key_secrets")
    assert row
    assert row["pepper_version"] == 2
    assert await works(database, issued.secret) == [True]
    altered = Secret(issued.secret.reveal()[:-1] + ("A" if issued.secret.reveal()[-1] != "A" else "B"))
    assert await works(database, altered) == [False]


async def test_not_even_sql_brings_a_revoked_key_back(keys: KeyService, database: Database, alice: DeveloperId) -> None:
    key = (await keys.create(acting(alice), wish())).key
    revoked = await keys.revoke(acting(alice), key.id)
    for change in ("revoked_at = NULL", "revoked_at = clock()", "revoked_at = NULL, name = 'x'"):
        with pytest.raises(ConstraintViolation) as refusal:
            await database.execute(f"UPDATE api_keys SET {change} WHERE id = $1", key.id)
        assert refusal.value.constraint_name == "api_keys_revoked_for_ever"
    assert await keys.get(alice, key.id) == revoked


def _draws(monkeypatch: pytest.MonkeyPatch, *drawn: Secret) -> list[Secret]:
    """Let the service draw these secrets, one after another."""
    left = list(drawn)
    monkeypatch.setattr(service_module, "draw", lambda environment: left.pop(0))
    return left


async def test_a_taken_prefix_is_drawn_again(
    keys: KeyService, database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, fresh, other = (draw(Environment.TEST) for _ in range(3))
    request_id = "6f6f1c0e-3c5c-4b1e-9a63-5d0f6a0f8f11"
    _draws(monkeypatch, taken, taken, taken, fresh, fresh, taken, other)
    await keys.create(acting(alice), wish())
    second = await keys.create(acting(alice), wish(request_id=request_id))
    rotated = await keys.rotate(acting(alice), rotation(second.key.id))
    assert (second.secret.reveal(), rotated.secret.reveal()) == (fresh.reveal(), other.reveal())
    assert len(await column(database, "SELECT id FROM api_keys")) == 2
    assert len(await column(database, "SELECT id FROM audit_events")) == 3
    assert await works(database, taken, fresh, other) == [True, True, True]


async def test_a_generator_that_always_repeats_itself_is_a_fault(
    keys: KeyService, database: Database, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = draw(Environment.TEST)
    left = _draws(monkeypatch, *[taken] * 9)
    await keys.create(acting(alice), wish())
    with pytest.raises(ConstraintViolation):
        await keys.create(acting(alice), wish())
    assert len(left) == 5
    assert len(await column(database, "SELECT id FROM api_keys")) == 1


async def test_a_grace_of_nothing_ends_the_previous_secret_at_once(
    database: Database, alice: DeveloperId, clock: Clock
) -> None:
    await clock.set(await clock.now())
    keys = KeyService(
        database,
        Peppers({1: b"x" * 32}),
        default_environment=Environment.LIVE,
        rotation_grace=timedelta(0),
    )
    key = (await keys.create(acting(alice), wish())).key
    for _ in range(6):
        issued = await keys.rotate(acting(alice), rotation(key.id))
        assert issued.previous_expires_at == await clock.now()


async def test_each_retiring_secret_keeps_its_own_deadline(
    keys: KeyService, database: Database, alice: DeveloperId, clock: Clock
) -> None:
    start = await clock.now()
    await clock.set(start)
    issued = [await keys.create(acting(alice), wish())]
    for _ in range(2):
        await clock.advance(timedelta(minutes=20))
        issued.append(await keys.rotate(acting(alice), rotation(issued[0].key.id)))
    secrets = [each.secret for each in issued]
    states = []
    for moment in (GRACE, GRACE + timedelta(minutes=20), GRACE + timedelta(minutes=40)):
        await clock.set(start + moment - timedelta(microseconds=1))
        states.append(await works(database, *secrets))
        await clock.set(start + moment)
        states.append(await works(database, *secrets))
    all_three, two, one = [True] * 3, [True, True, True], [False, False, True]
    assert states == [all_three, two, two, [False, True, True], [False, True, True], one]


async def test_an_expired_key_stays_expired(keys: KeyService, alice: DeveloperId, clock: Clock) -> None:
    start = await clock.now()
    await clock.set(start)
    key = (await keys.create(acting(alice), wish(expires_at=(start + timedelta(hours=1)).isoformat()))).key
    await clock.advance(timedelta(hours=1))
    for expires_at in ("", (start + timedelta(days=1)).isoformat()):
        change = UpdateKey(id=key.id, name="", expires_at=expires_at, paths=("expires_at",))
        with pytest.raises(Conflict):
            await keys.update(acting(alice), change)
    with pytest.raises(Conflict):
        await keys.rotate(acting(alice), rotation(key.id))
    renamed = await keys.update(acting(alice), UpdateKey(id=key.id, name="old", expires_at="", paths=("name",)))
    assert renamed.name == "old"
    assert (await keys.revoke(acting(alice), key.id)).revoked_at is not None


async def test_a_page_token_outlives_the_pepper_that_follows_but_not_its_own(
    keys: KeyService, database: Database, alice: DeveloperId
) -> None:
    for _ in range(2):
        await keys.create(acting(alice), wish())
    _, token = await keys.list(alice, 1, "")
    assert len((await key_service(database).list(alice, 1, token))[0]) == 1
    others = KeyService(database, Peppers({2: b"y" * 32}), default_environment=Environment.TEST, rotation_grace=GRACE)
    with pytest.raises(InvalidRequest):
        await others.list(alice, 1, token)


async def test_keys_of_the_same_moment_are_paged_without_loss(
    keys: KeyService, alice: DeveloperId, clock: Clock
) -> None:
    await clock.set(await clock.now())
    created = {(await keys.create(acting(alice), wish())).key.id for _ in range(5)}
    seen: list[str] = []
    token = ""
    for _ in range(5):
        page, token = await keys.list(alice, 1, token)
        seen += [key.id for key in page]
    assert token == ""
    assert set(seen) == created
    assert seen == sorted(seen, reverse=True)


async def test_a_key_of_the_far_future_can_be_rotated(keys: KeyService, alice: DeveloperId) -> None:
    end = "9999-12-31T23:59:59.999998+00:00"
    issued = await keys.create(acting(alice), wish(expires_at=end))
    rotated = await keys.rotate(acting(alice), rotation(issued.key.id))
    assert rotated.key.expires_at == datetime.fromisoformat(end)


async def test_the_last_moment_of_all_is_refused_because_the_driver_takes_it_for_infinity(
    keys: KeyService, alice: DeveloperId
) -> None:
    with pytest.raises(InvalidRequest):
        await keys.create(acting(alice), wish(expires_at="9999-12-31T23:59:59.999999Z"))


@pytest.mark.parametrize("key_id", ["", "key_", "key_01jd3m8r5vf4q9zq5k2t7w6x8y", "KEY_01", "\0", "\ud800", "x" * 1000])
async def test_an_id_of_no_key_is_absent_everywhere(keys: KeyService, alice: DeveloperId, key_id: str) -> None:
    with pytest.raises(NotFound):
        await keys.get(alice, key_id)
    with pytest.raises(NotFound):
        await keys.rotate(acting(alice), rotation(key_id))
    with pytest.raises(NotFound):
        await keys.revoke(acting(alice), key_id)
    with pytest.raises(NotFound):
        await keys.update(acting(alice), UpdateKey(id=key_id, name="a", expires_at="", paths=None))


async def test_an_expiry_of_this_very_moment_is_too_late(keys: KeyService, alice: DeveloperId, clock: Clock) -> None:
    now = await clock.now()
    await clock.set(now)
    with pytest.raises(InvalidRequest):
        await keys.create(acting(alice), wish(expires_at=now.isoformat()))
    key = (await keys.create(acting(alice), wish())).key
    with pytest.raises(InvalidRequest):
        await keys.update(acting(alice), UpdateKey(id=key.id, name="", expires_at=now.isoformat(), paths=None))
    soonest = (now + timedelta(microseconds=1)).isoformat()
    await keys.update(acting(alice), UpdateKey(id=key.id, name="", expires_at=soonest, paths=None))
