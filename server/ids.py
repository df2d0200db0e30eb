"""Typed identifiers: a prefix that tells the type and a UUIDv7 as 26 characters of Crockford's base32, lower case.

Made here and not in the database, so that no sequence is needed; a UUIDv7 grows with time, so indexes stay dense.
"""

import re
from typing import NewType

from uuid_utils import uuid7

KeyId = NewType("KeyId", str)
DeveloperId = NewType("DeveloperId", str)
ClientId = NewType("ClientId", str)
GrantId = NewType("GrantId", str)

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


def new_client_id() -> ClientId:
    """Make the id of a new OAuth client, e.g. `client_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return ClientId(f"client_{_tail(uuid7().int)}")


def new_grant_id() -> GrantId:
    """Make the id of what a user allows a client, e.g. `grant_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return GrantId(f"grant_{_tail(uuid7().int)}")


def new_tier_request_id() -> str:
    """Make the id of a wish for another tier, e.g. `tierreq_01jd3m8r5vf4q9zq5k2t7w6x8y`."""
    return f"tierreq_{_tail(uuid7().int)}"


def new_call_id() -> str:
    """Make the id that names one call in logs and in the response header `x-request-id`."""
    return f"call_{_tail(uuid7().int)}"


def find_key_id(text: str) -> KeyId | None:
    """Read a key's id as a caller wrote it, or None: text of any other shape names no key that exists."""
    prefix, _, tail = text.partition("_")
    return KeyId(text) if prefix == "key" and _TAIL.fullmatch(tail) else None


def find_client_id(text: str) -> ClientId | None:
    """Read an OAuth client's id as a caller wrote it, or None: text of any other shape names none of ours."""
    prefix, _, tail = text.partition("_")
    return ClientId(text) if prefix == "client" and _TAIL.fullmatch(tail) else None


def find_developer_id(text: str) -> DeveloperId | None:
    """Read a developer's id as a caller wrote it, or None: text of any other shape names no developer."""
    prefix, _, tail = text.partition("_")
    return DeveloperId(text) if prefix == "dev" and _TAIL.fullmatch(tail) else None


def _tail(number: int) -> str:
    """Write 128 bits as 26 base32 characters, most significant first, so that text order is number order."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])
