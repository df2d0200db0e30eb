"""The verdict on a key: the checks in their order. No I/O, no clock."""

from enum import Enum

from server.verification.model import KnownKey, Question


class Verdict(Enum):
    """Whether a key may be used and, if not, why. The values are the numbers of `sdk.verification.v1.Verdict`."""

    VALID = 1
    MALFORMED = 2
    NOT_FOUND = 3
    REVOKED = 4
    EXPIRED = 5
    ROTATED_OUT = 6
    DEVELOPER_SUSPENDED = 7
    ENVIRONMENT_MISMATCH = 8
    INSUFFICIENT_SCOPE = 9
    QUOTA_EXCEEDED = 10
    RATE_LIMITED = 11

    @property
    def outcome(self) -> str:
        """Return the name under which usage is counted; of RATE_LIMITED there are two, see `LIMITED_OUTCOMES`."""
        return _OUTCOMES[self]


_OUTCOMES = {verdict: verdict.name.lower() for verdict in Verdict}

LIMITED_OUTCOMES = ("rate_limited", "rate_limited_developer")
"""The names under which RATE_LIMITED is counted, by the place of the window that refused: key's, developer's."""


def judge(key: KnownKey, question: Question) -> Verdict:
    """Run the checks that need nothing but the key: VALID means that only quota and rate limits are left to ask."""
    verdict = Verdict.VALID
    if key.revoked:
        verdict = Verdict.REVOKED
    elif key.expired:
        verdict = Verdict.EXPIRED
    elif key.rotated_out:
        verdict = Verdict.ROTATED_OUT
    elif key.suspended:
        verdict = Verdict.DEVELOPER_SUSPENDED
    elif question.environment and question.environment != key.environment:
        verdict = Verdict.ENVIRONMENT_MISMATCH
    elif not key.scopes.issuperset(question.required_scopes):
        verdict = Verdict.INSUFFICIENT_SCOPE
    return verdict


def explain(key: KnownKey, question: Question, *, within_quota: bool, within_rate: bool) -> list[tuple[Verdict, bool]]:
    """List every check with whether it passes, in the order in which the first failure is the verdict."""
    environment_fits = question.environment in ("", key.environment)
    return [
        (Verdict.MALFORMED, True),
        (Verdict.NOT_FOUND, True),
        (Verdict.REVOKED, not key.revoked),
        (Verdict.EXPIRED, not key.expired),
        (Verdict.ROTATED_OUT, not key.rotated_out),
        (Verdict.DEVELOPER_SUSPENDED, not key.suspended),
        (Verdict.ENVIRONMENT_MISMATCH, environment_fits),
        (Verdict.INSUFFICIENT_SCOPE, key.scopes.issuperset(question.required_scopes)),
        (Verdict.QUOTA_EXCEEDED, within_quota),
        (Verdict.RATE_LIMITED, within_rate),
    ]
