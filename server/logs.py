"""Logging: one JSON object a line on standard error, from us and from libraries alike, with secrets masked last."""

import json
import logging
import re
import sys
from typing import Any

import orjson
import structlog

_SECRETS = re.compile(
    rb"(?P<key>ang_(?:live|test)_[0-9A-Za-z]{8})_[0-9A-Za-z]+"
    rb"|(?P<bearer>[Bb]earer\s+)[^\s\"\\]+"
    rb"|eyJ[0-9A-Za-z_-]{4,}(?:\.[0-9A-Za-z_-]*)*"
)
_SIGNS = (b"ang_", b"earer", b"eyJ")
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_MASK = b"[masked]"


def configure(level: int = logging.INFO) -> None:
    """Send every logger of the process through the same renderer and mask."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Handler()], force=True)


def mask(line: bytes) -> bytes:
    """Hide whatever looks like a key of ours (its prefix stays), a bearer token or a JWT."""
    if any(sign in line for sign in _SIGNS):  # most lines have none, and the search for all three is much cheaper
        return _SECRETS.sub(_masked, line)
    return line


def _masked(match: re.Match[bytes]) -> bytes:
    return (match["key"] + b"_" if match["key"] else match["bearer"] or b"") + _MASK


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
        except Exception:
            self.handleError(record)  # a library's odd log call must not fail the call that it serves

    def _write(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("server.library").bind(logger=record.name)
        if record.exc_info and record.exc_info[0]:
            log = log.bind(fault=record.exc_info[0].__name__)
        level = max(known for known in _LEVELS if known <= max(record.levelno, logging.DEBUG))
        log.log(level, record.getMessage())
