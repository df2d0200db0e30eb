"""Upstreams that show a certificate, and those that ask for one."""

import grpc
import pytest

from server.gateway.upstream import Tls
from tests.e2e.test_internal_tls import Authority
from tests.integration.gateway.upstream import Upstreams, fronted

UNREACHABLE = "The upstream cannot be reached, or not with these TLS options."


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The one that the upstream is certified by."""
    return Authority()


@pytest.fixture
def secured(upstreams: Upstreams, authority: Authority) -> Upstreams:
    """Servers that show a certificate of 127.0.0.1."""
    upstreams.credentials = grpc.ssl_server_credentials([authority.issue("upstream")])
    return upstreams


@pytest.fixture
def mutual(upstreams: Upstreams, authority: Authority) -> Upstreams:
    """Servers that ask for a certificate too."""
    upstreams.credentials = grpc.ssl_server_credentials(
        [authority.issue("upstream")], authority.certificate, require_client_auth=True
    )
    return upstreams


async def test_a_certificate_of_a_trusted_authority_is_good(secured: Upstreams, authority: Authority) -> None:
    await secured.start()

    async with fronted(secured.address, tls=Tls(authorities=authority.certificate)) as front:
        await front.until(200)

        assert (await front.http.get("/v1/books/dune")).status_code == 200


@pytest.mark.parametrize("tls", [None, Tls(), Tls(authorities=Authority().certificate)], ids=["none", "usual", "other"])
async def test_without_trust_there_is_no_connection(secured: Upstreams, tls: Tls | None) -> None:
    await secured.start()

    async with fronted(secured.address, tls=tls) as front:
        await front.until_told(UNREACHABLE)

        assert (await front.http.get("/readyz")).status_code == 503


async def test_the_certificate_must_be_of_the_name_that_the_upstream_is_called_by(
    secured: Upstreams, authority: Authority
) -> None:
    await secured.start()
    tls = Tls(authorities=authority.certificate)
    elsewhere = f"localhost:{secured.port}"

    async with fronted(elsewhere, tls=tls) as front:
        await front.until_told(UNREACHABLE)
    async with fronted(elsewhere, tls=tls, authority="127.0.0.1") as front:
        await front.until(200)
    async with fronted(secured.address, tls=tls, authority="kitchen.example") as front:
        await front.until_told(UNREACHABLE)


async def test_a_certificate_is_shown_where_one_is_asked_for(mutual: Upstreams, authority: Authority) -> None:
    await mutual.start()
    key, certificate = authority.issue("gateway")
    stranger_key, stranger = Authority().issue("gateway")
    roots = authority.certificate

    async with fronted(mutual.address, tls=Tls(authorities=roots, certificate=certificate, key=key)) as front:
        await front.until(200)
    for refused in (Tls(authorities=roots), Tls(authorities=roots, certificate=stranger, key=stranger_key)):
        async with fronted(mutual.address, tls=refused) as front:
            await front.until_told(UNREACHABLE)
