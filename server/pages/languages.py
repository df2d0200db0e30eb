"""The languages pages are written in, and which one a reader gets. English is the language of the message ids.

Translations are gettext catalogues, `locales/<language>.po` beside a template folder, read once at start.
"""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from server.pages.sentences import Sentences, read_sentences

DEFAULT: Final = "en"
NAMES: Final[Mapping[str, str]] = {"en": "English", "ar": "العربية"}

_HEADER_LIMIT: Final = 1000
_RANGE: Final = re.compile(r"([A-Za-z]{1,8}|\*)(?:-[A-Za-z0-9]{1,8})*(?:\s*;\s*q=([01](?:\.\d{0,3})?))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Language:
    """One language with all its translations. `name` is what its own readers call it.

    `sentences` are what services say, None where they say it in this language.
    """

    code: str
    name: str
    locale: Locale
    translations: Translations
    sentences: Sentences | None

    @property
    def direction(self) -> str:
        """Return `ltr` or `rtl`, for the `dir` attribute."""
        return self.locale.text_direction


def translatable(text: str) -> str:
    """Mark a message id that stands in Python and is translated later, when the reader is known."""
    return text


def read_languages(folders: Iterable[Path]) -> Mapping[str, Language]:
    """Read the catalogues of all `folders` into one per language; where two translate the same id, the first wins.

    Raises babel's errors for a catalogue that is not well-formed: better at start than on a page.
    """
    known = list(folders)
    return {code: _read_language(code, name, known) for code, name in NAMES.items()}


def choose_language(wish: str | None, accepted: str) -> str:
    """Choose by the reader's own `wish` (a code, from the cookie), else by Accept-Language (RFC 9110 section 12.5.4).

    Both are untrusted. Ranges match by their first subtag, equal weights count in their order; what is not a range is
    passed over.
    """
    if wish in NAMES:
        return str(wish)
    ranges = [_RANGE.fullmatch(part.strip()) for part in accepted[:_HEADER_LIMIT].split(",")]
    weighed = [(float(match[2] or 1), match[1].lower()) for match in ranges if match]
    for weight, code in sorted(weighed, key=lambda item: -item[0]):
        if weight > 0 and (code in NAMES or code == "*"):
            return DEFAULT if code == "*" else code
    return DEFAULT


def _read_language(code: str, name: str, folders: list[Path]) -> Language:
    merged = Translations()
    for folder in reversed(folders):
        path = folder / f"{code}.po"
        if path.is_file():
            merged = _merged(merged, _read_catalogue(path, code))
    locale, sentences = Locale.parse(code), read_sentences(code)
    return Language(code=code, name=name, locale=locale, translations=merged, sentences=sentences)


def _read_catalogue(path: Path, code: str) -> Translations:
    with path.open("rb") as file:
        catalogue = read_po(file, locale=code, abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def _merged(first: Translations, later: Translations) -> Translations:
    """Lay `first` under `later`. The rule for plurals is the language's, so either one's is right."""
    later.add_fallback(first)
    return later
