"""Follows the upstream through its life: waits for it, learns what it serves, hears of its health, and begins again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from server.gateway.files import UNREACHABLE, CannotLearn
from server.gateway.reflection import Description, describe
from server.gateway.upstream import Upstream

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two rounds, doubled after each that did not last."""
_STEADY_SECONDS = 10.0
"""How long a round lasts that was no failure."""
_WITHOUT_HEALTH = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
"""How an upstream says that it has no health to tell, or none to tell us."""
_GOOD = frozenset({HealthCheckResponse.SERVING, HealthCheckResponse.SERVICE_UNKNOWN})
_SILENCE_SECONDS = 3.0
"""How long the first answer may take, which is due at once (grpc/health/v1/health.proto, Watch)."""
_PATIENCE = 3
"""How often in a row, on one connection, asking for the health may come to nothing before it counts as not there."""

_log = structlog.get_logger("server.gateway")

Learn = Callable[[Description], Awaitable[None]]
"""Takes what an upstream describes; raises `CannotLearn` when that cannot be served."""


class Follower:
    """Follows one upstream. `is_serving` tells whether it is there and says that it serves."""

    def __init__(
        self, channel: grpc.aio.Channel, upstream: Upstream, learn: Learn, tell: Callable[[str], None]
    ) -> None:
        self._channel = channel
        self._watch: Any = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        self._upstream = upstream
        self._learn_from = learn
        self._tell = tell
        self._told = ""
        self._pause = _FIRST_PAUSE
        self._silences = 0
        self.is_serving = False

    async def run(self) -> None:
        """Follow for ever. Neither what the upstream does nor a fault of ours ends this."""
        loop = asyncio.get_running_loop()
        while True:
            began, learned = loop.time(), False
            try:
                await self._connected()
                began = loop.time()
                learned = await self._learn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if learned else self._pause):
                        await self._follow_health(has_spoken=learned)
            except Exception:
                learned = False
                _log.exception("following_failed", upstream=self._upstream.address)
            if learned and loop.time() - began >= _STEADY_SECONDS:
                self._pause = _FIRST_PAUSE
            else:
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _connected(self) -> None:
        """Wait for a connection. gRPC backs off between its attempts."""
        while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            self.is_serving = False
            self._silences = 0
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                self._say(UNREACHABLE)
            await self._channel.wait_for_state_change(state)

    async def _learn(self) -> bool:
        """Learn what the upstream serves now. What was learned before stays when that fails."""
        try:
            await self._learn_from(await describe(self._channel, self._upstream.services))
        except CannotLearn as fault:
            self._say(str(fault))
            return False
        except Exception as fault:
            _log.exception("learning_failed", upstream=self._upstream.address, fault=type(fault).__name__)
            return False
        self._told = ""
        return True

    async def _follow_health(self, *, has_spoken: bool) -> None:
        """Hear of the upstream's health until the connection is lost; silence is good if it `has_spoken` otherwise."""
        is_answered, code = False, grpc.StatusCode.OK
        loop = asyncio.get_running_loop()
        silence: asyncio.TimerHandle

        def fall_back() -> None:
            nonlocal silence
            if is_answered or not has_spoken:
                return
            if self._channel.get_state() is grpc.ChannelConnectivity.READY:
                self._go_without_health("none in time")
            else:  # the question still waits for a connection
                silence = loop.call_later(_SILENCE_SECONDS, fall_back)

        silence = loop.call_later(_SILENCE_SECONDS, fall_back)
        try:
            async for answer in self._watch(HealthCheckRequest()):
                is_answered = True
                self._hear(answer is not None and answer.status in _GOOD)
        except grpc.aio.AioRpcError as failure:
            code = failure.code()
        finally:
            silence.cancel()
        self._silences = 0 if is_answered else self._silences + 1
        if code in _WITHOUT_HEALTH or (self._silences >= _PATIENCE and code is not grpc.StatusCode.UNAVAILABLE):
            self._go_without_health(code.name)
            await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)

    def _go_without_health(self, why: str) -> None:
        """Take the upstream for healthy while it is connected, unless it says otherwise later."""
        if not self.is_serving:
            _log.info("upstream_without_health", upstream=self._upstream.address, code=why)
        self._hear(True)

    def _hear(self, is_serving: bool) -> None:
        if is_serving is not self.is_serving:
            _log.info("upstream_health", upstream=self._upstream.address, serving=is_serving)
        self.is_serving = is_serving

    def _say(self, sentence: str) -> None:
        """Tell why there is nothing to serve or nothing new, once as long as it is so."""
        if sentence == self._told:
            return
        self._told = sentence
        _log.warning("not_learned", upstream=self._upstream.address, reason=sentence)
        self._tell(sentence)
