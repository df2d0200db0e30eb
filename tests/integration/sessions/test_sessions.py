"""Sessions: opened, found, replaced, ended by time, by disuse and by closing; and what of them is in the database."""

import asyncio
import hashlib
from base64 import urlsafe_b64decode
from datetime import timedelta

import pytest

from server.peppers import Peppers
from server.postgres.pool import Database
from server.sessions.service import Session, SessionKind, Sessions
from tests.database import Clock

OLD, NEW = b"an old pepper of sufficient length", b"the current one, which is as long."
CONTENT = {"access_token": "eyJ.canary.token", "scopes": ["read"], "nested": {"n": 1}}
HOURS = timedelta(hours=12)


@pytest.fixture
def sessions(database: Database) -> Sessions:
    return Sessions(database, Peppers({1: OLD}))


async def opened(sessions: Sessions, subject: str = "alice", kind: SessionKind = "portal") -> str:
    return await sessions.open(kind, subject, CONTENT, HOURS)


async def found(sessions: Sessions, cookie: str | None, kind: SessionKind = "portal") -> Session:
    session = await sessions.find(kind, cookie)
    assert session is not None
    return session


async def test_a_session_is_found_by_its_cookie(sessions: Sessions) -> None:
    session = await found(sessions, await opened(sessions))
    assert (session.subject, session.content) == ("alice", CONTENT)
    assert session.expires_at - session.created_at == HOURS


async def test_a_cookie_is_32_bytes_and_new_each_time(sessions: Sessions) -> None:
    cookies = {await opened(sessions) for _ in range(3)}
    assert len(cookies) == 3
    assert all(len(urlsafe_b64decode(f"{cookie}=")) == 32 for cookie in cookies)


@pytest.mark.parametrize(
    "cookie", [None, "", "x", "A" * 43, "A" * 44, "A" * 42 + "=", "A" * 42 + "\n", "é" * 43, "A" * 42 + "B"]
)
async def test_what_is_no_cookie_of_ours_finds_nothing(sessions: Sessions, cookie: str | None) -> None:
    await opened(sessions)
    assert await sessions.find("portal", cookie) is None
    assert not await sessions.replace("portal", cookie, {})
    assert not await sessions.close("portal", cookie)


async def test_only_one_spelling_of_a_cookie_is_it(sessions: Sessions) -> None:
    cookie = await opened(sessions)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = cookie[:-1] + alphabet[alphabet.index(cookie[-1]) + 1]
    assert urlsafe_b64decode(f"{other}=") == urlsafe_b64decode(f"{cookie}=")
    assert await sessions.find("portal", other) is None


async def test_a_session_of_one_kind_is_none_of_another(sessions: Sessions) -> None:
    cookie = await opened(sessions, kind="portal-login")
    for kind in ("issuer", "portal", "upstream-login"):
        assert await sessions.find(kind, cookie) is None
        assert not await sessions.replace(kind, cookie, {})
        assert not await sessions.close(kind, cookie)
    await found(sessions, cookie, "portal-login")


async def test_content_is_replaced_and_the_rest_stays(sessions: Sessions) -> None:
    cookie = await opened(sessions)
    before = await found(sessions, cookie)
    assert await sessions.replace("portal", cookie, {"other": True})
    after = await found(sessions, cookie)
    assert after.content == {"other": True}
    assert (after.subject, after.created_at, after.expires_at) == (before.subject, before.created_at, before.expires_at)


async def test_a_closed_session_is_gone_and_closed_once(sessions: Sessions) -> None:
    cookie, other = await opened(sessions), await opened(sessions)
    closed = await asyncio.gather(*(sessions.close("portal", cookie) for _ in range(5)))
    assert sorted(closed) == [False, False, False, False, True]
    assert await sessions.find("portal", cookie) is None
    assert not await sessions.replace("portal", cookie, CONTENT)
    await found(sessions, other)


async def test_all_sessions_of_a_subject_are_closed(sessions: Sessions) -> None:
    portal, issuer = await opened(sessions), await opened(sessions, kind="issuer")
    others = await opened(sessions, "bob")
    assert await sessions.close_all("portal", "alice") == 1
    await found(sessions, issuer, "issuer")
    await opened(sessions)
    assert await sessions.close_all(None, "alice") == 2
    assert await sessions.find("portal", portal) is None
    assert (
        await sessions.find(
            "issuer",
            issuer,
        )
        is None
    )
    await found(sessions, others)


