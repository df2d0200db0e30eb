"""Logging: one JSON object a line on standard error, from us and from libraries alike, with secrets masked last."""

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
    return mask(orjson.dumps(event, default=str))


class _Handler(logging.Handler):
    """Writes what libraries log. Of an exception only its type: its text may hold a caller's data."""

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        log = structlog.get_logger(record.name).bind(logger=record.name)
        if fault:
            log = log.bind(fault=fault)
        log.log(record.levelno, record.getMessage())
