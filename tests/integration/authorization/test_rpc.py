"""AuthService as clients call it, and what a token of an ended grant meets: through the chain, in our own terms."""

import base64
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote_plus

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from grpc.aio import AbortError
from sdk.auth.v1 import auth_service_pb2
from sdk.auth.v1.auth_service_pb2 import (
    AUTH_SCOPE_READ,
    AUTH_SCOPE_STREAM,
    ExchangeTokenRequest,
    ExchangeTokenResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RevokeTokenRequest,
    RevokeTokenResponse,
)

from server.authorization.interceptor import AddressRateLimit, ClientChallenge, GrantCheck
from server.authorization.rpc import AuthService
from server.authorization.throttle import AddressLimit
from server.errors import Kind
from server.identity.interceptor import Authentication
from server.limits.model import Rate
from server.limits.service import LocalLimiter
from server.postgres.pool import Database
from server.rpc.call import Interceptor
from server.rpc.chain import Chain
from server.rpc.error_mapping import map_errors
from server.rpc.in_process import CallFailed, InProcessCaller
from server.rpc.server import service_handlers
from server.transcoding.context import InProcessContext
from tests.integration.authorization.flow import (
    CONFIDENTIAL,
    PUBLIC,
    REDIRECT_URI,
    SECRET,
    VERIFIER,
    Flow,
)

SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]


@pytest.fixture
def links(flow: Flow) -> Sequence[Interceptor]:
    return [
        Authentication(flow.verifier.verify, "here"),
        GrantCheck(flow.database, "here", clock=iter(range(0, 1000, 10)).__next__),
    ]


@pytest.fixture
def chain(links: Sequence[Interceptor]) -> Chain:
    limit = AddressRateLimit(AddressLimit(LocalLimiter(), Rate(5, 60)))
    return Chain(outer=[map_errors, limit, ClientChallenge("here")], inner=links, open_services=[SERVICE.full_name])


@pytest.fixture
def caller(flow: Flow, chain: Chain) -> InProcessCaller:
    return InProcessCaller(chain, [service_handlers(SERVICE, AuthService(flow.server))])


async def call(caller: InProcessCaller, method: str, request: Message, peer: str = "unix:") -> Any:
    responses = {
        "ExchangeToken": ExchangeTokenResponse,
        "RefreshToken": RefreshTokenResponse,
        "RevokeToken": RevokeTokenResponse,
    }
    return await caller.call(f"/{SERVICE.full_name}/{method}", request, responses[method], token="", peer=peer)


def exchange(code: str, **changes: str) -> ExchangeTokenRequest:
    good = {"code": code, "redirect_uri": REDIRECT_URI, "client_id": PUBLIC.id, "code_verifier": VERIFIER}
    return ExchangeTokenRequest(**{**good, **changes})


async def test_a_client_gets_renews_and_revokes_tokens(flow: Flow, caller: InProcessCaller) -> None:
    proof = {"client_id": CONFIDENTIAL.id, "client_secret": SECRET}
    first = await call(caller, "ExchangeToken", exchange(await flow.code(CONFIDENTIAL), **proof))
    assert (first.token_type, first.expires_in) == ("Bearer", 600)
    assert first.scopes == [AUTH_SCOPE_READ, AUTH_SCOPE_STREAM]
    second = await call(caller, "RefreshToken", RefreshTokenRequest(refresh_token=first.refresh_token, **proof))
    assert second.scopes == [AUTH_SCOPE_READ, AUTH_SCOPE_STREAM]
    assert (await flow.verifier.verify(second.access_token)).client_id == CONFIDENTIAL.id
    await call(caller, "RevokeToken", RevokeTokenRequest(token=second.access_token, **proof))
    assert await flow.revoked() == [True]


FAULTS = [
    ({"code": "x"}, "code"),
    ({"redirect_uri": REDIRECT_URI + "/"}, "redirect_uri"),
    ({"code_verifier": "x" * 43}, "code_verifier"),
    ({"code_verifier": "x" * 42}, "code_verifier"),
    ({"code_verifier": "x" * 129}, "code_verifier"),
    ({"code_verifier": "x" * 43 + "\n"}, "code_verifier"),
    ({"code": ""}, "code"),
]


@pytest.mark.parametrize(("changes", "field"), FAULTS)
async def test_a_refusal_names_the_field(
    flow: Flow, caller: InProcessCaller, changes: dict[str, str], field: str
) -> None:
    with pytest.raises(CallFailed) as failure:
        await call(caller, "ExchangeToken", exchange(**{"code": await flow.code(), **changes}))
    assert failure.value.kind is Kind.INVALID_REQUEST
    assert [violation.field for violation in failure.value.violations] == [field]


async def test_a_client_may_prove_itself_by_http_basic_and_is_challenged_to(flow: Flow, chain: Chain) -> None:
    handlers = service_handlers(SERVICE, AuthService(flow.server))
    token = (await flow.tokens(CONFIDENTIAL)).refresh_token.reveal()
    request = RefreshTokenRequest(refresh_token=token, client_id=CONFIDENTIAL.id)
    outcomes = []
    for secret in ("wrong", SECRET):
        pair = base64.b64encode(f"{CONFIDENTIAL.id}:{quote_plus(secret)}".encode()).decode()
        context = InProcessContext((("authorization", f"Basic {pair}"),), "unix:", 0.0)

        async def find(details: grpc.HandlerCallDetails) -> Any:
            return handlers.service(details)

        handler = await chain.intercept_service(find, _Details(f"/{SERVICE.full_name}/RefreshToken"))
        with suppress(AbortError):
            await handler.unary_unary(lambda: request, context)  # type: ignore[arg-type, misc]
        outcomes.append((context.code(), dict(context.initial_metadata or ()).get("www-authenticate")))
    assert outcomes == [
        (grpc.StatusCode.UNAUTHENTICATED, 'Basic realm="here", charset="UTF-8"'),
        (None, None),
    ]


