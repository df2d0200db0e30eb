"""One call in flight: what the interceptors learn about it and what they want sent with its answer."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from grpc.aio import ServicerContext

from server.ids import new_call_id


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """The state of one call, filled in on its way inwards and read on its way out.

    `response_headers` are sent once, as initial metadata, before the answer or the abort. `status` is None for success.
    `labels` (developer id and the like, never a secret) go into the access log.
    """

    method: str
    context: ServicerContext[Any, Any]
    metadata: tuple[tuple[str, str | bytes], ...]
    response_headers: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    status: grpc.Status | None = None
    reason: str = "OK"
    headers_sent: bool = False
    _id: str = ""

    @property
    def id(self) -> str:
        """The name of this call in logs and in `x-request-id`, drawn when it is first asked for."""
        if not self._id:
            self._id = new_call_id()
        return self._id

    async def send_headers(self) -> None:
        """Send the response headers, if there are any, unless that was done: grpc allows it once, before a message."""
        if self.headers_sent:
            return
        self.headers_sent = True
        if self.response_headers:
            await self.context.send_initial_metadata(tuple(self.response_headers.items()))

    def header_values(self, name: str) -> list[str]:
        """Return every value that was sent under a metadata key (lower case), in order."""
        return [value for key, value in self.metadata if key == name and isinstance(value, str)]


Proceed = Callable[[Call, Any], Awaitable[Any]]


class Interceptor(Protocol):
    """One link of the chain: does its part and awaits `proceed(call, request)` for the rest.

    For streaming methods the answer is None and messages go through the gRPC context.
    """

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call."""


_current: ContextVar[Call] = ContextVar("call")


def bind_call(call: Call) -> None:
    """Make a call the current one of this task."""
    _current.set(call)


def current_call() -> Call:
    """Return the call that this task serves.

    Raises:
        LookupError: outside of a call.
    """
    return _current.get()
