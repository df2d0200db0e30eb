"""Whether this process can serve, part by part, as last seen by probes; `/readyz` and gRPC health tell it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

PROBE_SECONDS = 0.5


class Follower(Protocol):
    """Whoever must learn at once when readiness changes."""

    async def follow(self, *, ready: bool) -> None:
        """Take note of the state."""

    async def drain(self) -> None:
        """Take note that the process goes away, for good."""


class Readiness:
    """Probes every part twice a second. Each probe answers within a second, so a fault shows within two."""

    def __init__(self, probes: Mapping[str, Callable[[], Awaitable[bool]]], followers: Sequence[Follower]) -> None:
        self._probes = probes
        self._followers = followers
        self._checks = dict.fromkeys(probes, False)

    def snapshot(self) -> Mapping[str, bool]:
        """Return part → can serve, as last seen."""
        return self._checks

    async def probe(self) -> None:
        """Look at every part once and tell the followers; a probe that fails means "not ready"."""
        seen = await asyncio.gather(*(probe() for probe in self._probes.values()), return_exceptions=True)
        self._checks = {part: state is True for part, state in zip(self._probes, seen, strict=True)}
        for follower in self._followers:
            await follower.follow(ready=all(self._checks.values()))

    async def watch(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await self.probe()

    async def drain(self) -> None:
        """Report "not ready" from now on; call it once `watch` has ended."""
        self._checks = {**self._checks, "accepting": False}
        for follower in self._followers:
            await follower.drain()
