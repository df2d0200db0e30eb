"""What a user is, and which names and passwords may be chosen. No I/O."""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime

from server.errors import Violation

MINIMUM_PASSWORD_LENGTH, MAXIMUM_PASSWORD_LENGTH = 12, 200

_USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)  # the database's check says the same
# The commonest choices that are long enough to pass, without digits and punctuation at their end, in lower case.
_COMMON = frozenset(
    {
        "administrator",
        "changemechangeme",
        "correcthorsebatterystaple",
        "iloveyouiloveyou",
        "letmein",
        "letmeinletmein",
        "letmeinplease",
        "password",
        "passwordpassword",
        "qwertyqwerty",
        "qwertyuiop",
        "qwertyuiopasdf",
        "qwertyuiopasdfghjkl",
        "thisismypassword",
        "trustnoone",
        "welcome",
        "welcomewelcome",
    }
)
_COUNTED = "01234567890123456789012345678901234567890"
_TRIMMINGS = "0123456789!?.,_-*#@$ "


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who may sign in. `disabled_at` None: in good standing. The name is the subject of the user's tokens."""

    username: str
    password_hash: str = field(repr=False)
    created_at: datetime
    disabled_at: datetime | None


def find_username(text: str) -> str | None:
    """Read a name as a person wrote it, in any case and with blanks around it; None for what no user is called."""
    name = text.strip()
    if not name.isascii() or not _USERNAME.fullmatch(name.lower()):
        return None
    return name.lower()


def check_username(text: str) -> Violation | None:
    """Judge a name for a new user, which must be written as it will be kept."""
    if _USERNAME.fullmatch(text):
        return None
    rule = "must have 1 to 63 characters: a-z, 0-9, dot, underscore and hyphen, the first a letter or a digit"
    return Violation("username", rule)


def normalise_password(password: str) -> str:
    """Bring a password to NFC, so that keyboards which compose characters differently type the same one."""
    return unicodedata.normalize("NFC", password)


def check_password(password: str, username: str) -> Violation | None:
    """Judge a password in NFC that `username` wants: long enough, and none of those that are tried first."""
    if not MINIMUM_PASSWORD_LENGTH <= len(password) <= MAXIMUM_PASSWORD_LENGTH:
        rule = f"must have {MINIMUM_PASSWORD_LENGTH} to {MAXIMUM_PASSWORD_LENGTH} characters"
        return Violation("password", rule)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in password):
        return Violation("password", "must not contain control characters")
    if _is_easily_guessed(password.lower(), username.lower()):
        return Violation("password", "is among those that are guessed first: choose another, a sentence for example")
    return None


def _is_easily_guessed(password: str, username: str) -> bool:
    words = password.strip(_TRIMMINGS)
    return (
        username in (password, words)
        or len(set(password)) < 5
        or password in _COUNTED
        or words.replace(" ", "") in _COMMON
    )
