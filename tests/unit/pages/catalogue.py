"""Whether a feature's translations are complete and fit to stand in a page."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

LANGUAGES = ("ar",)

_FUNCTIONS = {"_": None, "gettext": None, "translatable": None, "ngettext": (1, 2)}
_OPTIONS = {"trimmed": "true", "silent": "false"}
_PLACE = re.compile(r"%\((\w+)\)[sd]")
_TAG = re.compile(r"<[^>]*>")
_ENTITY = re.compile(r"&(?=[#\w])")

Message = str | tuple[str, ...]


def messages_of(feature: Path) -> set[Message]:
    """Return every message id in a feature's templates and Python files; one that counts is a pair."""
    templates = sorted((feature / "templates").rglob("*.html"))
    return {message for path in templates for message in _extracted(path, is_template=True)} | {
        message for path in sorted(feature.rglob("*.py")) for message in _extracted(path, is_template=False)
    }


def faults_of(feature: Path, *others: Path) -> list[str]:
    """Name what is wrong with the catalogues of `feature`; ids translated in `others` need no second translation."""
    wanted = messages_of(feature)
    return [fault for code in LANGUAGES for fault in _faults(wanted, feature, others, code)]


def _faults(wanted: set[Message], feature: Path, others: tuple[Path, ...], code: str) -> Iterator[str]:
    own = _catalogue(feature, code)
    shared = [_catalogue(other, code) for other in others]
    known = {message.id for catalogue in (own, *shared) for message in catalogue if all(_texts(message.string))}
    yield from (f"{code}: not translated: {message!r}" for message in sorted(wanted - known, key=str))
    for message in own:
        if not message.id:
            continue
        if message.id not in wanted:
            yield f"{code}: used nowhere: {message.id!r}"
        if message.fuzzy:
            yield f"{code}: only guessed: {message.id!r}"
        yield from (f"{code}: {fault}: {message.id!r}" for fault in _unfit(message.id, message.string))


def _unfit(source: str | Sequence[str], translation: str | Sequence[str] | None) -> Iterator[str]:
    """Tell other places to fill in, other mark-up, quotes (they end attributes) and a lone percent sign."""
    first = _texts(source)[-1]
    for text in filter(None, _texts(translation)):
        if not set(_PLACE.findall(text)) <= set(_PLACE.findall(first)):
            yield "has a place that the original has not"
        if len(_texts(source)) == 1 and set(_PLACE.findall(text)) != set(_PLACE.findall(first)):
            yield "lacks a place of the original"
        if Counter(_TAG.findall(text)) != Counter(_TAG.findall(first)):
            yield "has other mark-up than the original"
    for text in (*_texts(source), *_texts(translation)):
        if '"' in _TAG.sub("", text) or _ENTITY.search(text):
            yield "has a quote or an entity, which would stand unescaped"
        if "%" in _PLACE.sub("", text).replace("%%", ""):
            yield "has a percent sign that is not doubled"


def _texts(message: str | Sequence[str] | None) -> tuple[str, ...]:
    if message is None:
        return ()
    return (message,) if isinstance(message, str) else tuple(message)


def _extracted(path: Path, *, is_template: bool) -> Iterator[Message]:
    with path.open("rb") as file:
        method: Any = babel_extract if is_template else "python"
        for _line, message, _comments, _context in extract(method, file, _FUNCTIONS, options=_OPTIONS):
            if message:
                yield message if isinstance(message, str) else tuple(message)


def _catalogue(feature: Path, code: str) -> Catalog:
    with (feature / "locales" / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)
