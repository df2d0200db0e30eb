"""Typed identifiers: a prefix that tells the type and a UUIDv7 as 26 characters of Crockford's base32, lower case.

Made here and not in the database, so that no sequence is needed; a UUIDv7 grows with time, so indexes stay dense.
"""

import re
from typing import NewType

from uuid_utils import uuid7

KeyId = NewType("KeyId", str)
DeveloperId = NewType("DeveloperId", str)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # two characters for each value of ten bits
_TAIL = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)


def new_key_id() -> KeyId:
    """Make the id of a new API key, e.g. `key_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return KeyId(f"key_{_tail(uuid7().int)}")


def new_developer_id() -> DeveloperId:
    """Make the id of a new developer, e.g. `dev_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return DeveloperId(f"dev_{_tail(uuid7().int)}")


def new_event_id() -> str:
    """Make the id of a new audit event, e.g. `evt_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return f"evt_{_tail(uuid7().int)}"


def new_call_id() -> str:
    """Make the id that names one call in logs and in the response header `x-request-id`."""
    return f"call_{_tail(uuid7().int)}"


def find_key_id(text: str) -> KeyId | None:
    """Read a key's id as a caller wrote it, or None: text of any other shape names no key that exists."""
    prefix, _, tail = text.partition("_")
    return KeyId(text) if prefix == "key" and _TAIL.fullmatch(tail) else None


def _tail(number: int) -> str:
    """Write 128 bits as 26 base32 characters, most significant first, so that text order is number order."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])
