"""When a key is to end, read from a form."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from server.pages.forms import Form
from server.portal.expiry import BadExpiryError, read_expiry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RIYADH = ZoneInfo("Asia/Riyadh")


def form(**fields: str) -> Form:
    return Form({name: [value] for name, value in fields.items()})


READ = [
    (form(expiry="never"), ""),
    (form(expiry="7"), "2026-11-29T12:00:00.000000Z"),
    (form(expiry="7", since="2026-11-22T11:59:00Z"), "2026-11-29T11:59:00.000000Z"),
    (form(expiry="7", since="2026-11-22T10:59:00Z"), "2026-11-29T12:00:00.000000Z"),
    (form(expiry="7", since="2036-11-22T11:59:00Z"), "2026-11-29T12:00:00.000000Z"),
    (form(expiry="7", since="yesterday"), "2026-11-29T12:00:00.000000Z"),
    (form(expiry="date", last_day="2026-12-31"), "2026-12-31T21:00:00.000000Z"),
    (form(expiry="365", last_day="2026-12-31"), "2027-11-22T12:00:00.000000Z"),
]


@pytest.mark.parametrize(("sent", "expected"), READ)
def test_a_form_says_when(sent: Form, expected: str) -> None:
    assert read_expiry(sent, RIYADH, NOW) == expected


@pytest.mark.parametrize(
    "sent",
    [
        form(),
        form(expiry="8"),
        form(expiry="date"),
        form(expiry="date", last_day="31.12.2026"),
        form(expiry="date", last_day="9999-12-31"),
    ],
)
def test_a_form_that_does_not_say_it_is_refused(sent: Form) -> None:
    with pytest.raises(BadExpiryError):
        read_expiry(sent, RIYADH, NOW)
