"""Errors of the driver become errors of the domain by SQLSTATE and constraint name, and lose every text on the way."""

from typing import Any

import asyncpg
import pytest

from server.errors import Unavailable
from server.postgres.errors import ConstraintViolation, StatementFault, is_retryable, start_up_reason, translate

_SECRET = "secret-in-the-text"


def _server_error(state: str, **fields: Any) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError.new({"C": state, "M": _SECRET, "D": _SECRET, **fields})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize(
    "state",
    [
        *("08000", "08001", "08003", "08004", "08006", "08P01"),  # connection
        *("25006", "25P03", "25P04", "55P03"),  # read-only, idle too long, lock not available
        *("28000", "28P01", "3D000"),  # the user, the password, the database
        *("40001", "40P01"),  # given up after the retries
        *("53000", "53100", "53200", "53300"),  # disk, memory, connections
        *("57014", "57P01", "57P02", "57P03", "57P05"),  # timeout, shutdown, crash, start, idle session
        *("58000", "58030"),  # system, input and output
    ],
)
def test_a_state_of_the_server_is_unavailable(state: str) -> None:
    assert type(translate(_server_error(state))) is Unavailable


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        FileNotFoundError(),
        TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(_SECRET),
        asyncpg.InvalidCachedStatementError(_SECRET),
        asyncpg.OutdatedSchemaCacheError(_SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_of_the_connection_is_unavailable(error: Exception) -> None:
    assert type(translate(error)) is Unavailable


@pytest.mark.parametrize("state", ["23001", "23502", "23503", "23505", "23514", "23P01"])
def test_a_broken_constraint_is_told_by_name(state: str) -> None:
    violation = translate(_server_error(state, n="api_keys_pkey"))

    assert isinstance(violation, ConstraintViolation)
    assert (violation.constraint_name, violation.sqlstate) == ("api_keys_pkey", state)


@pytest.mark.parametrize("state", ["22021", "22P02", "25P02", "42501", "42601", "42P01", "P0001", "XX000"])
def test_a_refused_statement_is_a_fault_of_ours(state: str) -> None:
    fault = translate(_server_error(state))

    assert isinstance(fault, StatementFault)
    assert fault.sqlstate == state


def test_misuse_of_the_driver_is_a_fault_of_ours_unless_its_connection_is_gone() -> None:
    error = asyncpg.InterfaceError(_SECRET)

    assert isinstance(translate(error), StatementFault)
    assert isinstance(translate(error, connection_lost=True), Unavailable)


@pytest.mark.parametrize("state", ["08006", "23505", "42601", "22P02"])
def test_no_text_of_the_server_goes_on(state: str) -> None:
    told = translate(_server_error(state))

    assert _SECRET not in f"{told} {told!r} {vars(told)}"


def test_what_postgresql_gave_up_may_run_again() -> None:
    again = [state for state in ("40001", "40P01", "23505", "57014", "08006") if is_retryable(_server_error(state))]

    assert again == ["40001", "40P01"]
    assert is_retryable(asyncpg.InvalidCachedStatementError(""))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (_server_error("28P01"), "it refuses the user or the password"),
        (_server_error("3D000"), "the database does not exist"),
        (_server_error("53300"), "it has no connection left"),
        (_server_error("57P03"), "it is starting up or shutting down"),
        (
            _server_error("08P01"),
            "it refuses our connection settings; set DATABASE_POOLER=transaction if it is a transaction pooler",
        ),
        (_server_error("XX000"), "it answers with SQLSTATE XX000"),
        (TimeoutError(), "it does not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (asyncpg.InterfaceError(_SECRET), "the driver refuses the address (InterfaceError)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_operator_is_told_why_a_start_fails(error: Exception, reason: str) -> None:
    assert start_up_reason(error) == reason
