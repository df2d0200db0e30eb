"""Streams added up, and drawn by day."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sdk.billing.v1.billing_service_pb2 import StreamDay
from sdk.usage.v1.usage_pb2 import MEDIUM_MUSIC, MEDIUM_VIDEO, Medium

import server.portal
from server.pages.languages import read_languages
from server.pages.reader import Reader
from server.portal.streams import Streams, by_client, stream_chart, total

LANGUAGES = read_languages([Path(server.portal.__file__).parent / "locales"])


def reader_of(code: str = "en") -> Reader:
    return Reader(language=LANGUAGES[code], zone=ZoneInfo("UTC"), theme="auto")


def day(number: int, client_id: str, medium: Medium.ValueType, billable: int, acquisitions: int) -> StreamDay:
    return StreamDay(
        day=f"2030-01-{number:02}", client_id=client_id, medium=medium, billable=billable, acquisitions=acquisitions
    )


DAYS = [
    day(1, "small", MEDIUM_MUSIC, 2, 3),
    day(1, "big", MEDIUM_VIDEO, 5, 5),
    day(3, "big", MEDIUM_MUSIC, 1, 4),
]


def test_streams_are_added_up() -> None:
    assert total(DAYS) == Streams(music=3, video=5, repeated=4)
    assert total(DAYS).billable == 8
    assert total([]) == Streams()


def test_the_client_with_most_comes_first() -> None:
    assert by_client(DAYS) == [
        ("big", Streams(music=1, video=5, repeated=3)),
        ("small", Streams(music=2, video=0, repeated=1)),
    ]


def test_the_chart_has_every_series_and_a_table_of_the_days_with_streams() -> None:
    drawn = stream_chart(reader_of(), DAYS, date(2030, 1, 1), date(2030, 1, 30))

    assert [f"chart-bar s{number}" in drawn for number in (1, 2, 3)] == [True] * 3
    assert "8 billable streams in all" in drawn
    assert drawn.count("<tr>") == 3  # the heads, and two days
    assert "Jan 3, 2030" in drawn


@pytest.mark.parametrize(("code", "label"), [("en", "Jan 1"), ("ar", "1 يناير")])
def test_days_stand_below_the_chart_without_their_year(code: str, label: str) -> None:
    drawn = stream_chart(reader_of(code), DAYS, date(2030, 1, 1), date(2030, 1, 30))

    assert f">{label}</text>" in drawn
    assert "2030</text>" not in drawn


def test_nothing_is_said_to_be_nothing() -> None:
    assert "No streams in this time." in stream_chart(reader_of(), [], date(2030, 1, 1), date(2030, 1, 30))
