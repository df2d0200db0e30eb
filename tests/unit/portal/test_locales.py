"""The Arabic catalogue: everything the portal says is in it, with the same places to fill."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import server.portal

FOLDER = Path(server.portal.__file__).parent
SITE = FOLDER.parent / "pages" / "locales" / "ar.po"
SENTENCES = SITE.with_name("ar.sentences.po")
PLACES = re.compile(r"%\(\w+\)s")


def catalogue(path: Path) -> dict[object, object]:
    with path.open("rb") as file:
        return {message.id: message.string for message in read_po(file, locale="ar") if message.id}


def said() -> list[object]:
    found = extract_from_dir(
        str(FOLDER),
        method_map=[("**.py", "python"), ("templates/**.html", "jinja2")],
        options_map={"templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}},
        keywords={"_": None, "gettext": None, "ngettext": (1, 2), "translatable": None, "say": None},
    )
    return sorted({message for _, _, message, _, _ in found}, key=str)


OURS = catalogue(FOLDER / "locales" / "ar.po")


@pytest.mark.parametrize("message", said(), ids=lambda message: str(message)[:40])
def test_everything_said_has_a_translation(message: object) -> None:
    assert message in OURS or message in catalogue(SITE)


@pytest.mark.parametrize("message", OURS, ids=lambda message: str(message)[:40])
def test_a_translation_fills_the_same_places(message: object) -> None:
    translated = OURS[message]
    if isinstance(message, str):
        assert isinstance(translated, str)
        assert translated
        assert sorted(PLACES.findall(message)) == sorted(PLACES.findall(translated))
    else:
        assert isinstance(translated, list | tuple)
        assert len(translated) == 6
        assert all(set(PLACES.findall(form)) <= set(PLACES.findall(message[1])) for form in translated)  # type: ignore[index]
        assert "%" in translated[3]


LONE = re.compile(r"https?://|\[::1]|[a-z]_(?!\w)|[a-z]:/|[#@]")
"""What turns around, or has its signs on the wrong side, where it stands bare among words from right to left."""
ISOLATED = re.compile("\u2066[^\u2066\u2069]*\u2069")


def written(string: object) -> Iterator[str]:
    yield from (string,) if isinstance(string, str) else string  # type: ignore[misc]


@pytest.mark.parametrize("path", [FOLDER / "locales" / "ar.po", SITE, SENTENCES], ids=["portal", "pages", "sentences"])
def test_addresses_and_signs_are_isolated_from_the_words_around_them(path: Path) -> None:
    texts = [text for string in catalogue(path).values() for text in written(string)]

    assert [text for text in texts if LONE.search(ISOLATED.sub("", text))] == []
    assert [text for text in texts if re.search("[\u2066\u2069]", ISOLATED.sub("", text))] == []
