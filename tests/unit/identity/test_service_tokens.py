"""Who may call the internal port."""

import hashlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from server.errors import Unauthenticated
from server.identity.service_tokens import CallerAuthentication, ServiceTokens, draw_service_token
from server.rpc.call import Call

HEALTH = "grpc.health.v1.Health"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def call_of(
    *headers: str, method: str = "/x/y", peer: str = "ipv4:10.0.0.7:1", names: Mapping[str, list[bytes]] | None = None
) -> Call:
    context: Any = SimpleNamespace(peer=lambda: peer, auth_context=lambda: names or {})
    return Call(method=method, context=context, metadata=tuple(("authorization", header) for header in headers))


async def ask(tokens: ServiceTokens, call: Call, *, mutual_tls: bool = False) -> str:
    async def proceed(call: Call, request: Any) -> Any:
        return "in"

    link = CallerAuthentication(tokens, mutual_tls=mutual_tls, open_services=[HEALTH])
    assert await link(proceed, call, None) == "in"
    return call.labels["caller"]


TOKENS = ServiceTokens.parse(f"catalog:{digest('one')}, catalog:{digest('two')},streams:{digest('three').upper()}")


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Bearer one", "catalog"),
        ("Bearer two", "catalog"),
        ("bearer three", "streams"),
        ("BEARER  three ", "streams"),
    ],
)
async def test_a_known_token_names_its_service(header: str, name: str) -> None:
    assert await ask(TOKENS, call_of(header)) == name
    assert await ask(TOKENS, call_of(header)) == name  # remembered now


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Bearer four",),
        ("Bearer",),
        ("one",),
        ("Basic one",),
        ("Bearer one", "Bearer one"),
        (f"Bearer {digest('one')}",),
        ("Bearer one\N{NO-BREAK SPACE}x",),
    ],
)
async def test_anything_else_is_unauthenticated(headers: tuple[str, ...]) -> None:
    await ask(TOKENS, call_of("Bearer one"))
    call = call_of(*headers)

    with pytest.raises(Unauthenticated):
        await ask(TOKENS, call)

    assert call.response_headers["www-authenticate"] == 'Bearer realm="internal"'


@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:5", "ipv6:[::1]:5", "ipv6:%5B::1%5D:5", "unix:/tmp/socket"])
async def test_health_is_open_on_this_machine(peer: str) -> None:
    assert await ask(TOKENS, call_of(method=f"/{HEALTH}/Check", peer=peer)) == "loopback"


@pytest.mark.parametrize(
    ("method", "peer"), [(f"/{HEALTH}/Check", "ipv4:10.0.0.7:5"), ("/x/y", "ipv4:127.0.0.1:5"), ("/x/y", "unix:")]
)
async def test_nothing_else_is_open(method: str, peer: str) -> None:
    with pytest.raises(Unauthenticated):
        await ask(TOKENS, call_of(method=method, peer=peer))


async def test_with_mutual_tls_the_certificate_names_the_caller() -> None:
    call = call_of(names={"x509_common_name": [b"envoy.internal"]})

    assert await ask(TOKENS, call, mutual_tls=True) == "envoy.internal"
    assert await ask(TOKENS, call_of(), mutual_tls=True) == "certificate"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "catalog",
        "catalog:",
        "catalog:xyz",
        f":{digest('x')}",
        f"a b:{digest('x')}",
        f"a:{digest('x')},",
        f"a:{digest('')}",
    ],
)  # fmt: skip
def test_other_shapes_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(ValueError, match="entry") as fault:
        ServiceTokens.parse(text)

    assert digest("x") not in str(fault.value)


def test_no_token_is_shown() -> None:
    tokens = ServiceTokens.of("mine", draw_service_token())

    assert repr(tokens) == "ServiceTokens(names=['mine'])"


def test_remembered_headers_are_bounded() -> None:
    tokens = ServiceTokens.of("mine", "a token that is long")

    for spaces in range(3000):
        assert tokens.find_name(f"Bearer {' ' * spaces}a token that is long") == "mine"

    assert len(tokens._remembered) <= 1000


@pytest.mark.parametrize("token", ["", "short"])
def test_what_is_too_short_is_no_token(token: str) -> None:
    with pytest.raises(ValueError, match="16 characters"):
        ServiceTokens.of("mine", token)
