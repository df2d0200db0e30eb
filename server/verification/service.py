"""Judge keys: look up, run the checks, count. What cannot be known raises; everything else is a verdict."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter

from server.errors import Unavailable
from server.keys.secret import find_prefix
from server.limits.model import Claim, Decision, Rate
from server.limits.service import Limiter, LocalLimiter
from server.metering.counters import Counters, Use
from server.peppers import Peppers
from server.postgres.pool import Database
from server.secret import Secret
from server.verification.cache import Entry, KeyCache
from server.verification.model import Presented, Question
from server.verification.store import VerificationStore
from server.verification.verdict import LIMITED_OUTCOMES, Verdict, explain, judge


class Answer(NamedTuple):
    """A verdict and what led to it. `entry` None: the secret was not proved."""

    verdict: Verdict
    entry: Entry | None = None
    decision: Decision | None = None
    """Where the tightest rate limit stands; None when another check failed before."""
    quota_left: int | None = None
    """Units left of the month; None without a quota, or when another check failed before."""
    checks: Sequence[tuple[Verdict, bool]] = ()
    """Each check with whether it passed; only for questions that ask to explain."""


class _Reader(Protocol):
    async def __call__(self, text: str) -> Entry | None:
        """Ask the database about a key."""


MALFORMED = Answer(Verdict.MALFORMED)
NOT_FOUND = Answer(Verdict.NOT_FOUND)
_ROUNDS = 3


def key_reader(database: Database, peppers: Peppers, counters: Counters, registry: CollectorRegistry) -> _Reader:
    """Make the function that looks a key up in the database and proves its secret."""
    lookups = Counter("developer_verification_lookups", "Keys looked up in the database.", registry=registry)

    async def read(text: str) -> Entry | None:
        lookups.inc()
        prefix = find_prefix(text)
        found = await VerificationStore(database).find(prefix) if prefix else None
        if found is None:
            return None
        secret, key = Secret(text), found.key
        if found.pepper_version not in peppers:
            raise Unavailable("A pepper that this key depends on is not configured.")  # else a good key looked absent
        if not peppers.proves(secret, found.digest, found.pepper_version):
            return None
        if found.pepper_version != peppers.current:
            digest = peppers.digest(secret, peppers.current)
            counters.redigest(key.key_prefix, digest, peppers.current, found.pepper_version)
        counters.know_units(key.developer_id, key.units_used, key.month)
        return Entry(
            key=key,
            claims=(
                Claim(f"k:{key.developer_id}:{key.key_id}".encode(), Rate(*key.rate)),
                Claim(f"d:{key.developer_id}".encode(), Rate(*key.developer_rate)),
            ),
            use=Use(
                key_id=key.key_id,
                developer_id=key.developer_id,
                key_prefix=key.key_prefix,
                secret_version=key.secret_version,
            ),
        )

    return read


class VerificationService:
    """Judges keys against the cache, the limits and the quota, and counts every use of a proved key."""

    def __init__(self, cache: KeyCache, limiter: Limiter, counters: Counters, registry: CollectorRegistry) -> None:
        self._cache = cache
        self._limiter = limiter
        self._counters = counters
        self._waits = not isinstance(limiter, LocalLimiter)
        verdicts = Counter("developer_verifications", "Verdicts on keys.", ["verdict"], registry=registry)
        self._verdicts = {verdict: verdicts.labels(verdict.outcome) for verdict in Verdict}

    async def verify(self, presented: Presented) -> Answer:
        """Judge one key and, when it is good, use limits and quota by the cost; or explain the verdict and use nothing.

        Raises:
            Unavailable: the answer cannot be known; nothing was counted.
        """
        text, question, _ = presented
        found = None if question.fresh else self._cache.recall(text)
        return await self._conclude(found or await self._look_up(text, question), presented)

    async def verify_all(self, batch: Sequence[Presented]) -> list[Answer]:
        """Judge several keys in their order; nothing is counted before every key is known.

        Raises:
            Unavailable: the answer of one cannot be known.
        """
        found = await self._find_all(batch)
        if self._waits:  # each asks a server about its limits: all of them together, in their order
            return await asyncio.gather(*map(self._conclude, found, batch))
        return [await self._conclude(each, presented) for each, presented in zip(found, batch, strict=True)]

    async def _find_all(self, batch: Sequence[Presented]) -> list[Entry | Answer]:
        """Look up what is not remembered, until all is known at once: some may end or change while others are read."""
        answers: dict[int, Answer] = {}
        read: set[int] = set()
        for _ in range(_ROUNDS):
            found = [
                answers.get(place) or (None if question.fresh and place not in read else self._cache.recall(text))
                for place, (text, question, _) in enumerate(batch)
            ]
            missing = [place for place, each in enumerate(found) if each is None]
            if not missing:
                return [each for each in found if each is not None]
            looked_up = await asyncio.gather(*(self._look_up(*batch[place][:2]) for place in missing))
            read.update(missing)
            answers |= {place: each for place, each in zip(missing, looked_up, strict=True) if isinstance(each, Answer)}
        raise Unavailable

    async def standing(self, entry: Entry) -> Decision:
        """Tell where a key's limits stand, without using them."""
        return await self._limiter.peek(entry.claims, 0)

    async def _look_up(self, text: str, question: Question) -> Entry | Answer:
        if find_prefix(text) is None:
            return MALFORMED
        look = self._cache.read if question.fresh else self._cache.find
        return await look(text) or NOT_FOUND

    async def _conclude(self, found: Entry | Answer, presented: Presented) -> Answer:
        question = presented.question
        if question.explain:
            return _explained(found) if isinstance(found, Answer) else await self._explain(found, question)
        answer = found if isinstance(found, Answer) else await self._decide(found, question, presented.client_ip)
        self._verdicts[answer.verdict].inc()
        return answer

    async def _explain(self, entry: Entry, question: Question) -> Answer:
        decision = await self._limiter.peek(entry.claims, question.cost)
        left = self._quota_left(entry)
        checks = explain(
            entry.key, question, within_quota=left is None or left >= question.cost, within_rate=decision.allowed
        )
        verdict = next((verdict for verdict, passed in checks if not passed), Verdict.VALID)
        return Answer(verdict, entry, decision, left, checks)

    async def _decide(self, entry: Entry, question: Question, client_ip: str) -> Answer:
        verdict = judge(entry.key, question)
        decision = left = None
        if verdict is Verdict.VALID:
            left = self._quota_left(entry)
            if left is not None and left < question.cost:
                verdict = Verdict.QUOTA_EXCEEDED
            else:
                decision = await self._limiter.take(entry.claims, question.cost)
                if not decision.allowed:
                    return self._limited(entry, question, client_ip, decision, left)
                if left is not None:
                    left -= question.cost
                if question.required_scopes:
                    self._counters.note_scopes(entry.use.key_id, question.required_scopes)
        self._counters.count(entry.use, question.operation, verdict.outcome, question.cost, client_ip)
        return Answer(verdict, entry, decision, left)

    def _limited(
        self, entry: Entry, question: Question, client_ip: str, decision: Decision, left: int | None
    ) -> Answer:
        """Count a call that a window refused under the name of that window."""
        outcome = LIMITED_OUTCOMES[decision.tightest]
        self._counters.count(entry.use, question.operation, outcome, question.cost, client_ip)
        return Answer(Verdict.RATE_LIMITED, entry, decision, left)

    def _quota_left(self, entry: Entry) -> int | None:
        quota = entry.key.monthly_quota
        return None if quota is None else max(0, quota - self._counters.units_used(entry.key.developer_id))


def _explained(answer: Answer) -> Answer:
    """List the checks behind a verdict on a secret that was not proved: those up to the one that failed."""
    checks = [(verdict, False) for verdict in (Verdict.MALFORMED, Verdict.NOT_FOUND) if verdict is answer.verdict]
    if answer.verdict is Verdict.NOT_FOUND:
        checks.insert(0, (Verdict.MALFORMED, True))
    return answer._replace(checks=checks)


def month_ends_at(now: datetime) -> datetime:
    """Return when the month (UTC) of a moment ends, which is when its quota does."""
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
