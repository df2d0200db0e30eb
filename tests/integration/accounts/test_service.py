"""Registering and changing accounts, wishes for tiers, and what is told to those who are no developers."""

import asyncio
import json
from typing import Any

import pytest

from server.accounts.model import Account, Profile
from server.accounts.service import AccountService, UpdateProfile
from server.audit.store import Actor
from server.errors import Conflict, InvalidRequest, PermissionDenied
from server.ids import DeveloperId, new_call_id
from server.postgres.pool import Database
from tests.database import Clock

PROFILE = Profile(
    display_name="Alice's Apps", contact_email="alice@example.com", organisation="Acme", terms_version="2026-11"
)
REGISTER_AT = "https://portal.example/portal/register"
FULL = ("display_name", "contact_email", "organisation", "terms_version")


def _accounts(database: Database, *, auto_register: bool = False) -> AccountService:
    return AccountService(database, auto_register=auto_register, terms_version="2026-11", register_at=REGISTER_AT)


@pytest.fixture
def accounts(database: Database) -> AccountService:
    return _accounts(database)


async def _register(accounts: AccountService, subject: str = "alice", profile: Profile = PROFILE) -> Account:
    return await accounts.register("issuer", subject, new_call_id(), profile)


async def _authorise(accounts: AccountService, subject: str = "alice") -> DeveloperId:
    return (await accounts.authorise("issuer", subject, new_call_id())).id


def _acting(developer_id: DeveloperId) -> Actor:
    return Actor(developer_id=developer_id, call_id=new_call_id())


def _wish(*paths: str, **fields: str) -> UpdateProfile:
    empty = dict.fromkeys(FULL, "")
    return UpdateProfile(profile=Profile(**{**empty, **fields}), paths=paths or None)


async def _events(database: Database) -> list[tuple[str, dict[str, Any]]]:
    rows = await database.fetch("SELECT action, details::text AS details FROM audit_events ORDER BY created_at, id")
    return [(row["action"], json.loads(row["details"])) for row in rows]


async def _add_tier(database: Database, name: str, requests: int = 6000, window: int = 60) -> None:
    await database.execute("INSERT INTO tiers VALUES ($1, $2, $3, 9000, NULL, 5, 2)", name, requests, window)


async def test_a_newcomer_is_told_where_to_register_and_let_in_once_it_has(accounts: AccountService) -> None:
    with pytest.raises(PermissionDenied, match="Register in the Developer Portal") as refusal:
        await _authorise(accounts)
    assert REGISTER_AT in refusal.value.message
    assert refusal.value.metadata == {
        "reason": "not_registered",
        "terms_version": "2026-11",
        "register_at": REGISTER_AT,
    }
    account = await _register(accounts)
    assert await _authorise(accounts) == account.id


async def test_without_a_page_to_register_on_none_is_named(database: Database) -> None:
    with pytest.raises(PermissionDenied, match="Register in the Developer Portal with") as refusal:
        await _authorise(AccountService(database, auto_register=False))
    assert refusal.value.metadata == {"reason": "not_registered", "terms_version": "1"}


async def test_registering_keeps_what_was_told(accounts: AccountService, database: Database, clock: Clock) -> None:
    now = await clock.now()
    await clock.set(now)
    account = await _register(accounts)
    assert (account.display_name, account.contact_email) == ("Alice's Apps", "alice@example.com")
    assert (account.organisation, account.terms_version, account.tier) == ("Acme", "2026-11", "standard")
    assert account.terms_accepted_at == account.created_at == now
    assert (account.suspended_at, account.requested_tier) == (None, None)
    assert await accounts.get(account.id) == account
    assert await _events(database) == [
        ("developer.registered", {}),
        ("developer.profile_completed", {"display_name": "Alice's Apps", "terms_version": "2026-11"}),
    ]


