"""The link that turns every exception into a status, so that no exception text ever reaches a caller."""

from typing import Any

import structlog
from grpc.aio import AbortError

from server.errors import Error
from server.rpc.call import Call, Proceed
from server.rpc.status import status_of

_log = structlog.get_logger("server.rpc")


async def map_errors(proceed: Proceed, call: Call, request: Any) -> Any:
    """Leave the status of a failed call on it and answer None. Cancellation and grpc's own aborts pass."""
    try:
        return await proceed(call, request)
    except AbortError:
        call.reason = "ABORTED"
        raise
    except Error as error:
        _fail(call, error)
    except Exception as fault:
        _log.error(
            "unexpected_fault", call_id=call.id, method=call.method, fault=type(fault).__name__, where=_where(fault)
        )
        _fail(call, Error(f"Something went wrong on our side. Quote {call.id} when you report it."))
    return None


def _fail(call: Call, error: Error) -> None:
    call.status = status_of(error, call.id)
    call.reason = error.kind.value


def _where(fault: BaseException) -> str:
    """Name the innermost place of a fault as file and line; its text may hold a caller's data and is not logged."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else ""
