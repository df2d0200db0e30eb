"""An independent OpenID Connect provider as the issuer: its tokens, its key rotation, its outage."""

from collections.abc import AsyncIterator

import pytest

from server.errors import Unauthenticated
from server.identity.jwks import RemoteKeySet
from server.identity.tokens import TokenVerifier
from tests.interop.oidc_provider import AUDIENCE, CLIENTS, OidcProvider, oidc_provider

__all__ = ["oidc_provider"]

pytestmark = pytest.mark.interop


@pytest.fixture
async def keys(oidc_provider: OidcProvider) -> AsyncIterator[RemoteKeySet]:
    remote = RemoteKeySet(issuer=oidc_provider.issuer)
    yield remote
    await remote.close()


@pytest.fixture
def verifier(oidc_provider: OidcProvider, keys: RemoteKeySet) -> TokenVerifier:
    return TokenVerifier(issuer=oidc_provider.issuer, audience=AUDIENCE, keys=keys)


async def test_its_access_token_is_verified_under_the_strict_profile(
    oidc_provider: OidcProvider, verifier: TokenVerifier
) -> None:
    token = await verifier.verify(oidc_provider.access_token(CLIENTS[1], scope="stream"))

    assert (token.issuer, token.subject, token.client_id) == (oidc_provider.issuer, CLIENTS[1], CLIENTS[1])
    assert token.scopes == {"stream"}
    assert token.token_id


async def test_a_token_for_another_audience_is_refused(oidc_provider: OidcProvider, keys: RemoteKeySet) -> None:
    verifier = TokenVerifier(issuer=oidc_provider.issuer, audience="https://other.example", keys=keys)
    with pytest.raises(Unauthenticated):
        await verifier.verify(oidc_provider.access_token())


async def test_its_key_rotation_is_followed(
    oidc_provider: OidcProvider, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    old = oidc_provider.access_token()
    await verifier.verify(old)

    oidc_provider.rotate()
    new = oidc_provider.access_token()
    assert await verifier.verify(new)
    assert await verifier.verify(old)

    oidc_provider.withdraw()
    assert await keys.refresh()
    assert await verifier.verify(new)
    with pytest.raises(Unauthenticated):
        await verifier.verify(old)


async def test_its_outage_is_survived(oidc_provider: OidcProvider, keys: RemoteKeySet, verifier: TokenVerifier) -> None:
    known, fresh = oidc_provider.access_token(), oidc_provider.access_token()
    await verifier.verify(known)

    oidc_provider.stop()

    assert not await keys.refresh()
    assert keys.ready()
    assert await verifier.verify(known)
    assert await verifier.verify(fresh)
