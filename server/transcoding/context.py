"""The contexts of calls that came over HTTP: what `grpc.aio` gives its handlers, without a channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn, Self

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from server.transcoding.headers import Metadata


def deadline_of(timeout: float | None) -> float | None:
    """Return the moment on the event loop's clock that is `timeout` seconds from now; None stays None."""
    return None if timeout is None else asyncio.get_running_loop().time() + timeout


def parsed(response: object, output: Descriptor) -> Message:
    """Return a handler's response as a message. Raises `TypeError` when it is neither that nor its bytes."""
    if isinstance(response, bytes):
        try:
            return message_factory.GetMessageClass(output).FromString(response)
        except DecodeError:
            raise TypeError(f"the handler's bytes are no {output.full_name}") from None
    if not isinstance(response, Message):
        raise TypeError(f"the handler returned {type(response).__name__} instead of {output.full_name}")
    return response


class InProcessContext(grpc.aio.ServicerContext[Any, Any]):
    """A unary call's context. `abort` ends the call by raising, as grpc.aio does; streams are not for unary calls.

    `deadline` is on the event loop's clock, None for none. The call lasts as long as the `with` block of its context.
    """

    def __init__(self, metadata: Metadata, peer: str, deadline: float | None) -> None:
        self._metadata = metadata
        self._peer = peer
        self.deadline = deadline
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[Callable[[Any], None]] = []
        self._done = False
        self._cancelled = False
        self.initial_metadata: Metadata | None = None
        self.aborted = False

    async def read(self) -> Any:
        """Refuse: the request of a unary call is an argument of its handler."""
        raise grpc.aio.UsageError("a unary call has no request stream")

    async def write(self, message: object) -> None:
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

    def time_remaining(self) -> float | None:  # type: ignore[override]  # as grpc.aio has it, not as its stubs do
        """Return the seconds until the deadline, never below zero; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - asyncio.get_running_loop().time())

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        """Mark the end of the call and run the callbacks."""
        self._done = True
        self._cancelled = fault is not None and issubclass(fault, asyncio.CancelledError)
        for callback in self._callbacks:
            callback(self)


Deliver = Callable[[Any, Metadata], Awaitable[None]]
"""Takes one response message of a stream, with the initial metadata of the call; returns when the next may come."""


class StreamContext(InProcessContext):
    """The context of a call that streams. `requests` are what `read` gives one by one; None without a client stream."""

    def __init__(
        self, metadata: Metadata, peer: str, deadline: float | None, output: Descriptor, deliver: Deliver
    ) -> None:
        super().__init__(metadata, peer, deadline)
        self._output = output
        self._deliver = deliver
        self.requests: AsyncIterator[Any] | None = None

    async def read(self) -> Any:
        """Return the next request, `grpc.aio.EOF` after the last. Raises `grpc.aio.UsageError` without a stream."""
        if self.requests is None:
            return await super().read()
        return await anext(self.requests, grpc.aio.EOF)

    async def write(self, message: object) -> None:
        """Send one response; returns when the client can take the next one."""
        await self._deliver(parsed(message, self._output), self.initial_metadata or ())
