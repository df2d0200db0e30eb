"""What a developer and its account are, and which rules hold for what developers tell of themselves. No I/O."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from server.errors import Violation
from server.ids import DeveloperId
from server.text import normalise_name

_LONGEST_ADDRESS = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
_LONGEST_REASON = 1000
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True, kw_only=True)
class Developer:
    """A registered developer. `suspended_at` None: in good standing."""

    id: DeveloperId
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a developer. Without a `display_name` it was registered by its first call alone."""

    id: DeveloperId
    display_name: str | None
    contact_email: str | None
    organisation: str | None
    terms_version: str | None
    terms_accepted_at: datetime | None
    created_at: datetime
    suspended_at: datetime | None
    tier: str
    requested_tier: str | None
    """The tier that was asked for and that operators have not decided on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOffer:
    """What a tier grants, as developers are told: calls in any `window_seconds` with one key and with all of them.

    `monthly_quota` None is none.
    """

    name: str
    requests: int
    developer_requests: int
    window_seconds: int
    monthly_quota: int | None
    max_keys: int
    concurrent_streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a developer tells of itself."""

    display_name: str
    contact_email: str
    organisation: str
    terms_version: str


def check_organisation(text: str) -> tuple[str, Violation | None]:
    """Bring the name of a company to NFC and judge it; empty is none."""
    return normalise_name(text, "organisation") if text else (text, None)


def check_address(text: str) -> Violation | None:
    """Judge an e-mail address, whose shape the proto's rule has judged: it can stand in any header and any page."""
    local, at, domain = text.rpartition("@")
    fits = local and at and domain and len(text) <= _LONGEST_ADDRESS
    if fits and text.isascii() and text.isprintable() and " " not in text:
        return None
    return Violation("contact_email", "must be one e-mail address, e.g. dev@example.com")


def check_reason(text: str) -> tuple[str, Violation | None]:
    """Bring free text for operators to NFC and judge it: up to 1,000 characters, lines and tabs among them."""
    reason = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).strip()
    if len(reason) > _LONGEST_REASON:
        return reason, Violation("reason", f"must have at most {_LONGEST_REASON:,} characters")
    harmful = next(filter(_breaks_text, reason), "")
    if harmful:
        return reason, Violation("reason", f"must not contain U+{ord(harmful):04X}: leave it out")
    return reason, None


def _breaks_text(character: str) -> bool:
    """Tell controls, surrogates and marks that reorder what stands around them."""
    return character in _REORDERING or (character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"))
