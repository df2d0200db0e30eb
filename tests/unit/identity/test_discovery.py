"""Finding an issuer's keys through its metadata (RFC 8414, OpenID Connect Discovery)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.identity.discovery import check_url
from server.identity.jwks import RemoteKeySet
from tests.unit.identity.forge import Forge
from tests.unit.identity.issuer_server import IssuerServer, answer, running_issuer

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


@pytest.fixture
async def issuer(forge: Forge) -> AsyncIterator[IssuerServer]:
    async with running_issuer() as server:
        server.publish(forge.jwk())
        yield server


async def _follow(issuer: str, times: int = 1) -> list[bool]:
    keys = RemoteKeySet(issuer=issuer)
    try:
        return [await keys.refresh() for _ in range(times)]
    finally:
        await keys.close()


@pytest.mark.parametrize(
    ("path", "metadata"),
    [
        ("", OAUTH),
        ("/", OAUTH),
        ("/tenant", f"{OAUTH}/tenant"),
        ("/tenant/a", f"{OAUTH}/tenant/a"),
        ("", OPENID),
        ("/", OPENID),
        ("/tenant", f"/tenant{OPENID}"),
        ("/tenant/", f"/tenant{OPENID}"),
    ],
)
async def test_metadata_is_found_where_either_standard_puts_it(issuer: IssuerServer, path: str, metadata: str) -> None:
    name = issuer.url + path
    issuer.answers[metadata] = answer({"issuer": name, "jwks_uri": f"{issuer.url}/jwks"})

    assert await _follow(name, times=2) == [True, True]

    assert issuer.requests[-3:] == [metadata, "/jwks", "/jwks"]  # the address is pinned once it has worked


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": "{url}/"},
        {"jwks_uri": None},
        {"jwks_uri": ["{url}/jwks"]},
        {"jwks_uri": ""},
        {"jwks_uri": "/jwks"},
        {"jwks_uri": "http://issuer.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "{url}@evil.example/jwks"},
    ],
    ids=str,
)
async def test_metadata_of_another_issuer_or_unsafe_address_is_refused(
    issuer: IssuerServer, changes: dict[str, Any]
) -> None:
    changes = {
        name: value.replace("{url}", issuer.url) if isinstance(value, str) else value for name, value in changes.items()
    }
    issuer.answers[OAUTH] = answer({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks", **changes})

    assert await _follow(issuer.url) == [False]

    assert "/jwks" not in issuer.requests


async def test_keys_that_moved_are_found_again(forge: Forge, issuer: IssuerServer) -> None:
    issuer.answers[OAUTH] = answer({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"})
    keys = RemoteKeySet(issuer=issuer.url)
    assert await keys.refresh()

    issuer.answers["/new"] = issuer.answers.pop("/jwks")
    issuer.answers[OAUTH] = answer({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/new"})

    assert [await keys.refresh(), await keys.refresh()] == [False, True]
    await keys.close()


async def test_the_log_says_why_there_is_no_metadata(issuer: IssuerServer, log: list[Any]) -> None:
    issuer.answers[OAUTH] = answer({"issuer": "https://evil.example", "jwks_uri": f"{issuer.url}/jwks"})

    await _follow(issuer.url)

    assert log[-1]["reason"] == "no metadata of the issuer: metadata of another issuer; status 404"


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/jwks?policy=1",
        "https://[2001:db8::1]:8443/jwks",
        "http://localhost:8080/jwks",
        "http://127.8.9.1/jwks",
        "http://[::1]:1/jwks",
    ],
)
def test_keys_may_come_over_tls_or_from_this_machine(url: str) -> None:
    check_url(url)
    RemoteKeySet(issuer="any", jwks_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "issuer.example",
        "/jwks",
        "//issuer.example",
        "https://",
        "http://issuer.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "ftp://localhost",
        "https://user:secret@issuer.example",
        "http://localhost@evil.example",
        "https://issuer.example/#part",
        "https://issuer.example:port",
        "https://issuer.example/\n",
    ],
)
def test_other_addresses_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        RemoteKeySet(issuer=url)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError):
        RemoteKeySet(issuer="https://issuer.example", jwks_url=url)


def test_an_issuer_with_a_query_has_no_metadata() -> None:
    with pytest.raises(ValueError, match="query"):
        RemoteKeySet(issuer="https://issuer.example/?tenant=1")
