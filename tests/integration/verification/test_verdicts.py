"""Every verdict twice, read and remembered, against a real database."""

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from server.errors import Unavailable
from server.ids import DeveloperId
from server.keys.model import Environment
from server.keys.secret import draw, find_prefix
from server.keys.service import RotateKey
from server.peppers import Peppers
from server.postgres.pool import Database
from server.secret import Secret, checksum
from server.verification.model import Presented, Question
from server.verification.service import key_reader
from server.verification.verdict import Verdict
from tests.database import Clock
from tests.integration.keys.vault import PEPPERS
from tests.integration.verification.platform import Replica, new_key


async def twice(replica: Replica, text: str, question: Question | None = None) -> list[Verdict]:
    """Ask with an empty memory and again, and make sure that the second answer was remembered."""
    await replica.hear_everything()
    replica.cache.forget("*")
    first = await replica.verdict(text, question)
    misses = replica.cache.misses
    second = await replica.verdict(text, question)
    assert replica.cache.misses == misses
    return [first, second]


async def test_a_good_key_is_valid_and_described(one: Replica, alice: DeveloperId) -> None:
    key_id, secret, _ = await new_key(one, alice, scopes=("read", "stream"))

    assert await twice(one, secret, Question(required_scopes=("stream",), environment="live")) == [Verdict.VALID] * 2

    answer = await one.ask(secret)
    assert answer.entry is not None
    key = answer.entry.key
    assert (key.key_id, key.developer_id, key.environment, key.secret_version) == (key_id, alice, "live", 1)
    assert key.scopes == {"read", "stream"}
    assert secret.startswith(f"{key.key_prefix}_")
    assert answer.decision is not None
    assert (answer.decision.limit, answer.decision.remaining) == (600, 597)
    assert answer.quota_left == 1_000_000 - 3


@pytest.mark.parametrize("text", ["", "x", "ang_live_", "ang_live_00000000_" + "0" * 49, "\ud800", "a" * 4096])
async def test_text_that_is_no_key_is_malformed(one: Replica, text: str) -> None:
    assert [await one.verdict(text), await one.verdict(text)] == [Verdict.MALFORMED] * 2
    assert one.cache.misses == 0


async def test_a_key_that_nobody_has_is_not_found(one: Replica) -> None:
    assert await twice(one, draw(Environment.LIVE).reveal()) == [Verdict.NOT_FOUND] * 2


async def test_a_known_prefix_with_another_tail_is_not_found(one: Replica, alice: DeveloperId) -> None:
    _, secret, _ = await new_key(one, alice)
    body = secret[:17] + draw(Environment.LIVE).reveal()[17:-6]
    forged = body + checksum(body)  # the prefix of one key, the tail of another, and a checksum that fits

    assert await twice(one, forged) == [Verdict.NOT_FOUND] * 2


async def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(one: Replica, alice: DeveloperId) -> None:
    key_id, secret, actor = await new_key(one, alice)
    assert await one.verdict(secret) is Verdict.VALID

    await one.keys.revoke(actor, key_id)

    assert await one.verdict(secret) is Verdict.REVOKED
    assert await twice(one, secret) == [Verdict.REVOKED] * 2


async def test_an_expired_key_is_refused(one: Replica, alice: DeveloperId, clock: Clock) -> None:
    expiry = await clock.now() + timedelta(hours=1)
    _, secret, _ = await new_key(one, alice, expires_at=expiry.isoformat())
    await clock.set(expiry - timedelta(microseconds=1))
    assert await one.verdict(secret) is Verdict.VALID

    await clock.set(expiry)

    assert await twice(one, secret) == [Verdict.EXPIRED] * 2


async def test_a_secret_is_good_until_its_grace_ends(one: Replica, alice: DeveloperId, clock: Clock) -> None:
    key_id, old, actor = await new_key(one, alice)
    issued = await one.keys.rotate(actor, RotateKey(id=key_id, expire_previous_now=False, request_id=""))
    assert issued.previous_expires_at is not None
    new = issued.secret.reveal()

    assert await twice(one, old) == [Verdict.VALID] * 2
    retiring = (await one.ask(old)).entry
    assert retiring is not None
    assert retiring.key.secret_expires_at == issued.previous_expires_at
    assert retiring.key.secret_retired_at is not None
    await clock.set(issued.previous_expires_at)
    assert await twice(one, old) == [Verdict.ROTATED_OUT] * 2
    assert await twice(one, new) == [Verdict.VALID] * 2


async def test_a_secret_that_was_ended_at_once_is_rotated_out(one: Replica, alice: DeveloperId) -> None:
    key_id, old, actor = await new_key(one, alice)
    assert await one.verdict(old) is Verdict.VALID

    await one.keys.rotate(actor, RotateKey(id=key_id, expire_previous_now=True, request_id=""))

    assert await one.verdict(old) is Verdict.ROTATED_OUT
    assert await twice(one, old) == [Verdict.ROTATED_OUT] * 2


async def test_a_suspended_developers_key_is_refused(one: Replica, alice: DeveloperId, database: Database) -> None:
    _, secret, _ = await new_key(one, alice)

    await database.execute("UPDATE developers SET suspended_at = clock() WHERE id = $1", alice)

    assert await twice(one, secret) == [Verdict.DEVELOPER_SUSPENDED] * 2


