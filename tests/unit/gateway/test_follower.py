"""What an upstream that says nothing of its health is taken for."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from server.gateway import follower
from server.gateway.follower import Follower
from server.gateway.upstream import Upstream

State = grpc.ChannelConnectivity


class Silent:
    """A channel on which nobody answers, and whose connection is lost before the health is asked for."""

    def __init__(self) -> None:
        self.state = State.READY
        self.asked = asyncio.Event()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Tell of the connection."""
        return self.state

    def unary_stream(self, _method: str, **_: Any) -> Any:
        """Make the one method that is called."""
        return self._watch

    async def _watch(self, _request: Any) -> AsyncIterator[Any]:
        self.state = State.CONNECTING
        self.asked.set()
        yield await asyncio.Event().wait()


async def timers_due() -> None:
    """Wait until every timer has gone off that is due now."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, due.set)
    await due.wait()


async def test_silence_is_taken_for_health_only_while_there_is_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def described(*_: Any) -> None:
        pass

    monkeypatch.setattr(follower, "_SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(follower, "describe", described)
    silent: Any = Silent()
    followed = Follower(silent, Upstream(address="127.0.0.1:1"), described, lambda _: None)
    following = asyncio.create_task(followed.run())

    await silent.asked.wait()
    await timers_due()
    without_connection = followed.is_serving
    silent.state = State.READY
    await timers_due()
    with_connection = followed.is_serving
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)

    assert (without_connection, with_connection) == (False, True)