async def test_a_session_ends_when_its_time_is_over(sessions: Sessions, clock: Clock) -> None:
    await clock.set(await clock.now())
    cookie = await opened(sessions)
    for _ in range(11):
        await clock.advance(timedelta(hours=1))
        await found(sessions, cookie)
    await clock.advance(timedelta(hours=1) - timedelta(microseconds=1))
    await found(sessions, cookie)
    await clock.advance(timedelta(microseconds=1))
    assert await sessions.find("portal", cookie) is None
    assert not await sessions.replace("portal", cookie, CONTENT)


async def test_a_session_that_nobody_uses_ends_after_two_hours(sessions: Sessions, clock: Clock) -> None:
    await clock.set(await clock.now())
    cookie = await opened(sessions)
    await clock.advance(timedelta(hours=2) - timedelta(microseconds=1))
    await found(sessions, cookie)
    await clock.advance(timedelta(hours=2))
    assert await sessions.find("portal", cookie) is None
    assert not await sessions.replace("portal", cookie, CONTENT)


async def test_use_is_noted_once_a_minute(sessions: Sessions, clock: Clock, database: Database) -> None:
    await clock.set(await clock.now())
    cookie, start = await opened(sessions), await clock.now()
    for seconds, noted in ((59, 0), (60, 60), (119, 60), (120, 120)):
        await clock.set(start + timedelta(seconds=seconds))
        await found(sessions, cookie)
        row = await database.fetchrow("SELECT seen_at FROM sessions")
        assert row
        assert row["seen_at"] == start + timedelta(seconds=noted)


async def test_sweeping_drops_what_is_over_and_nothing_else(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    for _ in range(5):
        await sessions.open("portal-login", "", {}, timedelta(minutes=10))
    cookie = await opened(sessions)
    assert await sessions.sweep(100) == 0
    await clock.advance(timedelta(minutes=10))
    assert [await sessions.sweep(3) for _ in range(3)] == [3, 2, 0]
    await found(sessions, cookie)


async def test_another_pepper_opens_nothing(database: Database, sessions: Sessions) -> None:
    cookie = await opened(sessions)
    assert await Sessions(database, Peppers({1: NEW})).find("portal", cookie) is None
    assert await Sessions(database, Peppers({2: NEW})).find("portal", cookie) is None


async def test_sessions_outlive_a_new_pepper(database: Database, sessions: Sessions) -> None:
    cookie = await opened(sessions)
    both = Sessions(database, Peppers({1: OLD, 2: NEW}))
    await found(both, cookie)
    assert await both.replace("portal", cookie, {"sealed": "anew"})
    assert (await found(Sessions(database, Peppers({2: NEW})), cookie)).content == {"sealed": "anew"}


@pytest.mark.parametrize("column", ["content", "kind", "subject"])
async def test_rows_cannot_be_made_into_others(sessions: Sessions, database: Database, column: str) -> None:
    """Whoever can write to the database gives bob's session what alice's has."""
    kinds: dict[str, SessionKind] = {"alice": "issuer", "bob": "portal"}
    cookies = {subject: await opened(sessions, subject, kind) for subject, kind in kinds.items()}
    await database.execute(
        f"UPDATE sessions SET {column} = (SELECT {column} FROM sessions WHERE subject = 'alice') WHERE subject = 'bob'"
    )
    for kind in ("issuer", "portal"):
        session = await sessions.find(kind, cookies["bob"])
        assert session is None or session.subject == "bob"


async def test_the_database_holds_neither_cookie_nor_content(sessions: Sessions, database: Database) -> None:
    cookie = await opened(sessions)
    rows = await database.fetch("SELECT * FROM sessions")
    dump = b"".join(value if isinstance(value, bytes) else str(value).encode() for value in rows[0].values())
    drawn = urlsafe_b64decode(f"{cookie}=")
    for secret in (cookie.encode(), drawn, b"canary", b"access_token"):
        assert secret not in dump
    assert rows[0]["digest"] == hashlib.sha256(drawn).digest()
