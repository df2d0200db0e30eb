"""Closing accounts: what is open in a user's name ends with the user's standing or password, and nobody else's does."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from server.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from server.operators.user_accounts import Closed, UserAccounts
from server.operators.users import NoThrottle
from server.peppers import Peppers
from server.postgres.pool import Database
from server.sessions.service import Sessions
from server.sessions.store import SessionStore
from server.users.passwords import Passwords
from server.users.service import UserService

FIRST, SECOND = "seven quiet lanterns drift", "nine loud lanterns stay put"


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture
def users(database: Database, passwords: Passwords) -> UserService:
    return UserService(database, passwords, NoThrottle())


async def with_everything_open(database: Database, users: UserService, name: str) -> None:
    """Add a user who is signed in twice and allowed two clients something."""
    await users.create(name, FIRST)
    sessions = Sessions(database, Peppers({1: b"a pepper of sufficient length..."}))
    await sessions.open("issuer", name, {}, timedelta(hours=1))
    await sessions.open("portal", name, {}, timedelta(hours=1))
    for client in ("developer-portal", "client_other"):
        await database.execute(
            "INSERT INTO oauth_grants (id, client_id, subject, scopes, created_at, expires_at) "
            "VALUES ($1, $2, $3, '{read}', clock(), clock() + interval '1 day')",
            f"grant_{name}_{client}",
            client,
            name,
        )


async def open_in_the_name_of(database: Database, name: str) -> tuple[int, int]:
    row = await database.fetchrow(
        "SELECT (SELECT count(*) FROM sessions WHERE subject = $1) AS sessions, (SELECT count(*) FROM oauth_grants "
        "WHERE subject = $1 AND revoked_at IS NULL AND clock() < expires_at) AS grants",
        name,
    )
    assert row is not None
    return row["sessions"], row["grants"]


async def may_sign_in(users: UserService, name: str, password: str) -> bool:
    try:
        await users.verify(name, password, "127.0.0.1")
    except Unauthenticated:
        return False
    return True


async def test_disabling_closes_what_is_open(database: Database, users: UserService) -> None:
    await with_everything_open(database, users, "carol")
    await with_everything_open(database, users, "dave")
    accounts = UserAccounts(database)
    with capture_logs() as told:
        assert await accounts.disable("carol") == Closed(2, 2)
    assert told == [{"event": "user_disabled", "username": "carol", "sessions": 2, "grants": 2, "log_level": "info"}]
    assert await open_in_the_name_of(database, "carol") == (0, 0)
    assert await open_in_the_name_of(database, "dave") == (2, 2)
    assert (await may_sign_in(users, "carol", FIRST), await may_sign_in(users, "dave", FIRST)) == (False, True)

    await accounts.enable("carol")
    assert await may_sign_in(users, "carol", FIRST)
    assert await open_in_the_name_of(database, "carol") == (0, 0)


async def test_another_password_closes_what_the_old_one_opened(
    database: Database, users: UserService, passwords: Passwords
) -> None:
    await with_everything_open(database, users, "carol")
    with capture_logs() as told:
        assert await UserAccounts(database).set_password("carol", SECOND, passwords) == Closed(2, 2)
    assert [line["event"] for line in told] == ["user_password_set"]
    assert SECOND not in str(told)
    assert await open_in_the_name_of(database, "carol") == (0, 0)
    assert (await may_sign_in(users, "carol", FIRST), await may_sign_in(users, "carol", SECOND)) == (False, True)


async def test_a_disabled_user_stays_so_under_a_new_password(
    database: Database, users: UserService, passwords: Passwords
) -> None:
    await users.create("carol", FIRST)
    accounts = UserAccounts(database)
    await accounts.disable("carol")
    await accounts.set_password("carol", SECOND, passwords)
    assert not await may_sign_in(users, "carol", SECOND)


async def test_all_of_it_happens_or_nothing(
    database: Database, users: UserService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_everything_open(database, users, "carol")
    close_all = SessionStore.close_all

    async def close_and_fail(store: SessionStore, subject: str, kind: str | None) -> int:
        await close_all(store, subject, kind)
        raise Conflict("no")

    monkeypatch.setattr(SessionStore, "close_all", close_and_fail)
    with pytest.raises(Conflict):
        await UserAccounts(database).disable("carol")
    assert await open_in_the_name_of(database, "carol") == (2, 2)
    assert await may_sign_in(users, "carol", FIRST)


async def test_what_is_refused_changes_nothing(database: Database, users: UserService, passwords: Passwords) -> None:
    await with_everything_open(database, users, "carol")
    accounts = UserAccounts(database)
    with pytest.raises(InvalidRequest):
        await accounts.set_password("carol", "pw", passwords)
    with pytest.raises(NotFound):
        await accounts.set_password("nobody", SECOND, passwords)
    with pytest.raises(Conflict):
        await accounts.enable("carol")
    assert await open_in_the_name_of(database, "carol") == (2, 2)
    assert await may_sign_in(users, "carol", FIRST)
