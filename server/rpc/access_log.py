"""The link that writes one line and one measurement for every call. It never raises anything of its own."""

import asyncio
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from server.ids import new_call_id
from server.rpc.call import Call, Proceed

_log = structlog.get_logger("server.access")
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class AccessLog:
    """Logs and counts calls. Only methods that exist become label values, so that callers cannot grow the metrics.

    Of `quiet` methods, called for every call that partners make, only failures are logged.
    """

    def __init__(
        self, registry: CollectorRegistry, methods: frozenset[str], quiet: frozenset[str] = frozenset()
    ) -> None:
        self._methods = methods
        self._quiet = quiet
        self._children: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._calls = Counter(
            "developer_calls",
            "Calls by method and outcome (OK or the error code).",
            ["method", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "developer_call_seconds", "How long calls took.", ["method"], buckets=_BUCKETS, registry=registry
        )

    def _measure(self, method: str, outcome: str, seconds: float) -> None:
        """Count a call; what `labels` looks up is remembered, since it costs more than counting."""
        found = self._children.get((method, outcome))
        if found is None:
            found = self._children[method, outcome] = (
                self._calls.labels(method, outcome),
                self._seconds.labels(method),
            )
        calls, durations = found
        calls.inc()
        durations.observe(seconds)

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call and tell of it, however it ends."""
        started = time.perf_counter()
        try:
            return await proceed(call, request)
        except asyncio.CancelledError:
            call.reason = "CANCELLED"
            raise
        finally:
            with suppress(Exception):  # the answer stands, whatever becomes of its record
                self._tell(call, time.perf_counter() - started)

    def refused(self, status: int) -> str:
        """Tell of a REST request that reached no method, by its HTTP status; return the id by which it is told of."""
        call_id, outcome = new_call_id(), HTTPStatus(status).name
        with suppress(Exception):  # as with calls
            self._calls.labels("unknown", outcome).inc()
            _log.info("call", method="unknown", outcome=outcome, call_id=call_id)
        return call_id

    def _tell(self, call: Call, seconds: float) -> None:
        method = call.method if call.method in self._methods else "unknown"
        self._measure(method, call.reason, seconds)
        if method not in self._quiet or call.reason != "OK":
            _log.info(
                "call",
                method=method,
                outcome=call.reason,
                milliseconds=round(seconds * 1000, 3),
                call_id=call.id,
                **call.labels,
            )
