"""What an API key is, and the rules for what its owner may say about it. No I/O, no protocol."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from server.errors import Violation
from server.ids import DeveloperId, KeyId

MAXIMUM_NAME_LENGTH = 100
MAXIMUM_LIVE_SECRETS = 5

_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # Hangul fillers and the empty Braille cell
_KEY = re.compile(r"ang_(?:live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{16}", re.ASCII)
# Bidirectional embeddings, overrides and isolates reorder the text around a name (Unicode Standard Annex 9).
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Invisible, yet part of correct Arabic, Persian, Indic and emoji text, hence allowed between other characters.
_JOINERS = frozenset("\u200c\u200d\u200e\u200f")


class Environment(Enum):
    """Where a key works. The value stands in its secret."""

    LIVE = "live"
    TEST = "test"


class Status(Enum):
    """The lifecycle state of a key. Expiry is no state: it is judged at each verification."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secrets. Times are aware; None means never."""

    id: KeyId
    developer_id: DeveloperId
    name: str
    environment: Environment
    scopes: tuple[str, ...]
    key_prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def status(self) -> Status:
        """ACTIVE until revoked."""
        return Status.ACTIVE if self.revoked_at is None else Status.REVOKED


def normalise_name(text: str) -> tuple[str, Violation | None]:
    """Bring a label to NFC and judge it: 1 to 100 code points, and none that breaks the text around it."""
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MAXIMUM_NAME_LENGTH:
        return name, Violation("name", f"must have 1 to {MAXIMUM_NAME_LENGTH} characters")
    for position, character in enumerate(name):
        if _is_harmful(character):
            code = f"U+{ord(character):04X}"
            return name, Violation("name", f"must not contain {code} (character {position + 1}): leave it out")
    if not any(map(_is_visible, name)) or name[0] in _JOINERS or name[-1] in _JOINERS:
        return name, Violation("name", "must have a visible character, and no joiner at its beginning or end")
    if _KEY.search(name):
        return name, Violation("name", "must not contain an API key: a name is stored and shown")
    return name, None


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in _BLANK_LETTERS


def _is_harmful(character: str) -> bool:
    """Tell controls, line and paragraph separators, surrogates, reordering marks and noncharacters."""
    if character in _REORDERING:
        return True
    if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
        return True
    code = ord(character)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
