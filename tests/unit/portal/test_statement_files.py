"""A statement as files: what spreadsheets and programs read out of them again."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk.billing.v1.billing_service_pb2 import Statement, StatementLine, StatementSum
from sdk.usage.v1.usage_pb2 import MEDIUM_MUSIC, MEDIUM_VIDEO

from server.portal import statement_files as files


def line(event_id: str = "e-1", amount: int = 1, **fields: object) -> StatementLine:
    return StatementLine(
        **{  # type: ignore[arg-type]
            "event_id": event_id,
            "amount": amount,
            "acquired_at": "2030-01-02T03:04:05.000006Z",
            "posted_at": "2030-01-02T03:04:06.000006Z",
            "client_id": "client_1",
            "medium": MEDIUM_MUSIC,
            "content_id": "song",
            "quality": "high",
            **fields,
        }
    )


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("a=1", "a=1"),
        ("'=1", "'=1"),
        ("", ""),
        ("event-1", "event-1"),
    ],
)
def test_no_text_is_a_formula(text: str, written: str) -> None:
    assert files.neutral(text) == written


def test_amounts_stay_numbers() -> None:
    ((event_id, amount, *_),) = read(files.csv_lines([line("-1", -1)]))
    assert (event_id, amount) == ("'-1", "-1")


def test_rows_end_and_are_quoted_as_rfc_4180_says() -> None:
    assert files.csv_rows([["a", 1], ['q"q', -1], ["c,d", 0]]) == b'a,1\r\n"q""q",-1\r\n"c,d",0\r\n'
    assert not files.csv_head().startswith(b"\xef\xbb\xbf")


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=4)))
def test_whatever_is_in_a_cell_is_read_again_as_it_was_but_for_the_apostrophe(rows: list[list[str]]) -> None:
    assert read(files.csv_rows(rows)) == [[files.neutral(cell) for cell in row] for row in rows]


def test_a_line_is_a_row_under_the_headings() -> None:
    content = files.csv_head() + files.csv_lines([line(adjustment=True, medium=MEDIUM_VIDEO)])
    headings, row = read(content)
    assert dict(zip(headings, row, strict=True)) == {
        "event_id": "e-1",
        "amount": "1",
        "adjustment": "true",
        "acquired_at": "2030-01-02T03:04:05.000006Z",
        "posted_at": "2030-01-02T03:04:06.000006Z",
        "client_id": "client_1",
        "medium": "video",
        "content_id": "song",
        "quality": "high",
    }


@pytest.mark.parametrize("pages", [[], [[]], [["a"]], [["a", "b"], ["c"]], [[], ["a"]], [["a"], []]])
def test_pieces_of_json_are_one_document(pages: list[list[str]]) -> None:
    statement = Statement(
        month="2030-01", total=3, sums=[StatementSum(client_id="client_1", medium=MEDIUM_MUSIC, streams=3)]
    )
    written, is_first = files.json_head(statement), True
    for page in pages:
        written += files.json_lines(map(line, page), is_first=is_first)
        is_first = is_first and not page
    document = json.loads(written + files.json_tail())

    assert document["statement"]["total"] == "3"  # as REST writes numbers of 64 bits
    assert [each["eventId"] for each in document["lines"]] == [name for page in pages for name in page]


def test_json_that_was_cut_off_cannot_be_read() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(files.json_head(Statement()) + files.json_lines([line()], is_first=True))
