"""Lists on a terminal: columns for people, JSON for programs. What others wrote cannot play with the terminal."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import typer

from server.times import format_time

_WIDEST = 40

Row = Mapping[str, object]


def show(rows: Sequence[Row], columns: Mapping[str, str], *, as_json: bool, empty: str) -> None:
    """Print rows: the fields that `columns` names under its headings or, as JSON, everything; `empty` if none."""
    if as_json:
        typer.echo(json.dumps([{name: _plain(value) for name, value in row.items()} for row in rows], indent=2))
    elif not rows:
        typer.echo(empty)
    else:
        _show_table([list(columns.values()), *([_cell(row[field]) for field in columns] for row in rows)])


def in_one_line(text: str) -> str:
    """Make text of somebody else's fit for a line of a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def _show_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return f"{format_time(value)[:16]}Z".replace("T", " ")
    if isinstance(value, int):
        return f"{value:,}"
    text = in_one_line(str(value))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _plain(value: object) -> object:
    return format_time(value) if isinstance(value, datetime) else value
