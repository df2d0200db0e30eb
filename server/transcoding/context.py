"""The context of a call that came over HTTP: what `grpc.aio` gives its handlers, without a channel."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio

from server.transcoding.headers import Metadata


class InProcessContext(grpc.aio.ServicerContext[Any, Any]):
    """One call's context. `abort` ends the call by raising, as grpc.aio does; streams are not for unary calls."""

    def __init__(self, metadata: Metadata, peer: str, deadline: float) -> None:
        self._metadata = metadata
        self._peer = peer
        self._deadline = deadline
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False
        self._cancelled = False
        self.initial_metadata: Metadata | None = None
        self.aborted = False

    async def read(self) -> NoReturn:
        """Refuse: the request of a unary call is an argument of its handler."""
        raise grpc.aio.UsageError("a unary call has no request stream")

    async def write(self, message: object) -> NoReturn:
        """Refuse: the response of a unary call is its handler's result."""
        raise grpc.aio.UsageError("a unary call has no response stream")

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Keep the metadata for the response's headers. Raises `grpc.aio.UsageError` the second time, as gRPC does."""
        if self.initial_metadata is not None:
            raise grpc.aio.UsageError("initial metadata was already sent")
        self.initial_metadata = tuple((key, value) for key, value in initial_metadata)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status. Trailing metadata given here replaces what was set before."""
        if self.aborted:
            raise grpc.aio.UsageError("abort was already called")
        if code is grpc.StatusCode.OK:
            raise ValueError("a call cannot be aborted with OK")
        self.aborted = True
        self._code = code
        self._details = details or self._details
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        raise grpc.aio.AbortError("the call was aborted")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status object."""
        await self.abort(status.code, status.details or "", status.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set what follows the response; only status details have a place in HTTP."""
        self._trailing = tuple((key, value) for key, value in trailing_metadata)

    def invocation_metadata(self) -> Any:
        """Return the metadata made from the request's headers."""
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status the call ends with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the message of the status."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Ignore: HTTP has its own compression."""

    def disable_next_message_compression(self) -> None:
        """Ignore: HTTP has its own compression."""

    def peer(self) -> str:
        """Return the HTTP client's address in gRPC's notation."""
        return self._peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return None: the transport authenticates nobody."""
        return None

    def peer_identity_key(self) -> str | None:
        """Return None: the transport authenticates nobody."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return nothing: the transport authenticates nobody."""
        return {}

    def time_remaining(self) -> float:
        """Return the seconds until the deadline, never below zero."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def trailing_metadata(self) -> Any:
        """Return the trailing metadata set so far."""
        return self._trailing

    def code(self) -> Any:
        """Return the status set so far, None when none was."""
        return self._code

    def details(self) -> str:
        """Return the status message set so far."""
        return self._details

    def add_done_callback(self, callback: Any) -> None:
        """Call `callback` with this context when the call has ended; at once if it has."""
        if self._done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def cancelled(self) -> bool:
        """Tell whether the client went away or the deadline passed."""
        return self._cancelled

    def done(self) -> bool:
        """Tell whether the call has ended."""
        return self._done

    def finish(self, *, cancelled: bool = False) -> None:
        """Mark the end of the call and run the callbacks. To be called once."""
        self._done = True
        self._cancelled = cancelled
        for callback in self._callbacks:
            callback(self)
