"""AccountService through its chain: who may call what, how answers look, and that registering takes hold at once."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from sdk.developer.v1 import developer_service_pb2
from sdk.developer.v1.developer_service_pb2 import CreateApiKeyRequest, CreateApiKeyResponse
from sdk.portal.v1 import account_service_pb2
from sdk.portal.v1.account_pb2 import Developer
from sdk.portal.v1.account_service_pb2 import (
    GetDeveloperRequest,
    GetDeveloperResponse,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
    ListTiersRequest,
    ListTiersResponse,
    RegisterDeveloperRequest,
    RegisterDeveloperResponse,
    RequestTierRequest,
    RequestTierResponse,
    UpdateDeveloperRequest,
    UpdateDeveloperResponse,
)

from server.accounts.interceptor import NEWCOMERS_METHODS, DeveloperAuthorisation
from server.accounts.rpc import AccountRpc
from server.accounts.service import AccountService
from server.audit.service import AuditLog
from server.errors import Kind
from server.identity.principal import AccessToken, bind_token
from server.keys.rpc import DeveloperService
from server.postgres.pool import Database
from server.rpc.call import Call, Proceed
from server.rpc.chain import Chain
from server.rpc.error_mapping import map_errors
from server.rpc.in_process import CallFailed, InProcessCaller
from server.rpc.server import service_handlers
from tests.integration.keys.vault import PEPPERS, key_service

ACCOUNTS = account_service_pb2.DESCRIPTOR.services_by_name["AccountService"]
KEYS = developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"]
REGISTER_AT = "https://portal.example/portal/register"
ALICE = RegisterDeveloperRequest(
    display_name="Alice", contact_email="alice@example.com", organisation="Acme", terms_version="2026-11"
)


async def _anyone(proceed: Proceed, call: Call, request: Any) -> Any:
    """Stand in for authentication: the token is the subject's name."""
    (subject,) = (value.removeprefix("Bearer ") for value in call.header_values("authorization"))
    token = AccessToken(
        issuer="issuer",
        subject=subject,
        client_id="client",
        token_id=None,
        scopes=frozenset(),
        expires_at=datetime.now(UTC) + timedelta(minutes=1),
        digest=hashlib.sha256(subject.encode()).digest(),
    )
    bind_token(token)
    return await proceed(call, request)


class Caller:
    """Calls the services as somebody."""

    def __init__(self, database: Database, *, auto_register: bool) -> None:
        accounts = AccountService(
            database, auto_register=auto_register, terms_version="2026-11", register_at=REGISTER_AT
        )
        servicer = AccountRpc(accounts, AuditLog(database, PEPPERS))
        chain = Chain(outer=[map_errors], inner=[_anyone, DeveloperAuthorisation(accounts)], open_services=[])
        handlers = [
            service_handlers(ACCOUNTS, servicer),
            service_handlers(KEYS, DeveloperService(key_service(database))),
        ]
        self._caller = InProcessCaller(chain, handlers)

    async def call(self, request: Message, response_type: Any, subject: str = "alice") -> Any:
        """Call the method that the request's type belongs to."""
        name = type(request).__name__.removesuffix("Request")
        service = KEYS if name.endswith("ApiKey") else ACCOUNTS
        return await self._caller.call(f"/{service.full_name}/{name}", request, response_type, token=subject)

    async def fail(self, request: Message, subject: str = "alice") -> CallFailed:
        """Call a method that refuses, and return how."""
        with pytest.raises(CallFailed) as failure:
            await self.call(request, Developer, subject)
        return failure.value


@pytest.fixture
def caller(database: Database) -> Caller:
    return Caller(database, auto_register=False)


