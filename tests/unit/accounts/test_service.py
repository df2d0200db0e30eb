"""Who is a developer, against PostgreSQL: registered by a first call or beforehand, remembered for a moment only."""

import asyncio
from typing import Any

import pytest
from cachetools import TTLCache

from server.accounts import service as service_module
from server.accounts.service import AccountService
from server.errors import PermissionDenied
from server.ids import new_call_id
from server.postgres.pool import Database


async def _authorise(accounts: AccountService, subject: str = "alice", issuer: str = "issuer") -> str:
    return (await accounts.authorise(issuer, subject, new_call_id())).id


async def _count(database: Database, table: str) -> Any:
    row = await database.fetchrow(f"SELECT count(*) AS count FROM {table}")
    assert row
    return row["count"]


async def test_a_first_call_registers_the_subject_once_and_tells_of_it(database: Database) -> None:
    accounts = AccountService(database, auto_register=True)
    first = await _authorise(accounts)
    assert first.startswith("dev_")
    assert await _authorise(accounts) == await _authorise(AccountService(database, auto_register=True)) == first
    assert await _count(database, "developers") == 1
    row = await database.fetchrow("SELECT action, developer_id, target_id FROM audit_events")
    assert row
    assert tuple(row) == ("developer.registered", first, first)


async def test_many_first_calls_at_once_register_one_developer(database: Database) -> None:
    services = [AccountService(database, auto_register=True) for _ in range(16)]
    assert len(set(await asyncio.gather(*map(_authorise, services)))) == 1
    assert await _count(database, "developers") == 1
    assert await _count(database, "audit_events") == 1


async def test_subjects_of_different_issuers_are_different_developers(database: Database) -> None:
    accounts = AccountService(database, auto_register=True)
    people = [("alice", "one"), ("alice", "two"), ("bob", "one"), ("one", "alice")]
    assert len({await _authorise(accounts, subject, issuer) for subject, issuer in people}) == 4


async def test_without_registration_a_stranger_is_denied_and_nothing_is_written(database: Database) -> None:
    with pytest.raises(PermissionDenied, match="Developer Portal"):
        await _authorise(AccountService(database, auto_register=False))
    assert await _count(database, "developers") == 0


async def test_without_registration_a_developer_is_let_in_as_soon_as_there_is_one(database: Database) -> None:
    closed = AccountService(database, auto_register=False)
    with pytest.raises(PermissionDenied):
        await _authorise(closed)
    registered = await _authorise(AccountService(database, auto_register=True))
    assert await _authorise(closed) == registered


async def test_a_suspension_takes_hold_once_what_is_remembered_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(service_module, "TTLCache", lambda size, seconds: TTLCache(size, seconds, timer=lambda: now[0]))
    accounts = AccountService(database, auto_register=True)
    await _authorise(accounts)
    await database.execute("UPDATE developers SET suspended_at = clock()")
    now[0] = 4.9
    await _authorise(accounts)
    now[0] = 5.1
    with pytest.raises(PermissionDenied, match="suspended"):
        await _authorise(accounts)
    with pytest.raises(PermissionDenied, match="suspended"):
        await _authorise(accounts)
