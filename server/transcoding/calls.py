"""What the transcoder asks of whatever runs its RPCs: handlers in this process, or a server behind a channel.

`dispatch.Dispatcher` is the one, `channel.ChannelCaller` the other. Both take requests that have not been read yet and
read them, so a request that does not fit its message is theirs to answer with INVALID_ARGUMENT.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol

import grpc

from server.transcoding.binding import Request
from server.transcoding.context import Deliver
from server.transcoding.headers import Metadata
from server.transcoding.router import Route

__all__ = ["Caller", "Deliver", "Outcome", "Terms"]


class Terms(NamedTuple):
    """On what terms a call is made. `peer` is the client as gRPC writes peers.

    `timeout` is in seconds from now; None, for streams only, is for ever.
    """

    metadata: Metadata
    peer: str
    timeout: float | None


class Outcome(NamedTuple):
    """How a call ended. `response` is the message when `code` is OK, `details` is serialized when it is not.

    The outcome of a stream has no `response`: its messages were delivered before.
    """

    code: grpc.StatusCode
    message: str
    details: bytes | None
    initial_metadata: Metadata
    response: Any


class Caller(Protocol):
    """Runs RPCs. Cancelling a method cancels the RPC.

    Nothing but cancellation, `Refusal` and what `deliver` raises is raised. Whoever calls ends a call whose time is up;
    `Terms.timeout` is for those who run it to know.
    """

    async def call(self, request: Request, terms: Terms) -> Outcome:
        """Run a unary RPC to its end."""

    async def stream(
        self, route: Route, requests: Request | AsyncIterator[Request], terms: Terms, deliver: Deliver
    ) -> Outcome:
        """Run an RPC that streams in either direction to its end, delivering its responses as they come.

        `requests` is the one request of an RPC without a client stream. With one it yields them as they arrive, and
        may raise `InvalidRequest` or `Refusal` where the next one should have been.
        """