async def test_whoever_was_registered_by_a_first_call_completes_its_profile_once(database: Database) -> None:
    accounts = _accounts(database, auto_register=True)
    developer_id = await _authorise(accounts)
    assert (await accounts.get(developer_id)).display_name is None
    assert (await _register(accounts)).id == developer_id
    with pytest.raises(Conflict, match="registered already"):
        await _register(accounts)
    assert await _authorise(accounts) == developer_id
    assert [action for action, _ in await _events(database)] == ["developer.registered", "developer.profile_completed"]


async def test_of_many_who_register_as_one_subject_one_does(database: Database) -> None:
    services = [_accounts(database) for _ in range(8)]
    done = await asyncio.gather(*map(_register, services), return_exceptions=True)
    assert sum(isinstance(each, Account) for each in done) == 1
    assert sum(isinstance(each, Conflict) for each in done) == 7
    assert len(await _events(database)) == 2


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"display_name": ""}, ["display_name"]),
        ({"display_name": "a\u202eb"}, ["display_name"]),
        ({"display_name": "Developer Portal Team"}, ["display_name"]),
        ({"contact_email": "alice@example.com\n"}, ["contact_email"]),
        ({"organisation": "\x07"}, ["organisation"]),
        ({"terms_version": "2025-01"}, ["terms_version"]),
        ({"terms_version": "", "display_name": "\n", "contact_email": "", "organisation": " "}, list(FULL)),
    ],
)
async def test_faulty_fields_are_all_named_and_nobody_is_registered(
    accounts: AccountService, database: Database, change: dict[str, str], fields: list[str]
) -> None:
    told = {name: getattr(PROFILE, name) for name in FULL}
    with pytest.raises(InvalidRequest) as refusal:
        await _register(accounts, profile=Profile(**{**told, **change}))
    assert sorted(violation.field for violation in refusal.value.violations) == sorted(fields)
    assert await database.fetchrow("SELECT id FROM developers") is None


async def test_a_refusal_of_terms_names_those_in_force(accounts: AccountService) -> None:
    with pytest.raises(InvalidRequest, match="2026-11"):
        await _register(
            accounts, profile=Profile(display_name="A", contact_email="a@b", organisation="", terms_version="1")
        )


async def test_a_suspended_developer_neither_registers_nor_calls(database: Database) -> None:
    accounts = _accounts(database, auto_register=True)
    await _authorise(accounts)
    await database.execute("UPDATE developers SET suspended_at = clock()")
    for attempt in (_register(accounts), _authorise(_accounts(database))):
        with pytest.raises(PermissionDenied, match="suspended") as refusal:
            await attempt
        assert refusal.value.metadata == {"reason": "suspended"}


@pytest.mark.parametrize(
    ("wish", "changed"),
    [
        (_wish(display_name="New"), {"display_name": "New"}),
        (_wish("display_name", display_name="Cafe\u0301", organisation="ignored"), {"display_name": "Café"}),
        (_wish("organisation"), {"organisation": None}),
        (
            _wish("organisation", "contact_email", contact_email="b@example.com", organisation="B"),
            {"organisation": "B", "contact_email": "b@example.com"},
        ),
        (_wish(terms_version="2026-11"), {}),
    ],
)
async def test_an_update_changes_what_the_mask_names(
    accounts: AccountService, database: Database, wish: UpdateProfile, changed: dict[str, Any]
) -> None:
    before = await _register(accounts)
    after = await accounts.update(_acting(before.id), wish)
    expected = {name: changed.get(name, getattr(before, name)) for name in FULL}
    assert {name: getattr(after, name) for name in FULL} == expected
    assert after.terms_accepted_at == before.terms_accepted_at
    action, details = (await _events(database))[-1]
    assert action == "developer.updated"
    assert details == {name: [getattr(before, name), value] for name, value in changed.items()}


