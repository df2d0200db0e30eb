"""What services say in English, in the reader's language: how values are kept, and that no sentence was forgotten."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from server.pages import sentences
from server.pages.sentences import Sentences, isolated, read_sentences
from tests.unit.pages.rules import Told, rules_told
from tests.unit.pages.spoken import SAMPLE, spoken

TABLES = sorted((Path(sentences.__file__).parent / "locales").glob("*.sentences.po"))
PLACE = re.compile(r"%\((\w+)\)s")
ELSEWHERE = {"The service failed to answer."}
"""Said by the database's errors, among much that no client reads."""


def arabic() -> Sentences:
    found = read_sentences("ar")
    assert found is not None
    return found


AR = arabic()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("value is required", "القيمة مطلوبة"),
        ("must be at most 1 characters", "يجب ألا يزيد على حرف واحد"),
        ("must be at most 2 characters", "يجب ألا يزيد على حرفين"),
        ("must be at most 8 characters", "يجب ألا يزيد على <8> أحرف"),
        ("must be at most 40 characters", "يجب ألا يزيد على <40> حرفًا"),
        ("must be at most 100 characters", "يجب ألا يزيد على <100> حرف"),
        ("must have at most 1,000 characters", "يجب ألا يزيد على <1,000> حرف"),
        ("must be in list [read, stream]", "يجب أن يكون إحدى هذه القيم: <read, stream>"),
        ("must not contain U+0000: leave it out", "يجب ألا يحتوي على <U+0000>: احذفه"),
        (
            "must not contain U+202E (character 2): leave it out",
            "يجب ألا يحتوي على <U+202E> (الحرف رقم <2>): احذفه",
        ),
        ("Rate limit exceeded. Retry after 5s.", "تجاوزت حد المعدل. أعد المحاولة بعد <5> ثوانٍ."),
        ("Rate limit exceeded. Retry after 60s.", "تجاوزت حد المعدل. أعد المحاولة بعد <60> ثانية."),
    ],
)
def test_a_sentence_is_told_with_its_values_and_counts(said: str, told: str) -> None:
    assert AR.translate(said) == told.replace("<", "\u2068").replace(">", "\u2069")


@pytest.mark.parametrize(
    "said", ["", "is of a kind that nobody has seen", "must be at most many characters", "%(num)s"]
)
def test_what_is_not_known_stays_as_it_was_said(said: str) -> None:
    assert AR.translate(said) == f"\u2068{said}\u2069"


def test_english_needs_no_table() -> None:
    assert read_sentences("en") is None


@given(st.text(max_size=300))
def test_any_text_can_be_told(said: str) -> None:
    assert said in AR.translate(said)


@given(st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable() and "only" not in text))
def test_a_value_stays_what_it_was_whatever_it_is(path: str) -> None:
    assert isolated(path) in AR.translate(f"cannot change {path}: only name")


# ---- nothing is forgotten ----


@pytest.mark.parametrize(("said", "where"), spoken())
def test_every_sentence_in_the_source_of_services_is_translated(said: str, where: str) -> None:
    assert AR.translate(said) != isolated(said), where


@pytest.mark.parametrize("told", rules_told(), ids=str)
def test_every_rule_of_the_messages_that_the_portal_sends_is_translated(told: Told) -> None:
    assert told.sentence, "no value tried breaks this rule: try one that does"
    assert AR.translate(told.sentence) != isolated(told.sentence)


def test_the_source_is_read_with_what_is_filled_in() -> None:
    """Else the test above could pass for want of anything to judge."""
    said = {sentence for sentence, _ in spoken()}
    assert {
        f"must have 1 to {SAMPLE} characters",
        f"names too many fields: only {SAMPLE} can change",
        f"must not contain U+{SAMPLE} (character {SAMPLE}): leave it out",
        f"{SAMPLE} secrets of this client still work. Wait for one to end, or rotate with expire_previous_now to end "
        "them all.",
    } <= said


# ---- the tables are fit ----


class Entry(NamedTuple):
    """One sentence of a table."""

    english: tuple[str, ...]
    forms: tuple[str, ...]

    def __str__(self) -> str:
        return self.english[0][:60]


def entries(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        yield from (
            Entry(_texts(message.id), _texts(message.string))
            for message in read_po(file, locale=path.name.partition(".")[0], abort_invalid=True)
            if _is_sure(message)
        )


def _is_sure(message: Message) -> bool:
    assert not message.fuzzy, message.id
    return bool(message.id)


def _texts(message: str | Sequence[str] | None) -> tuple[str, ...]:
    assert message is not None
    return (message,) if isinstance(message, str) else tuple(message)


ENTRIES = [entry for path in TABLES for entry in entries(path)]


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_translation_has_the_places_of_its_sentence(entry: Entry) -> None:
    wanted = set(PLACE.findall(entry.english[-1]))
    assert all(entry.forms)
    assert all(set(PLACE.findall(form)) <= wanted for form in entry.forms)
    assert all(set(PLACE.findall(form)) == wanted for form in entry.forms[-3:]), "one, two and none may go without"
    assert (len(entry.forms) > 1) == ("num" in wanted), "what counts has plurals, and nothing else has"


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_sentence_is_told_by_its_own_translation(entry: Entry) -> None:
    for english in entry.english:
        told = AR.translate(PLACE.sub(SAMPLE, english))
        assert told in {PLACE.sub(isolated(SAMPLE), form) for form in entry.forms}


def test_no_sentence_is_translated_that_nobody_says() -> None:
    said = {sentence for sentence, _ in spoken()} | {told.sentence for told in rules_told()} | ELSEWHERE
    assert [str(entry) for entry in ENTRIES if not any(map(_pattern(entry).fullmatch, said))] == []


def _pattern(entry: Entry) -> re.Pattern[str]:
    return re.compile(".+?".join(map(re.escape, PLACE.split(entry.english[0])[::2])))
