"""What is true of keys and since when, and what servers may say of them: the model of `test_model.py`."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from server.ids import DeveloperId
from server.limits.model import Claim, Rate
from server.verification.model import KnownKey, Question
from server.verification.verdict import Verdict

LIFETIME, UNHEARD_LIFETIME = 5.0, 1.0
WINDOW = 4
TIERS = {"small": (2, 3), "large": (6, 8)}
"""Units in a window: of a key, and of all keys of a developer."""


class State(NamedTuple):
    """What is true of a secret; how it is described to whoever proves it."""

    revoked: bool
    suspended: bool
    expires_at: datetime | None
    ends_at: datetime | None
    rate: int
    developer_rate: int

    @classmethod
    def of(cls, key: KnownKey) -> "State":
        """Read what a server answered."""
        rates = key.rate[0], key.developer_rate[0]
        return cls(key.revoked, key.suspended, key.expires_at, key.secret_expires_at, *rates)


@dataclass(eq=False)
class ModelDeveloper:
    """Whose keys they are."""

    id: DeveloperId
    suspended: bool = False
    tier: str = "small"


@dataclass(eq=False)
class ModelSecret:
    """A secret with its past: each state with when it began. By server: the oldest state it may remember, and the
    newest that it was told of."""

    text: str
    ends_at: datetime | None = None
    past: list[tuple[float, State]] = field(default_factory=list)
    oldest: list[int] = field(default_factory=lambda: [0, 0])
    told: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def newest(self) -> int:
        return len(self.past) - 1

    def possible(self, server: int, horizon: float, *, fresh: bool) -> list[State]:
        """List what a server may answer whose memory goes back to the horizon, excluded."""
        if fresh:
            return [self.past[-1][1]]
        ends = [since for since, _ in self.past[1:]] + [math.inf]
        states = [(state, end) for (_, state), end in zip(self.past, ends, strict=True)]
        return [state for state, end in states[self.oldest[server] :] if end > horizon]


@dataclass(eq=False)
class ModelKey:
    """What a key should be."""

    id: str
    owner: ModelDeveloper
    scopes: tuple[str, ...]
    expires_at: datetime | None
    revoked: bool = False
    rate: int | None = None
    secrets: list[ModelSecret] = field(default_factory=list)

    def secret(self, nth: int) -> ModelSecret:
        """Return the newest secret, or one of those before it."""
        return self.secrets[-1 - nth % len(self.secrets)]

    def may_change(self, now: datetime) -> bool:
        return not self.revoked and not is_over(self.expires_at, now)

    def state(self, secret: ModelSecret) -> State:
        rate, developer_rate = TIERS[self.owner.tier]
        return State(
            self.revoked, self.owner.suspended, self.expires_at, secret.ends_at, self.rate or rate, developer_rate
        )

    def claims(self, state: State) -> list[Claim]:
        """Say which windows a call is counted in."""
        windows = (f"{self.owner.id}:{self.id}", state.rate), (self.owner.id, state.developer_rate)
        return [Claim(window.encode(), Rate(rate, WINDOW)) for window, rate in windows]

    def verdict(self, state: State, question: Question, now: datetime) -> Verdict:
        """Judge, but for the limits."""
        faults = {
            Verdict.REVOKED: state.revoked,
            Verdict.EXPIRED: is_over(state.expires_at, now),
            Verdict.ROTATED_OUT: is_over(state.ends_at, now),
            Verdict.DEVELOPER_SUSPENDED: state.suspended,
            Verdict.ENVIRONMENT_MISMATCH: question.environment == "test",
            Verdict.INSUFFICIENT_SCOPE: not set(question.required_scopes) <= set(self.scopes),
        }
        return next((verdict for verdict, is_so in faults.items() if is_so), Verdict.VALID)


def is_over(end: datetime | None, now: datetime) -> bool:
    return end is not None and end <= now
