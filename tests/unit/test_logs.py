"""Logs: one JSON object a line, from us and from libraries alike, and nothing in them that could be used."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from server import logs
from server.keys.model import Environment
from server.keys.secret import draw
from server.secret import Secret, prefix_of

KEY = draw(Environment.LIVE)
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWFsaWNl"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configure logging as the server does, and return what was written."""
    buffer = BytesIO()
    stderr = TextIOWrapper(buffer)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    monkeypatch.setattr(sys, "stderr", stderr)
    writer = logs.configure()
    structlog.configure(cache_logger_on_first_use=False)

    def written() -> list[dict[str, Any]]:
        writer.close(timeout=10)
        return [json.loads(line) for line in buffer.getvalue().decode().splitlines()]

    yield written
    writer.close()
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    stderr.detach()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (KEY.reveal(), f"{prefix_of(KEY)}_[masked]"),
        (f"<{KEY.reveal()}>", f"<{prefix_of(KEY)}_[masked]>"),
        (KEY.reveal()[:30], f"{prefix_of(KEY)}_[masked]"),
        (prefix_of(KEY), prefix_of(KEY)),
        (f"authorization: Bearer {JWT}", "authorization: Bearer [masked]"),
        ("bearer abc.def-ghi", "bearer [masked]"),
        ("Bearer\tabc", "Bearer\t[masked]"),
        (JWT, "[masked]"),
        (f'"{JWT}"', '"[masked]"'),
        (JWT.split(".", maxsplit=1)[0], "[masked]"),
        (f"{KEY.reveal()} {JWT}", f"{prefix_of(KEY)}_[masked] [masked]"),
        ("eyJ", "eyJ"),
        ("a bearer", "a bearer"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, masked: str) -> None:
    assert logs.mask(text.encode()).decode() == masked


@given(st.text(), st.text())
def test_a_key_is_masked_wherever_it_stands(before: str, after: str) -> None:
    line = f"{before} {KEY.reveal()} {after}".encode("utf-8", "replace")
    assert KEY.reveal()[-49:].encode() not in logs.mask(line)


def test_our_events_are_json(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger("server.x").info("call", method="/a/b", secret=KEY, text=KEY.reveal(), header=f"Bearer {JWT}")
    (line,) = lines()
    assert (line["event"], line["level"], line["method"]) == ("call", "info", "/a/b")
    assert line["timestamp"].endswith("Z")
    assert line["secret"] == "[secret]"
    assert line["text"] == f"{prefix_of(KEY)}_[masked]"
    assert line["header"] == "Bearer [masked]"


def test_events_below_the_level_are_left_out(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger().debug("detail")
    logging.getLogger("library").info("detail")
    assert lines() == []


def test_what_libraries_log_is_json_and_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("library").warning("a token %s and\na key %s", JWT, KEY.reveal())
    (line,) = lines()
    assert (line["level"], line["logger"]) == ("warning", "library")
    assert line["event"] == f"a token [masked] and\na key {prefix_of(KEY)}_[masked]"


def test_of_an_exception_in_a_library_only_the_type_is_logged(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        int("the caller's data")
    except ValueError:
        logging.getLogger("library").exception("it failed")
    (line,) = lines()
    assert (line["event"], line["fault"], line["level"]) == ("it failed", "ValueError", "error")
    assert "data" not in str(line)


def test_an_error_log_without_an_exception_is_no_fault(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("library").error("it failed", exc_info=True)
    (line,) = lines()
    assert "fault" not in line


def test_a_secret_as_an_argument_prints_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("library").warning("%s %r %s", KEY, KEY, [Secret(KEY.reveal())])
    (line,) = lines()
    assert line["event"] == "[secret] [secret] [[secret]]"


class StuckFile(BytesIO):
    """A file whose reader has stopped reading, until the test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def write(self, octets: Any) -> int:
        self.reached.set()
        self.go_on.wait(10)
        return super().write(octets)


def test_a_reader_that_stops_costs_lines_and_no_waiting() -> None:
    file = StuckFile()
    writer = logs.LogWriter(file, room=10)
    writer.write(b"first\n")
    assert file.reached.wait(10)

    for _ in range(25):
        writer.write(b"later\n")
    file.go_on.set()
    writer.close()

    written = file.getvalue().splitlines()
    assert written[:11] == [b"first"] + [b"later"] * 10
    assert json.loads(written[11]) == {"event": "log_lines_lost", "lines": 15}


def test_a_reader_that_is_gone_fails_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        writer = logs.LogWriter(pipe)
        writer.write(b"a line\n")
        writer.close()


def test_what_json_cannot_hold_is_logged_all_the_same(lines: Callable[[], list[dict[str, Any]]]) -> None:
    structlog.get_logger("server.x").info("odd", text="\ud800", table={1: 2})
    assert lines()[0]["event"] == "odd"


def test_a_level_of_a_librarys_own_is_no_fault(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("library").log(35, "between warning and error")
    assert lines()[0]["level"] == "warning"
