"""A statement's lines as files: CSV (RFC 4180) and JSON, written piece by piece. No I/O.

Spreadsheets run what looks like a formula, and ids in the lines were written by others: such texts get an apostrophe
in front, which spreadsheets show as text. Amounts are numbers and stay as they are.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

import orjson
from sdk.billing.v1.billing_service_pb2 import Statement, StatementLine
from sdk.usage.v1.usage_pb2 import Medium

from server.transcoding.codec.message import Codecs

HEADINGS: Final = (
    "event_id",
    "amount",
    "adjustment",
    "acquired_at",
    "posted_at",
    "client_id",
    "medium",
    "content_id",
    "quality",
)
_CODECS: Final = Codecs()
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def neutral(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_rows(rows: Iterable[Sequence[str | int]]) -> bytes:
    """Write rows with their line ends (CRLF), quoted where they must be; numbers stay as they are, texts neutral."""
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerows([cell if isinstance(cell, int) else neutral(cell) for cell in row] for row in rows)
    return written.getvalue().encode()


def csv_head() -> bytes:
    """Write the row of the headings."""
    return csv_rows([HEADINGS])


def csv_lines(lines: Iterable[StatementLine]) -> bytes:
    """Write a row for each line."""
    return csv_rows(map(_row, lines))


def _row(line: StatementLine) -> tuple[str | int, ...]:
    return (
        line.event_id,
        line.amount,
        "true" if line.adjustment else "false",
        line.acquired_at,
        line.posted_at,
        line.client_id,
        Medium.Name(line.medium).removeprefix("MEDIUM_").lower(),
        line.content_id,
        line.quality,
    )


def json_head(statement: Statement) -> bytes:
    """Begin the document: the statement as GetStatement answers it, and the list of its lines."""
    return b'{"statement":' + orjson.dumps(_CODECS.of(Statement.DESCRIPTOR).write(statement)) + b',"lines":['


def json_lines(lines: Iterable[StatementLine], *, is_first: bool) -> bytes:
    """Write lines as ListStatementLines answers them; the first ones follow no comma."""
    write = _CODECS.of(StatementLine.DESCRIPTOR).write
    written = b",\n".join(orjson.dumps(write(line)) for line in lines)
    return written if is_first or not written else b",\n" + written


def json_tail() -> bytes:
    """End the document: one that lacks this was cut off."""
    return b"]}\n"