async def test_new_terms_are_accepted_by_an_update(database: Database, accounts: AccountService) -> None:
    before = await _register(accounts)
    later = AccountService(database, auto_register=False, terms_version="2027-01")
    with pytest.raises(InvalidRequest, match="2027-01"):
        await later.update(_acting(before.id), _wish(terms_version="2026-11"))
    after = await later.update(_acting(before.id), _wish(terms_version="2027-01"))
    assert after.terms_version == "2027-01"
    assert before.terms_accepted_at
    assert after.terms_accepted_at
    assert after.terms_accepted_at > before.terms_accepted_at


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (_wish(), "update_mask"),
        (_wish("tier"), "update_mask"),
        (_wish(*["display_name"] * 17), "update_mask"),
        (_wish("display_name"), "display_name"),
        (_wish("display_name", display_name="Devel\u043eper Portal"), "display_name"),
        (_wish("contact_email"), "contact_email"),
        (_wish("terms_version"), "terms_version"),
    ],
)
async def test_an_update_at_fault_changes_nothing(
    accounts: AccountService, database: Database, wish: UpdateProfile, field: str
) -> None:
    before = await _register(accounts)
    with pytest.raises(InvalidRequest) as refusal:
        await accounts.update(_acting(before.id), wish)
    assert {violation.field for violation in refusal.value.violations} == {field}
    assert await accounts.get(before.id) == before
    assert len(await _events(database)) == 2


async def test_an_account_without_a_profile_is_completed_first(database: Database) -> None:
    accounts = _accounts(database, auto_register=True)
    developer_id = await _authorise(accounts)
    with pytest.raises(Conflict, match="RegisterDeveloper"):
        await accounts.update(_acting(developer_id), _wish(display_name="New"))


async def test_tiers_are_listed_by_what_a_key_may_do(accounts: AccountService, database: Database) -> None:
    await _add_tier(database, "slow", requests=6000, window=3600)
    await _add_tier(database, "fast", requests=1000, window=1)
    assert [tier.name for tier in await accounts.list_tiers()] == ["slow", "standard", "fast"]


async def test_a_wish_for_a_tier_waits_and_a_new_one_takes_its_place(
    accounts: AccountService, database: Database
) -> None:
    account = await _register(accounts)
    for name in ("partner", "giant"):
        await _add_tier(database, name)
        account = await accounts.request_tier(_acting(account.id), name, " We grow. ")
        assert (account.tier, account.requested_tier) == ("standard", name)
        assert await accounts.get(account.id) == account
    rows = await database.fetch("SELECT tier, reason, settlement FROM tier_requests ORDER BY created_at")
    assert [tuple(row) for row in rows] == [("partner", "We grow.", "replaced"), ("giant", "We grow.", None)]
    assert (await _events(database))[2:] == [
        ("developer.tier_requested", {"tier": "partner"}),
        ("developer.tier_requested", {"tier": "giant", "replaced": "partner"}),
    ]


async def test_a_wish_that_cannot_be_is_refused(accounts: AccountService, database: Database) -> None:
    account = await _register(accounts)
    await _add_tier(database, "partner")
    for tier, reason, field in (("gold", "", "tier"), ("part\0ner", "", "tier"), ("partner", "\0", "reason")):
        with pytest.raises(InvalidRequest) as refusal:
            await accounts.request_tier(_acting(account.id), tier, reason)
        assert [violation.field for violation in refusal.value.violations] == [field]
    with pytest.raises(Conflict, match="have this tier"):
        await accounts.request_tier(_acting(account.id), "standard", "")
    assert await database.fetchrow("SELECT id FROM tier_requests") is None


async def test_wishes_at_once_leave_one_that_waits(accounts: AccountService, database: Database) -> None:
    account = await _register(accounts)
    await _add_tier(database, "partner")
    await asyncio.gather(*(accounts.request_tier(_acting(account.id), "partner", str(n)) for n in range(8)))
    row = await database.fetchrow("SELECT count(*) AS count FROM tier_requests WHERE settled_at IS NULL")
    assert row
    assert row["count"] == 1
