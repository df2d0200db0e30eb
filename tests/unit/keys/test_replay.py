"""Sealed answers: opened by the same request alone, under the pepper that sealed them."""

import hashlib
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from server.audit.store import Actor
from server.errors import Conflict, InvalidRequest
from server.ids import DeveloperId, KeyId, new_call_id, new_developer_id, new_key_id
from server.keys.model import ApiKey, Environment
from server.keys.replay import Issued, Request, once
from server.keys.secret import draw
from server.keys.store import KeyStore, UsedRequest
from server.peppers import Peppers

ALICE, BOB = new_developer_id(), new_developer_id()
PEPPERS = Peppers({1: b"o" * 32, 2: b"n" * 32})
REQUEST_ID = "b0a8f3f6-5f3c-4f0e-8d7f-0f4d3a8f6d11"
CREATE = Request(method="CreateApiKey", request_id=REQUEST_ID, payload=("a", ["read"], "live", None))


class Shelf:
    """A store of used requests in memory, which a test may tamper with; time does not pass in it."""

    def __init__(self) -> None:
        self.used: dict[tuple[DeveloperId, str, bytes], UsedRequest] = {}

    async def claim_request(self, developer_id: DeveloperId, method: str, request: bytes, payload: bytes) -> bool:
        fresh = (developer_id, method, request) not in self.used
        if fresh:
            left = UsedRequest(payload_digest=payload, key_id=None, pepper_version=None, sealed=None)
            self.used[developer_id, method, request] = left
        return fresh

    async def find_request(self, developer_id: DeveloperId, method: str, request: bytes) -> UsedRequest:
        return self.used[developer_id, method, request]

    async def answer_request(
        self, developer_id: DeveloperId, method: str, request: bytes, key_id: KeyId, sealed: bytes, pepper_version: int
    ) -> None:
        payload = self.used[developer_id, method, request].payload_digest
        self.used[developer_id, method, request] = UsedRequest(
            payload_digest=payload, key_id=key_id, pepper_version=pepper_version, sealed=sealed
        )

    @property
    def only(self) -> UsedRequest:
        (left,) = self.used.values()
        return left


def _issued(**times: datetime | None) -> Issued:
    key = ApiKey(
        id=new_key_id(),
        developer_id=ALICE,
        name="Café 🔑",
        environment=Environment.LIVE,
        scopes=("stream", "read"),
        key_prefix="ang_live_00000000",
        created_at=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        expires_at=times.get("expires_at"),
        revoked_at=None,
        last_used_at=times.get("last_used_at"),
    )
    return Issued(key=key, secret=draw(Environment.LIVE), previous_expires_at=times.get("previous_expires_at"))


class Work:
    """What `once` is to do at most once."""

    def __init__(self, issued: Issued) -> None:
        self.issued = issued
        self.times = 0

    async def __call__(self) -> Issued:
        self.times += 1
        return self.issued


async def _once(
    shelf: Shelf, work: Work, request: Request = CREATE, *, developer: DeveloperId = ALICE, peppers: Peppers = PEPPERS
) -> Issued:
    actor = Actor(developer_id=developer, call_id=new_call_id())
    return await once(cast("KeyStore", shelf), peppers, actor, request, work)


def _same(one: Issued, other: Issued) -> bool:
    return (one.key, one.secret.reveal(), one.previous_expires_at) == (
        other.key,
        other.secret.reveal(),
        other.previous_expires_at,
    )


MOMENT = datetime(2031, 1, 2, 3, 4, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "times", [{}, {"expires_at": MOMENT, "last_used_at": MOMENT, "previous_expires_at": MOMENT.replace(microsecond=0)}]
)
async def test_an_answer_comes_back_whole(times: dict[str, Any]) -> None:
    shelf, work = Shelf(), Work(_issued(**times))
    first = await _once(shelf, work)
    again = await _once(shelf, work)
    assert _same(first, again)
    assert work.times == 1


async def test_without_a_request_id_nothing_is_kept() -> None:
    shelf, work = Shelf(), Work(_issued())
    request = Request(method="CreateApiKey", request_id="", payload=())
    await _once(shelf, work, request)
    await _once(shelf, work, request)
    assert (shelf.used, work.times) == ({}, 2)


async def test_what_is_kept_shows_neither_the_secret_nor_the_request_id() -> None:
    shelf, work = Shelf(), Work(_issued())
    await _once(shelf, work)
    assert shelf.only.sealed is not None
    kept = shelf.only.sealed + b"".join(next(iter(shelf.used))[2:])
    assert work.issued.secret.reveal()[-49:].encode() not in kept
    assert REQUEST_ID.encode() not in kept
    assert next(iter(shelf.used))[2] == hashlib.sha256(REQUEST_ID.encode()).digest()
    assert shelf.only.pepper_version == 2


async def test_the_same_answer_is_never_sealed_to_the_same_bytes() -> None:
    issued = _issued()
    shelves = Shelf(), Shelf()
    for shelf in shelves:
        await _once(shelf, Work(issued))
    assert shelves[0].only.sealed != shelves[1].only.sealed


async def test_another_request_under_the_id_is_refused() -> None:
    shelf, work = Shelf(), Work(_issued())
    await _once(shelf, work)
    with pytest.raises(InvalidRequest) as refusal:
        await _once(shelf, work, Request(method="CreateApiKey", request_id=REQUEST_ID, payload=("b",)))
    assert [violation.field for violation in refusal.value.violations] == ["request_id"]


async def test_a_sealed_answer_moved_to_another_request_or_developer_does_not_open() -> None:
    shelf, work = Shelf(), Work(_issued())
    await _once(shelf, work)
    other_id = REQUEST_ID.replace("b0", "b1")
    for developer, request_id in ((BOB, REQUEST_ID), (ALICE, other_id)):
        digest = hashlib.sha256(request_id.encode()).digest()
        moved = Shelf()
        moved.used[developer, "CreateApiKey", digest] = shelf.only
        request = Request(method="CreateApiKey", request_id=request_id, payload=CREATE.payload)
        with pytest.raises(Conflict) as refusal:
            await _once(moved, work, request, developer=developer)
        assert refusal.value.metadata == {"keyId": work.issued.key.id}


@pytest.mark.parametrize("peppers", [Peppers({1: b"o" * 32}), Peppers({2: b"x" * 32})])
async def test_without_the_pepper_that_sealed_it_an_answer_is_lost(peppers: Peppers) -> None:
    shelf, work = Shelf(), Work(_issued())
    await _once(shelf, work)
    with pytest.raises(Conflict):
        await _once(shelf, work, peppers=peppers)


async def test_an_answer_outlives_a_new_pepper() -> None:
    shelf, work = Shelf(), Work(_issued())
    first = await _once(shelf, work)
    newer = Peppers({2: b"n" * 32, 3: b"z" * 32})
    assert _same(first, await _once(shelf, work, peppers=newer))


async def test_a_damaged_answer_is_a_conflict_at_every_byte() -> None:
    shelf, work = Shelf(), Work(_issued())
    await _once(shelf, work)
    (place,) = shelf.used
    left = shelf.only
    assert left.sealed is not None
    for position in range(len(left.sealed)):
        damaged = bytearray(left.sealed)
        damaged[position] ^= 1
        shelf.used[place] = UsedRequest(
            payload_digest=left.payload_digest, key_id=left.key_id, pepper_version=2, sealed=bytes(damaged)
        )
        with pytest.raises(Conflict):
            await _once(shelf, work)
    assert work.times == 1
