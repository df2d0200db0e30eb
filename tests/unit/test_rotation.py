"""The grace engine: when earlier secrets end, how many may live, and what happens when a drawn prefix is taken."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from server.errors import Conflict
from server.peppers import Peppers
from server.postgres.errors import ConstraintViolation
from server.postgres.pool import Connection, Database
from server.rotation import MAXIMUM_LIVE_SECRETS, Rotation, StoredSecret, redrawing
from server.secret import draw_secret

NOW = datetime(2030, 1, 1, tzinfo=UTC)
GRACE = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)


class Versions:
    """Notes what was asked of an owner's secrets, of which `live` work."""

    def __init__(self, live: int = 1) -> None:
        self.live = live
        self.done: list[tuple[str, str, datetime]] = []

    async def count_live_secrets(self, owner_id: str, now: datetime) -> int:
        """Return how many were said to work."""
        return self.live

    async def retire_current_secret(self, owner_id: str, deadline: datetime) -> None:
        """Note the deadline."""
        self.done.append(("retire", owner_id, deadline))

    async def end_secrets(self, owner_id: str, now: datetime) -> None:
        """Note the end."""
        self.done.append(("end", owner_id, now))


class Draws:
    """Stands for a database in which the first draws are taken, by a constraint of this name."""

    def __init__(self, taken: int, constraint_name: str) -> None:
        self.left, self.constraint_name, self.tries = taken, constraint_name, 0

    async def transaction(self, work: Callable[[Connection], Awaitable[str]]) -> str:
        """Run the work, or refuse it."""
        self.tries += 1
        if self.left:
            self.left -= 1
            raise ConstraintViolation(self.constraint_name, "23505")
        return await work(cast("Connection", None))


@pytest.mark.parametrize(
    ("latest", "deadline"),
    [
        (None, NOW + GRACE),
        (NOW + GRACE + MICROSECOND, NOW + GRACE),
        (NOW + GRACE - MICROSECOND, NOW + GRACE - MICROSECOND),
    ],
)
async def test_the_current_secret_ends_after_the_grace_or_with_its_owner(
    latest: datetime | None, deadline: datetime
) -> None:
    versions = Versions(MAXIMUM_LIVE_SECRETS - 1)
    assert await Rotation(GRACE, "key").retire(versions, "k", NOW, at_once=False, latest=latest) == deadline
    assert versions.done == [("retire", "k", deadline)]


async def test_one_too_many_is_a_conflict_that_names_the_owner() -> None:
    versions = Versions(MAXIMUM_LIVE_SECRETS)
    with pytest.raises(Conflict, match="5 secrets of this client still work"):
        await Rotation(GRACE, "client").retire(versions, "c", NOW, at_once=False)
    assert versions.done == []


async def test_all_end_at_once_however_many_there_are() -> None:
    versions = Versions(MAXIMUM_LIVE_SECRETS)
    assert await Rotation(GRACE, "key").retire(versions, "k", NOW, at_once=True) == NOW
    assert versions.done == [("end", "k", NOW)]


def test_a_secret_is_stored_as_its_prefix_and_its_digest_under_the_current_pepper() -> None:
    peppers = Peppers({1: bytes(32), 2: bytes(range(32))})
    secret = draw_secret("oauth")
    stored = StoredSecret.of(secret, peppers)
    assert secret.reveal().startswith(stored.prefix + "_")
    assert stored.pepper_version == 2
    assert peppers.proves(secret, stored.digest, 2)


@pytest.mark.parametrize("taken", [0, 1, 2])
async def test_a_prefix_that_is_taken_is_drawn_anew(taken: int) -> None:
    draws = Draws(taken, "prefixes_pkey")
    assert await redrawing(cast("Database", draws), _work, "prefixes_pkey") == "done"
    assert draws.tries == taken + 1


@pytest.mark.parametrize(("taken", "name", "tries"), [(9, "prefixes_pkey", 3), (1, "another", 1)])
async def test_what_another_draw_does_not_mend_is_raised(taken: int, name: str, tries: int) -> None:
    draws = Draws(taken, name)
    with pytest.raises(ConstraintViolation):
        await redrawing(cast("Database", draws), _work, "prefixes_pkey")
    assert draws.tries == tries


async def _work(connection: Any) -> str:
    return "done"
