"""How the audit log writes the particulars of an event, and what it calls what happened."""

from zoneinfo import ZoneInfo

import pytest

from server.audit.store import Action
from server.pages.languages import read_languages
from server.pages.reader import Reader
from server.portal.app import TEMPLATES
from server.portal.details import write_detail

LANGUAGES = read_languages([TEMPLATES.parent / "locales"])
MOMENT = "2026-11-22T21:04:05.123456Z"


def reader(code: str) -> Reader:
    return Reader(language=LANGUAGES[code], zone=ZoneInfo("Asia/Riyadh"), theme="auto")


@pytest.mark.parametrize(
    ("name", "text", "english", "arabic"),
    [
        ("expires_at", MOMENT, "Nov 23, 2026 00:04:05 UTC+03", "23 نوفمبر 2026 00:04:05 UTC+03"),
        (
            "expires_at",
            f"none → {MOMENT}",
            "none → Nov 23, 2026 00:04:05 UTC+03",
            "لا شيء → 23 نوفمبر 2026 00:04:05 UTC+03",
        ),
        ("expires_at", "soon", "soon", "soon"),
        ("ended", "yes", "yes", "نعم"),
        ("type", "public", "Public", "عام"),
        ("settlement", "declined", "declined", "رُفضت"),
        ("rate_limit", "none → 20/1", "none → 20/1", "لا شيء → 20/1"),
        ("organisation", "none → yes", "none → yes", "none → yes"),
        ("name", MOMENT, MOMENT, MOMENT),
        ("scopes", "read, stream", "read, stream", "read, stream"),
    ],
)
def test_times_and_words_of_ours_are_written_for_the_reader(name: str, text: str, english: str, arabic: str) -> None:
    assert write_detail(reader("en"), name, text) == english
    assert write_detail(reader("ar"), name, text) == arabic


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.TIER_SET], ids=str)
def test_what_happened_to_a_developer_has_words(action: Action) -> None:
    """What operators do to a tier is in no developer's log."""
    assert f'"{action.value}": _(' in (TEMPLATES / "parts.html").read_text()
