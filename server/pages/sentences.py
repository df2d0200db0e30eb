"""What services say, in a reader's language: fixed sentences, and those with values filled in.

Services speak English to every kind of client, and pages translate what they show of it. A catalogue
`locales/<language>.sentences.po` has each sentence's English as its message id, with a named place for each value:
`%(num)s` for a number that it counts by, which chooses the plural, any other name for any text.
"""

import gettext
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from babel.messages.catalog import Message
from babel.messages.pofile import read_po

COUNT: Final = "num"

_FOLDER: Final = Path(__file__).parent / "locales"
_PLACE: Final = re.compile(r"%\((\w+)\)s")


class _Sentence(NamedTuple):
    """One English form of a sentence, and its translations by the plural's number."""

    pattern: re.Pattern[str]
    forms: Sequence[str]
    literal: int
    """How many letters of the English are no place: of two patterns that fit, the one with more says more."""


class Sentences:
    """The sentences of one language."""

    def __init__(self, sentences: Sequence[_Sentence], plural: Callable[[int], int]) -> None:
        self._sentences = sorted(sentences, key=lambda sentence: -sentence.literal)
        self._plural = plural

    def translate(self, said: str) -> str:
        """Return a sentence in this language, with its values as they are; one that is not known stays English.

        What is not of this language is isolated from the direction of the text around it.
        """
        for sentence in self._sentences:
            if match := sentence.pattern.fullmatch(said):
                return self._filled(sentence.forms, match.groupdict())
        return isolated(said)

    def _filled(self, forms: Sequence[str], values: Mapping[str, str]) -> str:
        number = int(values.get(COUNT, "0").replace(",", ""))
        form = forms[self._plural(number) if len(forms) > 1 else 0]
        return _PLACE.sub(lambda place: isolated(values[place[1]]), form)


def isolated(text: str) -> str:
    """Put text between marks that keep its direction from what is around it (Unicode Standard Annex 9)."""
    return f"\u2068{text}\u2069"


def read_sentences(code: str) -> Sentences | None:
    """Read the sentences of a language, None for one without, which is English.

    Raises babel's errors for a catalogue that is not well-formed, and `re.error` for one place twice in a sentence.
    """
    path = _FOLDER / f"{code}.sentences.po"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        catalogue = read_po(file, locale=code, abort_invalid=True)
    sentences = [sentence for message in catalogue if message.id for sentence in _compiled(message)]
    return Sentences(sentences, gettext.c2py(catalogue.plural_expr))


def _compiled(message: Message) -> list[_Sentence]:
    """Compile a message, each of its English forms once: often the singular is written like the plural."""
    forms = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
    english = dict.fromkeys((message.id,) if isinstance(message.id, str) else message.id)
    return [_Sentence(pattern=_pattern(text), forms=forms, literal=len(_PLACE.sub("", text))) for text in english]


def _pattern(text: str) -> re.Pattern[str]:
    parts = _PLACE.split(text)  # literal text and names of places in turn
    places = [rf"(?P<{name}>{'[0-9][0-9,]{0,20}' if name == COUNT else '.+?'})" for name in parts[1::2]]
    literals = map(re.escape, parts[::2])
    return re.compile("".join(f"{literal}{place}" for literal, place in zip(literals, [*places, ""], strict=True)))
