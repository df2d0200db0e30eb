"""The rules for what people may call things. No I/O."""

import re
import unicodedata

from server.errors import Violation

MAXIMUM_NAME_LENGTH = 100

_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # Hangul fillers and the empty Braille cell
_KEY = re.compile(r"ang_(?:live|test|oauth)_[0-9A-Za-z]{8}_[0-9A-Za-z]{16}", re.ASCII)
_OURS = "developerportal"  # "Developer Portal" as `_folded` writes it
_LETTERS = {  # what looks like each letter of our name: digits, Latin small capitals, Greek, Cyrillic
    "a": "\u03b1\u0430\u0251\u1d00",
    "d": "\u0501\u1d05",
    "e": "\u03b5\u0435\u0454\u1d07",
    "l": "1i|\u0131\u029f\u03b9\u0456\u04cf",
    "o": "0\u03bf\u03c3\u043e\u1d0f",
    "p": "\u03c1\u0440\u1d18",
    "r": "\u0280\u0433",
    "t": "\u03c4\u0442\u1d1b",
    "v": "\u03bd\u0475\u1d20",
}
_FOLDING = str.maketrans({other: letter for letter, others in _LETTERS.items() for other in others})
# Bidirectional embeddings, overrides and isolates reorder the text around a name (Unicode Standard Annex 9).
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ZERO_WIDTH_SPACE = "\u200b"
# Invisible, yet part of correct Arabic, Persian, Indic and emoji text, hence allowed between other characters.
_JOINERS = frozenset("\u200c\u200d\u200e\u200f")


def normalise_name(text: str, field: str = "name") -> tuple[str, Violation | None]:
    """Bring a label to NFC and judge it: 1 to 100 code points, and none that breaks the text around it."""
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MAXIMUM_NAME_LENGTH:
        return name, Violation(field, f"must have 1 to {MAXIMUM_NAME_LENGTH} characters")
    for position, character in enumerate(name):
        if _is_harmful(character):
            code = f"U+{ord(character):04X}"
            return name, Violation(field, f"must not contain {code} (character {position + 1}): leave it out")
    if not any(map(_is_visible, name)) or name[0] in _JOINERS or name[-1] in _JOINERS:
        return name, Violation(field, "must have a visible character, and no joiner at its beginning or end")
    if _KEY.search(name):
        return name, Violation(field, "must not contain an API key: a name is stored and shown")
    return name, None


def normalise_public_name(text: str, field: str = "name") -> tuple[str, Violation | None]:
    """Bring a name that users are shown to NFC and judge it: as any other, and it must not pass for our own."""
    name, violation = normalise_name(text, field)
    if violation is None and _OURS in _folded(name):
        return name, Violation(field, "is reserved: choose one that does not look like the Developer Portal's own")
    return name, violation


def _folded(name: str) -> str:
    """Write a name so that names which look alike become the same: letters and digits alone, without their accents."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold()).translate(_FOLDING)
    return "".join(character for character in plain if character.isalnum() and character not in _BLANK_LETTERS)


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CZ" and character not in _BLANK_LETTERS


def _is_harmful(character: str) -> bool:
    """Tell controls, separators other than the space, surrogates, reordering marks and noncharacters."""
    if character in _REORDERING or character == _ZERO_WIDTH_SPACE:
        return True
    if character != " " and unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp", "Zs"}:
        return True
    code = ord(character)
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
