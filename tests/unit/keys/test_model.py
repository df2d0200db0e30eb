"""What owners may call their keys."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.keys.model import normalise_name

ZWNJ, ZWJ, LRM, RLM = "\u200c", "\u200d", "\u200e", "\u200f"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "a"),
        ("Production", "Production"),
        (" two words ", " two words "),
        ("Cafe\u0301", "Café"),
        ("\u1112\u1161\u11ab", "한"),
        ("\u212b", "Å"),
        ("👩\u200d👩\u200d👧\u200d👦", "👩\u200d👩\u200d👧\u200d👦"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("مفتاح", "مفتاح"),
        (f"می{ZWNJ}خواهم", f"می{ZWNJ}خواهم"),
        (f"א{RLM}b", f"א{RLM}b"),
        (f"a{LRM}ב", f"a{LRM}ב"),
        ("\U00020000", "\U00020000"),
        ("x" * 100, "x" * 100),
        ("👍" * 100, "👍" * 100),
        ("e\u0301" * 100, "é" * 100),
    ],
)
def test_good_names_are_kept_in_normal_form(text: str, name: str) -> None:
    assert normalise_name(text) == (name, None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "1 to 100"),
        ("x" * 101, "1 to 100"),
        ("👍" * 101, "1 to 100"),
        ("\ufb2c" * 34, "1 to 100"),  # each becomes three in normal form
        (" ", "visible"),
        ("\u00a0\u2003", "visible"),
        (f"a{ZWJ}", "visible"),
        (f"{RLM}a", "visible"),
        (ZWNJ, "visible"),
        ("\u200b\u2060", "visible"),
        ("mine: ang_live_4fGh1JkL_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "API key"),
        ("a\0b", "U+0000 (character 2)"),
        ("\x07", "U+0007"),
        ("a\tb", "U+0009"),
        ("a\nb", "U+000A"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\u2029b", "U+2029"),
        ("a\u202eb", "U+202E"),
        ("a\u202ab", "U+202A"),
        ("a\u2066b", "U+2066"),
        ("a\u2069b", "U+2069"),
        ("a\ufdd0", "U+FDD0"),
        ("a\ufdef", "U+FDEF"),
        ("a\ufffe", "U+FFFE"),
        ("a\uffff", "U+FFFF"),
        ("a\U0001ffff", "U+1FFFF"),
        ("a\U0010fffe", "U+10FFFE"),
        ("a\ud800", "U+D800"),
    ],
)
def test_bad_names_are_refused_with_a_reason(text: str, hint: str) -> None:
    _, violation = normalise_name(text)
    assert violation is not None
    assert violation.field == "name"
    assert hint in violation.description


@given(st.text(max_size=120))
def test_an_accepted_name_stays_as_it_is(text: str) -> None:
    name, violation = normalise_name(text)
    assume(violation is None)
    assert normalise_name(name) == (name, None)
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name) <= 100
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
