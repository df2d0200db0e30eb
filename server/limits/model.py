"""What a rate limit, a call's claim on it and its answer are, and what a tier grants. No I/O, no clock."""

import re
from dataclasses import dataclass
from typing import NamedTuple

_RATE = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `seconds` seconds."""

    requests: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `120/60`, requests and seconds.

        Raises:
            ValueError: the text has another shape.
        """
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise ValueError("must be REQUESTS/SECONDS in positive whole numbers, e.g. 120/60")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What developers of a tier may do: `rate` with each key, `developer_rate` with all keys together.

    `monthly_quota` are units of verified calls in a month (UTC), None without end; `max_keys` are live at once.
    """

    name: str
    rate: Rate
    developer_rate: Rate
    monthly_quota: int | None
    max_keys: int
    concurrent_streams: int


class Claim(NamedTuple):
    """One window that a call is counted in, and the rate that holds there now.

    A window's name is `kind:owner` or `kind:owner:part`: `t:` and a token's digest, `d:` and a developer's id, `k:`, a
    developer's id, `:` and a key's id. Windows that one call claims together have the same owner, so that a Valkey
    cluster keeps them in one place (`shared.py`).
    """

    window: bytes
    rate: Rate


class Decision(NamedTuple):
    """Whether a call fits into all its windows, and how the one that tells most stands after it (contract section 5).

    That one is where the smallest share is left or, of those that refuse, the one that does so for longest; `tightest`
    is its place among the claims. `reset_seconds` is when its oldest calls leave it, the whole window if it is empty.
    `retry_seconds` is 0 for a call that fits, else when it would. One that costs more than the limit never does: it is
    told when the window is empty or, if it is already, the whole window.

    A tuple, because one is made for every call, and any other immutable type costs three times as much.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float
    retry_seconds: float
    tightest: int
