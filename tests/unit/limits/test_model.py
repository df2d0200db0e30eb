"""Rates as text."""

import pytest

from server.limits.model import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("120/60", Rate(120, 60)), (" 1/1 ", Rate(1, 1)), ("999999999/9999999", Rate(999_999_999, 9_999_999))],
)
def test_a_rate_is_requests_over_seconds(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "120",
        "/60",
        "120/",
        "0/60",
        "120/0",
        "-1/60",
        "1.5/60",
        "120/60/1",
        "120 / 60",
        "\u0661/1",
        "a/b",
        "9999999999/1",
    ],
)
def test_any_other_text_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="REQUESTS/SECONDS"):
        Rate.parse(text)
