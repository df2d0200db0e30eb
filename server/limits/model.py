"""What a rate limit is. No I/O, no clock."""

import re
from dataclasses import dataclass

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
class Decision:
    """Whether a call fits, and where its window stands after it (contract section 5).

    `reset_seconds` is how long until a place is free, or until the whole window is: when refused, the time to wait.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float
