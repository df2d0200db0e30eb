"""Two servers that verify keys, against a model, through changes, faults and time; and mistakes that it must notice."""

import asyncio
import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis.errors import Flaky

from server.errors import Unavailable
from server.limits.model import Claim
from server.limits.service import LocalLimiter
from server.postgres import listener
from server.verification import cache, service, store
from server.verification.cache import Entry, KeyCache
from server.verification.replicas import Replicas
from tests.integration.verification.machine import explore
from tests.integration.verification.truth import LIFETIME


@pytest.fixture(autouse=True)
def quick_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a listener that comes back do so at once."""
    monkeypatch.setattr(listener, "_PAUSES", (0.01,))


async def test_answers_are_true_or_as_old_as_is_allowed(database_url: str) -> None:
    await asyncio.to_thread(explore, database_url, examples=80)


async def _absent_when_unavailable(self: KeyCache, text: str) -> Entry | None:
    with suppress(Unavailable):
        return await READ(self, text)
    return None


def _forget_keys_only(self: KeyCache, changed: str) -> None:
    if not changed.startswith("dev_"):
        FORGET(self, changed)


READ, FORGET, KNOWN_KEY = KeyCache.read, KeyCache.forget, store._known_key
NUMBERS = itertools.count()
MISTAKES: dict[str, tuple[object, str, object]] = {
    "a read is remembered that a change overtook": (KeyCache, "_has_changed", lambda *_: False),
    "notices drop nothing": (KeyCache, "forget", lambda *_: None),
    "a developer's change drops no key": (KeyCache, "forget", _forget_keys_only),
    "a server does not believe itself": (Replicas, "forget", lambda *_: None),
    "a lost listener leaves the memory": (KeyCache, "hear", lambda self, connected: setattr(self, "_heard", connected)),
    "memory lives too long": (cache, "LIFETIME_SECONDS", 2 * LIFETIME),
    "memory lives too long unheard": (cache, "UNHEARD_LIFETIME_SECONDS", LIFETIME),
    "memory outlives deadlines": (store, "_known_key", lambda *row: replace(KNOWN_KEY(*row), ends_in=None)),
    "each look-up begins a window": (service, "Claim", lambda _, rate: Claim(b"%d" % next(NUMBERS), rate)),
    "explaining uses the limits": (LocalLimiter, "peek", LocalLimiter.take),
    "an outage looks like an absent key": (KeyCache, "read", _absent_when_unavailable),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_the_model_notices_a_mistake(
    database_url: str, monkeypatch: pytest.MonkeyPatch, mistake: tuple[object, str, object]
) -> None:
    monkeypatch.setattr(*mistake)

    with pytest.raises((AssertionError, Flaky)):
        await asyncio.to_thread(explore, database_url, examples=500, derandomize=True)
