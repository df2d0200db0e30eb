"""What is counted of a call: which limit refused it, and which scopes a good one needed."""

import pytest

from server.ids import DeveloperId
from server.metering.batch import ScopeUse
from server.postgres.pool import Database
from server.verification.model import Question
from server.verification.verdict import LIMITED_OUTCOMES, Verdict
from tests.integration.verification.platform import Replica, new_key


def counted(replica: Replica) -> dict[str, int]:
    """Take out what was counted, by outcome."""
    batch = replica.counters.freeze()
    assert batch
    return {cell.outcome: cell.calls for cell in batch.cells}


@pytest.mark.parametrize(
    ("key_rate", "developer_rate", "outcome"),
    [(2, 9, "rate_limited"), (9, 2, "rate_limited_developer"), (2, 2, "rate_limited")],
)
async def test_the_limit_that_refused_is_counted(
    one: Replica, alice: DeveloperId, database: Database, key_rate: int, developer_rate: int, outcome: str
) -> None:
    await database.execute("UPDATE tiers SET requests = $1, developer_requests = $2", key_rate, developer_rate)
    _, secret, _ = await new_key(one, alice)
    assert [await one.verdict(secret) for _ in range(5)] == [Verdict.VALID] * 2 + [Verdict.RATE_LIMITED] * 3
    assert counted(one) == {"valid": 2, outcome: 3}


async def test_a_quota_that_is_used_up_is_counted_as_such(one: Replica, alice: DeveloperId, database: Database) -> None:
    await database.execute("UPDATE tiers SET monthly_quota = 2, requests = 2")
    _, secret, _ = await new_key(one, alice)
    for _ in range(4):
        await one.verdict(secret)
    assert counted(one) == {"valid": 2, "quota_exceeded": 2}


def test_every_limit_has_an_outcome_of_its_own() -> None:
    others = {verdict.outcome for verdict in Verdict if verdict is not Verdict.RATE_LIMITED}
    assert len({*LIMITED_OUTCOMES, *others}) == len(LIMITED_OUTCOMES) + len(others)
    assert LIMITED_OUTCOMES[0] == Verdict.RATE_LIMITED.outcome


async def test_scopes_that_a_good_call_needed_are_noted(one: Replica, alice: DeveloperId) -> None:
    key_id, secret, _ = await new_key(one, alice, scopes=("read", "stream", "write"))
    assert await one.verdict(secret, Question(required_scopes=("stream", "read"))) is Verdict.VALID
    assert await one.verdict(secret) is Verdict.VALID
    assert sorted(use[:2] for use in one.counters.take_scope_uses()) == [(key_id, "read"), (key_id, "stream")]


@pytest.mark.parametrize(
    ("question", "verdict"),
    [
        (Question(required_scopes=("read", "write")), Verdict.INSUFFICIENT_SCOPE),
        (Question(required_scopes=("read",), environment="test"), Verdict.ENVIRONMENT_MISMATCH),
        (Question(required_scopes=("read",), explain=True), Verdict.VALID),
        (Question(required_scopes=("read",), cost=601), Verdict.RATE_LIMITED),
        (Question(required_scopes=("read",), cost=1_000_001), Verdict.QUOTA_EXCEEDED),
    ],
)
async def test_a_call_that_is_refused_or_no_call_needed_nothing(
    one: Replica, alice: DeveloperId, question: Question, verdict: Verdict
) -> None:
    _, secret, _ = await new_key(one, alice)
    assert await one.verdict(secret, question) is verdict
    uses: list[ScopeUse] = one.counters.take_scope_uses()
    assert uses == []
