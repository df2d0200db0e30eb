"""What owners may call their keys, and what developers may call their clients and themselves."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.text import normalise_name, normalise_public_name

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
        ("\u00a0\u2003", "U+00A0 (character 1)"),
        ("a\u00a0b", "U+00A0 (character 2)"),
        ("a\u2003b", "U+2003"),
        ("a\u202fb", "U+202F"),
        ("a\u3000b", "U+3000"),
        ("a\u200bb", "U+200B (character 2)"),
        (f"a{ZWJ}", "visible"),
        (f"{RLM}a", "visible"),
        (ZWNJ, "visible"),
        ("\u2060", "visible"),
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


@pytest.mark.parametrize(
    "name",
    [
        "Developer Portal",
        "developerportal",
        "The DEVELOPER  PORTAL team",
        "Developer-Portal",
        "D e v e l o p e r P o r t a l",
        "Developer\u200dPortal",
        "Devel\u2060oper Portal",
        "Developer\u3164Portal",
        "Deve\u0301loper Portal",
        "Devéloper Pörtal",
        "DeveIoper PortaI",
        "Deve1oper P0rtal",
        "\uff24eveloper \uff30ortal",
        "\U0001d403eveloper Portal",
        "D\u0435v\u0435l\u043e\u0440\u0435r \u0420\u043ert\u0430l",
        "D\u03b5\u03bdel\u03bfper \u03a1\u03bfr\u03c4\u03b1l",
    ],
)
def test_a_public_name_does_not_pass_for_ours(name: str) -> None:
    assert normalise_name(name)[1] is None
    _, violation = normalise_public_name(name, "display_name")
    assert violation is not None
    assert violation.field == "display_name"
    assert "reserved" in violation.description


@pytest.mark.parametrize(
    "name", ["Portal", "Developer", "Portal Developer", "Alice's portal", "Développeur Portal", "Игорь Портал", "مطور"]
)
def test_other_public_names_are_judged_like_any(name: str) -> None:
    assert normalise_public_name(name) == normalise_name(name) == (name, None)
    _, violation = normalise_public_name("a\nb", "display_name")
    assert violation is not None
    assert violation.field == "display_name"


@given(st.text(max_size=120))
def test_an_accepted_name_stays_as_it_is(text: str) -> None:
    name, violation = normalise_name(text)
    assume(violation is None)
    assert normalise_name(name) == (name, None)
    assert unicodedata.is_normalized("NFC", name)
    assert 1 <= len(name) <= 100
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
