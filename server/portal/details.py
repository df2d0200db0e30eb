"""The particulars of audit events, as readers of a language write times and the words of ours among them. No I/O."""

from typing import Final

from server.pages.formats import write_datetime
from server.pages.languages import translatable
from server.pages.reader import Reader

_WORDS: Final = {
    "none": translatable("none"),
    "yes": translatable("yes"),
    "no": translatable("no"),
    "public": translatable("Public"),
    "confidential": translatable("Confidential"),
    "granted": translatable("granted"),
    "declined": translatable("declined"),
    "replaced": translatable("replaced"),
}
_OURS: Final = frozenset({"type", "settlement", "ended", "rate_limit"})
"""Particulars whose words are ours. What people wrote, and names of tiers, mean themselves even if it is `none`."""
_CHANGE: Final = " → "


def write_detail(reader: Reader, name: str, text: str) -> str:
    """Write one particular, which the service gives as text: a value, or a change from one to another."""
    if not (name in _OURS or name.endswith("_at")):
        return text
    return _CHANGE.join(_written(reader, part) for part in text.split(_CHANGE))


def _written(reader: Reader, text: str) -> str:
    if text in _WORDS:
        return reader.gettext(_WORDS[text])
    try:
        return write_datetime(reader, text)
    except ValueError:
        return text