REQUESTS = [
    GetDeveloperRequest(),
    UpdateDeveloperRequest(display_name="B"),
    ListAuditEventsRequest(),
    ListTiersRequest(),
    RequestTierRequest(tier="standard"),
    CreateApiKeyRequest(name="Key", scopes=["read"]),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
async def test_a_newcomer_may_do_nothing_but_register(caller: Caller, request_: Message) -> None:
    failure = await caller.fail(request_)
    assert failure.kind is Kind.PERMISSION_DENIED
    assert REGISTER_AT in failure.message
    assert failure.metadata == {"reason": "not_registered", "terms_version": "2026-11", "register_at": REGISTER_AT}


async def test_registering_takes_hold_at_once(caller: Caller) -> None:
    await caller.fail(GetDeveloperRequest())
    made = (await caller.call(ALICE, RegisterDeveloperResponse)).developer
    read = (await caller.call(GetDeveloperRequest(), GetDeveloperResponse)).developer
    assert made == read
    assert (read.display_name, read.contact_email, read.organisation) == ("Alice", "alice@example.com", "Acme")
    assert read.terms_version == read.current_terms_version == "2026-11"
    assert read.terms_accepted_at.endswith("Z")
    assert (read.tier, read.requested_tier) == ("standard", "")
    key = (await caller.call(CreateApiKeyRequest(name="Key", scopes=["read"]), CreateApiKeyResponse)).api_key
    assert key.name == "Key"
    assert (await caller.fail(ALICE)).kind is Kind.CONFLICT
    assert (await caller.fail(GetDeveloperRequest(), "bob")).kind is Kind.PERMISSION_DENIED


async def test_where_first_calls_register_the_profile_is_empty_until_it_is_completed(database: Database) -> None:
    caller = Caller(database, auto_register=True)
    before = (await caller.call(GetDeveloperRequest(), GetDeveloperResponse)).developer
    assert (before.display_name, before.terms_accepted_at, before.current_terms_version) == ("", "", "2026-11")
    after = (await caller.call(ALICE, RegisterDeveloperResponse)).developer
    assert (after.id, after.display_name) == (before.id, "Alice")


async def test_the_rules_of_the_proto_hold(caller: Caller) -> None:
    failure = await caller.fail(RegisterDeveloperRequest(display_name="A", contact_email="no address"))
    assert {violation.field for violation in failure.violations} == {"contact_email", "terms_version"}


async def test_an_update_goes_by_its_mask(caller: Caller) -> None:
    await caller.call(ALICE, RegisterDeveloperResponse)
    request = UpdateDeveloperRequest(display_name="ignored", update_mask=FieldMask(paths=["organisation"]))
    changed = (await caller.call(request, UpdateDeveloperResponse)).developer
    assert (changed.display_name, changed.organisation) == ("Alice", "")


async def test_what_happened_is_told_in_words_page_by_page(caller: Caller, database: Database) -> None:
    developer = (await caller.call(ALICE, RegisterDeveloperResponse)).developer
    created = await caller.call(CreateApiKeyRequest(name="Key", scopes=["stream", "read"]), CreateApiKeyResponse)
    await caller.call(UpdateDeveloperRequest(display_name="Alicia"), UpdateDeveloperResponse)
    first = await caller.call(ListAuditEventsRequest(page_size=2), ListAuditEventsResponse)
    second = await caller.call(
        ListAuditEventsRequest(page_size=2, page_token=first.next_page_token), ListAuditEventsResponse
    )
    assert [event.action for event in (*first.events, *second.events)] == [
        "developer.updated",
        "key.created",
        "developer.profile_completed",
        "developer.registered",
    ]
    updated, keyed = first.events
    assert dict(updated.details) == {"display_name": "Alice → Alicia"}
    assert dict(keyed.details) == {
        "name": "Key",
        "key_prefix": created.api_key.key_prefix,
        "scopes": ", ".join(created.api_key.scopes),
    }
    assert (keyed.target_id, updated.target_id, keyed.actor) == (created.api_key.id, developer.id, "")
    assert keyed.call_id.startswith("call_")
    assert second.next_page_token == ""
    of_key = await caller.call(ListAuditEventsRequest(target_id=created.api_key.id), ListAuditEventsResponse)
    assert [event.action for event in of_key.events] == ["key.created"]
    failure = await caller.fail(ListAuditEventsRequest(page_token=first.next_page_token, target_id=created.api_key.id))
    assert [violation.field for violation in failure.violations] == ["page_token"]


async def test_nobody_reads_of_anothers_account(caller: Caller) -> None:
    developer = (await caller.call(ALICE, RegisterDeveloperResponse)).developer
    bob = RegisterDeveloperRequest(display_name="Bob", contact_email="bob@example.com", terms_version="2026-11")
    await caller.call(bob, RegisterDeveloperResponse, "bob")
    for target in (developer.id, ""):
        answer = await caller.call(ListAuditEventsRequest(target_id=target), ListAuditEventsResponse, "bob")
        assert developer.id not in {event.target_id for event in answer.events}


async def test_tiers_are_told_and_one_is_asked_for(caller: Caller, database: Database) -> None:
    await database.execute("INSERT INTO tiers VALUES ('partner', 6000, 60, 12000, NULL, 100, 50)")
    await caller.call(ALICE, RegisterDeveloperResponse)
    standard, partner = (await caller.call(ListTiersRequest(), ListTiersResponse)).tiers
    assert (standard.name, standard.key_requests, standard.window_seconds) == ("standard", 600, 60)
    assert (standard.monthly_quota, standard.max_keys, standard.concurrent_streams) == (1000000, 1000, 10)
    assert (partner.name, partner.developer_requests, partner.monthly_quota) == ("partner", 12000, 0)
    request = RequestTierRequest(tier="partner", reason="We grow.")
    assert (await caller.call(request, RequestTierResponse)).developer.requested_tier == "partner"
    assert [each.field for each in (await caller.fail(RequestTierRequest(tier="gold"))).violations] == ["tier"]


def test_what_newcomers_may_call_exists() -> None:
    assert {f"/{ACCOUNTS.full_name}/{method.name}" for method in ACCOUNTS.methods} > NEWCOMERS_METHODS