async def test_a_refresh_token_used_again_is_a_fault_of_its_field(flow: Flow, caller: InProcessCaller) -> None:
    request = RefreshTokenRequest(refresh_token=(await flow.tokens()).refresh_token.reveal(), client_id=PUBLIC.id)
    await call(caller, "RefreshToken", request)
    with pytest.raises(CallFailed) as failure:
        await call(caller, "RefreshToken", request)
    assert failure.value.kind is Kind.INVALID_REQUEST
    assert [violation.field for violation in failure.value.violations] == ["refresh_token"]


@pytest.mark.parametrize("secret", ["", "wrong"])
async def test_a_client_that_does_not_prove_itself_is_unauthenticated(
    flow: Flow, caller: InProcessCaller, secret: str
) -> None:
    request = exchange(await flow.code(CONFIDENTIAL), client_id=CONFIDENTIAL.id, client_secret=secret)
    with pytest.raises(CallFailed) as failure:
        await call(caller, "ExchangeToken", request)
    assert failure.value.kind is Kind.UNAUTHENTICATED
    assert not failure.value.violations


@pytest.mark.parametrize(
    ("first", "then", "is_limited"),
    [
        ("ipv4:192.0.2.1:1", "ipv4:192.0.2.1:2", True),
        ("ipv4:192.0.2.1:1", "ipv4:192.0.2.2:1", False),
        ("ipv4:192.0.2.1:1", "ipv6:[::ffff:192.0.2.1]:1", True),
        ("ipv6:[2001:db8::1]:1", "ipv6:%5B2001:db8::2%5D:1", True),
        ("ipv6:[2001:db8::1]:1", "ipv6:[2001:db8:0:1::1]:1", False),
        ("what", "ever", True),
        ("unix:", "unix:", False),
    ],
)
async def test_an_address_has_so_many_calls_a_minute(
    caller: InProcessCaller, first: str, then: str, is_limited: bool
) -> None:
    request = RevokeTokenRequest(token="x", client_id=PUBLIC.id)
    for _ in range(5):
        await call(caller, "RevokeToken", request, first)
    if is_limited:
        with pytest.raises(CallFailed) as failure:
            await call(caller, "RevokeToken", request, then)
        assert failure.value.kind is Kind.RATE_LIMITED
        assert failure.value.retry_after
    else:
        await call(caller, "RevokeToken", request, then)


async def test_a_confidential_client_that_proves_itself_is_not_counted_for_its_address(caller: InProcessCaller) -> None:
    proof = {"client_id": CONFIDENTIAL.id, "client_secret": SECRET}
    for _ in range(7):
        await call(caller, "RevokeToken", RevokeTokenRequest(token="x", **proof), "ipv4:192.0.2.1:1")
    for wrong in ({**proof, "client_secret": "wrong"}, {**proof, "client_id": ""}):
        for _ in range(3):
            with pytest.raises(CallFailed) as failure:
                await call(caller, "RevokeToken", RevokeTokenRequest(token="x", **wrong), "ipv4:192.0.2.1:1")
    assert failure.value.kind is Kind.RATE_LIMITED


async def answer_to(chain: Chain, token: str, peer: str = "unix:") -> tuple[Any, ...]:
    """Call a method behind the chain and return all that a caller can tell answers apart by."""

    async def behaviour(request: Any, context: Any) -> Empty:
        return Empty()

    async def find(details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(behaviour)

    context = InProcessContext((("authorization", f"Bearer {token}"),), peer, 0.0)
    handler = await chain.intercept_service(find, _Details("/test.Service/Get"))
    with suppress(AbortError):
        assert await handler.unary_unary(Empty(), context) == Empty()  # type: ignore[arg-type, misc]
    headers = dict(context.initial_metadata or ())
    headers.pop("x-request-id")
    details = Status.FromString(dict(context.trailing_metadata()).get("grpc-status-details-bin", b""))
    return context.code(), context.details(), headers, [detail.type_url for detail in details.details]


class _Details(grpc.HandlerCallDetails):
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


async def test_a_token_of_an_ended_grant_is_refused_as_any_bad_token_is(flow: Flow, chain: Chain) -> None:
    tokens = await flow.tokens()
    token = tokens.access_token.reveal()
    assert (await answer_to(chain, token))[1] == ""
    await flow.revoke(tokens.refresh_token)
    refusal = await answer_to(chain, token)
    assert refusal == await answer_to(chain, "x")
    assert refusal[0] is grpc.StatusCode.UNAUTHENTICATED
    assert refusal[2]["www-authenticate"] == 'Bearer realm="here", error="invalid_token"'


async def test_methods_that_need_a_token_are_not_limited_by_address(flow: Flow, chain: Chain) -> None:
    token = (await flow.tokens()).access_token.reveal()
    answers = [await answer_to(chain, token, "ipv4:192.0.2.1:1") for _ in range(7)]
    assert {answer[1] for answer in answers} == {""}


async def test_while_grants_cannot_be_looked_up_nobody_is_let_in(flow: Flow, chain: Chain, database: Database) -> None:
    token = (await flow.tokens()).access_token.reveal()
    await database.close()
    assert (await answer_to(chain, token))[0] is grpc.StatusCode.UNAVAILABLE
