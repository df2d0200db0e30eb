"""Keys as the cache holds them, and a clock that tests move."""

from server.limits.model import Claim, Rate
from server.metering.counters import Use
from server.verification.cache import Entry
from server.verification.model import KnownKey


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry_of(text: str, *, ends_in: float | None = None, developer: str = "dev_1") -> Entry:
    key = KnownKey(
        key_id=f"key_{text}",
        developer_id=developer,
        environment="live",
        scopes=frozenset({"read"}),
        key_prefix=f"ang_live_{text}",
        secret_version=1,
        secret_expires_at=None,
        secret_retired_at=None,
        expires_at=None,
        revoked=False,
        expired=False,
        rotated_out=False,
        suspended=False,
        ends_in=ends_in,
        rate=(10, 1),
        developer_rate=(10, 1),
        monthly_quota=None,
        units_used=0,
        month=(2026, 11),
    )
    rate = Rate(10, 1)
    use = Use(key_id=key.key_id, developer_id=developer, key_prefix=key.key_prefix, secret_version=1)
    return Entry(key=key, claims=(Claim(b"k", rate), Claim(b"d", rate)), use=use)
