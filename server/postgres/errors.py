"""What the driver and the database report, in the domain's terms: decided by SQLSTATE, class and constraint name only.

Message text is never read and never passed on: it may carry SQL or values of a row.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

import asyncpg
import structlog

from server import errors

_log = structlog.get_logger(__name__)

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that a call of the driver raises when it fails; `TimeoutError` is an `OSError`."""

_UNAVAILABLE_CLASSES = frozenset({"08", "28", "3D", "40", "53", "57", "58"})
"""Connection, authentication, missing database, rollback, resources, operator's intervention and timeouts, system."""

_UNAVAILABLE_STATES = frozenset({"25006", "25P03", "25P04", "55P03"})
"""Read-only server (after a failover), idle-in-transaction and transaction timeout, lock not available."""

_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "08P01": "it refuses our connection settings; set DATABASE_POOLER=transaction if it is a transaction pooler",
        "28": "it refuses the user or the password",
        "3D": "the database does not exist",
        "53300": "it has no connection left",
        "57P03": "it is starting up or shutting down",
    }
)


class ConstraintViolation(Exception):
    """A statement broke a constraint. Stores catch it, by name; one that escapes is a defect (INTERNAL).

    `constraint_name` is empty for a NOT NULL column; `sqlstate` is of class 23.
    """

    def __init__(self, constraint_name: str, sqlstate: str) -> None:
        super().__init__(f"constraint {constraint_name or '(none)'} violated, SQLSTATE {sqlstate}")
        self.constraint_name = constraint_name
        self.sqlstate = sqlstate


class StatementFault(errors.Error):
    """PostgreSQL or the driver refused a statement of ours: a defect, told to the caller in one fixed sentence."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("The service failed to answer.")
        self.sqlstate = sqlstate
        self.add_note(f"SQLSTATE {sqlstate or 'none: refused by the driver'}")


def translate(error: BaseException, *, connection_lost: bool = False) -> Exception:
    """Return what to raise instead of a driver's `error`.

    `connection_lost` says that the connection it came from is closed: the driver reports the use of a closed one and
    the misuse of its own functions by the same class.
    """
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return errors.Unavailable()  # a migration changed a table under a prepared statement; the next call sees it
    if isinstance(error, asyncpg.PostgresError):
        return _translate_state(error)
    if connection_lost or isinstance(error, OSError):
        _log.warning("database_unavailable", error=type(error).__name__)
        return errors.Unavailable()
    _log.error("statement_refused", error=type(error).__name__)
    return StatementFault("")


def is_retryable(error: asyncpg.PostgresError) -> bool:
    """Say whether a transaction that failed with `error` may run again as it is: nothing of it has stayed.

    True for a serialization failure, a deadlock, and a prepared statement that a migration has made stale.
    """
    return error.sqlstate in {"40001", "40P01"} or isinstance(error, asyncpg.InvalidCachedStatementError)


def start_up_reason(error: BaseException) -> str:
    """Return why a first connection failed, as a clause for the operator; known from types and SQLSTATE."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return _REASONS.get(state) or _REASONS.get(state[:2]) or f"it answers with SQLSTATE {state}"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return os.strerror(error.errno).lower() if error.errno else type(error).__name__
    return f"the driver refuses the address ({type(error).__name__})"


def _translate_state(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    if state in _UNAVAILABLE_STATES or state[:2] in _UNAVAILABLE_CLASSES:
        _log.warning("database_unavailable", sqlstate=state, error=type(error).__name__)
        return errors.Unavailable()
    if state[:2] == "23":
        return ConstraintViolation(error.constraint_name or "", state)
    # Texts of class 42 (syntax, unknown names) and 0A quote our own SQL at most; every other may quote a value.
    text = error.args[0] if state[:2] in {"42", "0A"} and error.args else None
    _log.error("statement_refused", sqlstate=state, error=type(error).__name__, table=error.table_name, text=text)
    return StatementFault(state)