@pytest.mark.parametrize(
    ("question", "verdict"),
    [
        (Question(environment="test"), Verdict.ENVIRONMENT_MISMATCH),
        (Question(required_scopes=("read", "stream")), Verdict.INSUFFICIENT_SCOPE),
    ],
)
async def test_a_key_for_something_else_is_refused(
    one: Replica, alice: DeveloperId, question: Question, verdict: Verdict
) -> None:
    _, secret, _ = await new_key(one, alice)

    assert await twice(one, secret, question) == [verdict] * 2


async def test_a_used_up_rate_is_told_with_the_time_to_wait(
    one: Replica, alice: DeveloperId, database: Database
) -> None:
    key_id, secret, _ = await new_key(one, alice)
    await database.execute("UPDATE api_keys SET rate_requests = 3, rate_seconds = 60 WHERE id = $1", key_id)
    one.cache.forget("*")

    verdicts = [await one.verdict(secret) for _ in range(5)]

    assert verdicts == [Verdict.VALID] * 3 + [Verdict.RATE_LIMITED] * 2
    decision = (await one.ask(secret)).decision
    assert decision is not None
    assert (decision.limit, decision.remaining, decision.tightest) == (3, 0, 0)
    assert 59 < decision.retry_seconds <= 60


async def test_neither_more_keys_nor_more_secrets_multiply_a_developers_limit(
    one: Replica, alice: DeveloperId, database: Database
) -> None:
    await database.execute("UPDATE tiers SET requests = 10, developer_requests = 10 WHERE name = 'standard'")
    key_id, first, actor = await new_key(one, alice)
    _, second, _ = await new_key(one, alice)
    rotated = await one.keys.rotate(actor, RotateKey(id=key_id, expire_previous_now=False, request_id=""))
    one.cache.forget("*")

    verdicts = [await one.verdict(text) for _ in range(5) for text in (first, second, rotated.secret.reveal())]

    assert verdicts.count(Verdict.VALID) == 10
    assert set(verdicts[10:]) == {Verdict.RATE_LIMITED}


async def test_a_used_up_quota_is_refused_before_any_limit_is_used(
    one: Replica, alice: DeveloperId, database: Database
) -> None:
    await database.execute("UPDATE tiers SET monthly_quota = 10 WHERE name = 'standard'")
    _, secret, _ = await new_key(one, alice)

    assert await one.verdict(secret, Question(cost=8)) is Verdict.VALID
    assert await twice(one, secret, Question(cost=3)) == [Verdict.QUOTA_EXCEEDED] * 2
    answer = await one.ask(secret, Question(cost=2))

    assert answer.verdict is Verdict.VALID
    assert answer.quota_left == 0
    assert answer.decision is not None
    assert answer.decision.remaining == 600 - 10


async def test_explaining_uses_nothing_and_lists_every_check(one: Replica, alice: DeveloperId) -> None:
    key_id, secret, actor = await new_key(one, alice)
    await one.keys.revoke(actor, key_id)
    question = Question(required_scopes=("stream",), cost=5, explain=True)

    answers = [await one.ask(secret, question) for _ in range(3)]

    for answer in answers:
        assert answer.verdict is Verdict.REVOKED
        failed = [verdict for verdict, passed in answer.checks if not passed]
        # A revocation ends the secrets too.
        assert failed == [Verdict.REVOKED, Verdict.ROTATED_OUT, Verdict.INSUFFICIENT_SCOPE]
        assert answer.decision is not None
        assert answer.decision.remaining == 600 - 5
    assert one.counters.pending_calls == 0


async def test_a_batch_answers_in_order_and_counts_nothing_when_one_is_unknown(
    one: Replica, alice: DeveloperId, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, good, _ = await new_key(one, alice)
    stranger = draw(Environment.LIVE).reveal()
    texts = [good, "x", stranger, good, good]
    batch = [Presented(text, Question()) for text in texts]

    answers = await one.verification.verify_all(batch)

    expected = [Verdict.VALID, Verdict.MALFORMED, Verdict.NOT_FOUND, Verdict.VALID, Verdict.VALID]
    assert [answer.verdict for answer in answers] == expected
    counted = one.counters.pending_calls
    assert counted == 3

    async def away(text: str) -> None:
        raise Unavailable

    monkeypatch.setattr(one.cache, "_read", away)
    with pytest.raises(Unavailable):
        await one.verification.verify_all([*batch, Presented(draw(Environment.LIVE).reveal(), Question())])
    assert one.counters.pending_calls == counted


async def test_a_lost_pepper_is_an_outage_and_not_a_bad_key(one: Replica, alice: DeveloperId) -> None:
    _, secret, _ = await new_key(one, alice)
    read = key_reader(one.database, Peppers({9: b"x" * 32}), one.counters, CollectorRegistry())

    with pytest.raises(Unavailable):
        await read(secret)


async def test_a_secret_under_an_old_pepper_is_digested_anew(one: Replica, alice: DeveloperId) -> None:
    _, secret, _ = await new_key(one, alice)
    await one.database.execute(
        "UPDATE api_key_secrets SET digest = $2, pepper_version = 1 WHERE key_prefix = $1",
        find_prefix(secret),
        PEPPERS.digest(Secret(secret), 1),
    )

    assert await one.verdict(secret) is Verdict.VALID
    assert find_prefix(secret) in one.counters._redigests
