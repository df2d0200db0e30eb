"""Logging: one JSON object a line on standard error, from us and from libraries alike, with secrets masked last."""

import atexit
import json
import logging
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import orjson
import structlog

_SECRETS = re.compile(
    rb"(?P<key>ang_(?:live|test|oauth|code|refresh)_[0-9A-Za-z]{8})_[0-9A-Za-z]+"
    rb"|(?P<bearer>[Bb]earer\s+)[^\s\"\\]+"
    rb"|eyJ[0-9A-Za-z_-]{4,}(?:\.[0-9A-Za-z_-]*)*"
)
_SIGNS = (b"ang_", b"earer", b"eyJ")
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
MASK = "[masked]"
_ROOM = 20_000
"""How many lines may wait to be written, some 5 MB."""
_GATHER_SECONDS = 0.05
"""How long the writer lets lines gather, so that a busy server pays for few writes."""


def configure(level: int = logging.INFO) -> "LogWriter":
    """Send every logger of the process through the same renderer, mask and writer."""
    # Unbuffered where possible: a stuck writer must not hold a lock that the end of the process waits for.
    writer = LogWriter(getattr(sys.stderr.buffer, "raw", sys.stderr.buffer))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(writer),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Handler()], force=True)
    return writer


class LogWriter:
    """A file for log lines that never waits and never fails: a thread of its own writes them, several at once.

    A reader that is too slow or gone costs lines, not calls. Lines that do not fit are counted and told of later.
    """

    def __init__(self, output: BinaryIO, *, room: int = _ROOM) -> None:
        self._output = output
        self._room = room
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, line: bytes) -> None:
        """Take a line."""
        if len(self._lines) >= self._room:
            self._lost += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> None:
        """Do nothing: the thread writes soon."""

    def close(self, timeout: float = 1.0) -> None:
        """Give the thread a moment for what is left."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closing or self._lines:
            self._wake.wait()
            time.sleep(_GATHER_SECONDS)
            self._wake.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._lost:
                lines.append(b'{"event":"log_lines_lost","lines":%d}\n' % self._lost)
                self._lost = 0
            with suppress(OSError, ValueError):  # nobody reads, or the file is closed: serving goes on
                for piece in _pieces(lines):
                    self._write_all(memoryview(piece))

    def _write_all(self, rest: memoryview) -> None:
        while rest:
            rest = rest[self._output.write(rest) or len(rest) :]  # None: a file that would block; the lines are lost


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Join lines into pieces that a pipe shared by several processes takes whole, as far as single lines allow."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def mask(line: bytes) -> bytes:
    """Hide whatever looks like a key of ours (its prefix stays), a bearer token or a JWT."""
    if any(sign in line for sign in _SIGNS):  # most lines have none, and the search for all three is much cheaper
        return _SECRETS.sub(_masked, line)
    return line


def _masked(match: re.Match[bytes]) -> bytes:
    return (match["key"] + b"_" if match["key"] else match["bearer"] or b"") + MASK.encode()


def _render(_: object, __: str, event: Any) -> bytes:
    try:
        line = orjson.dumps(event, default=str)
    except TypeError:  # lone surrogates, or keys that are no text
        line = json.dumps(event, default=str).encode()
    return mask(line)


class _Handler(logging.Handler):
    """Writes what libraries log. Of an exception only its type: its text may hold a caller's data."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(record)
        except Exception:  # an odd log call must not fail the call it serves; the default would print its arguments
            structlog.get_logger("server.library").error("log_call_failed", logger=record.name)

    def _write(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("server.library").bind(logger=record.name)
        if record.exc_info and record.exc_info[0]:
            log = log.bind(fault=record.exc_info[0].__name__)
        level = max(known for known in _LEVELS if known <= max(record.levelno, logging.DEBUG))
        log.log(level, record.getMessage())
