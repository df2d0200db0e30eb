"""Following a remote issuer's keys, against a real HTTP server on a loopback port."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.errors import Unauthenticated, Unavailable
from server.identity import jwks
from server.identity.jwks import RemoteKeySet, StaticKeySet
from server.identity.tokens import TokenVerifier
from tests.unit.identity.conftest import MakeVerifier
from tests.unit.identity.forge import ISSUER, Forge
from tests.unit.identity.issuer_server import IssuerServer, answer, running_issuer


class Clock:
    """A monotonic clock that stands still until told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer(forge: Forge) -> AsyncIterator[IssuerServer]:
    async with running_issuer() as server:
        server.publish(forge.jwk())
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(issuer: IssuerServer, clock: Clock) -> AsyncIterator[RemoteKeySet]:
    remote = RemoteKeySet(issuer=ISSUER, jwks_url=f"{issuer.url}/jwks", monotonic=clock)
    yield remote
    await remote.close()


@pytest.fixture
def verifier(make_verifier: MakeVerifier, keys: RemoteKeySet) -> TokenVerifier:
    return make_verifier(keys=keys)


@pytest.fixture(scope="session")
def successor() -> Forge:
    return Forge(key_id="key-2")


async def test_keys_are_fetched_when_first_needed(
    forge: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    assert not keys.ready()
    assert (await verifier.verify(forge.token())).subject == "alice"
    assert keys.ready()
    await verifier.verify(forge.token(sub="bob"))
    assert issuer.requests == ["/jwks"]


async def test_fifty_first_calls_cause_one_fetch(forge: Forge, issuer: IssuerServer, verifier: TokenVerifier) -> None:
    issuer.gate.clear()
    calls = [asyncio.create_task(verifier.verify(forge.token(sub=f"user-{number}"))) for number in range(50)]
    await issuer.arrived(1)
    issuer.gate.set()

    assert len({token.subject for token in await asyncio.gather(*calls)}) == 50
    assert issuer.requests == ["/jwks"]


async def test_fifty_calls_with_a_new_key_cause_one_fetch(
    forge: Forge, successor: Forge, issuer: IssuerServer, verifier: TokenVerifier
) -> None:
    await verifier.verify(forge.token())
    issuer.publish(forge.jwk(), successor.jwk())
    issuer.gate.clear()
    calls = [asyncio.create_task(verifier.verify(successor.token(sub=f"user-{number}"))) for number in range(50)]
    await issuer.arrived(2)
    issuer.gate.set()

    assert len({token.subject for token in await asyncio.gather(*calls)}) == 50
    assert issuer.requests == ["/jwks"] * 2


async def test_a_caller_that_goes_away_takes_nothing_from_the_others(
    forge: Forge, issuer: IssuerServer, verifier: TokenVerifier
) -> None:
    issuer.gate.clear()
    impatient = asyncio.create_task(verifier.verify(forge.token(sub="impatient")))
    patient = asyncio.create_task(verifier.verify(forge.token()))
    await issuer.arrived(1)
    impatient.cancel()
    issuer.gate.set()

    assert (await patient).subject == "alice"
    assert impatient.cancelled()
    assert issuer.requests == ["/jwks"]


async def test_unknown_keys_cause_one_fetch_in_thirty_seconds(
    forge: Forge, stranger: Forge, issuer: IssuerServer, clock: Clock, verifier: TokenVerifier
) -> None:
    await verifier.verify(forge.token())

    for second in range(60):
        clock.now = 1000.0 + second
        for attempt in range(3):
            with pytest.raises(Unauthenticated):
                await verifier.verify(stranger.token_with_header(kid=f"unknown-{second}-{attempt}"))

    assert len(issuer.requests) == 1 + 2


async def test_tokens_of_another_issuer_cause_no_fetch(
    forge: Forge, stranger: Forge, issuer: IssuerServer, verifier: TokenVerifier
) -> None:
    for changes in ({"iss": "https://evil.example"}, {"aud": "https://other.example"}, {"exp": 0}):
        with pytest.raises(Unauthenticated):
            await verifier.verify(stranger.token(**changes))
    assert issuer.requests == []


async def test_a_withdrawn_key_stops_working_for_remembered_tokens_too(
    forge: Forge, successor: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    old = forge.token()
    await verifier.verify(old)
    issuer.publish(successor.jwk())
    await verifier.verify(old)

    assert await keys.refresh()

    with pytest.raises(Unauthenticated):
        await verifier.verify(old)
    assert await verifier.verify(successor.token())


async def test_another_key_under_the_same_id_ends_the_old_tokens(
    forge: Forge, stranger: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    old = forge.token()
    await verifier.verify(old)
    issuer.publish(stranger.jwk())

    await keys.refresh()

    with pytest.raises(Unauthenticated):
        await verifier.verify(old)
    assert await verifier.verify(stranger.token())


async def test_an_issuer_that_withdraws_every_key_is_believed(
    forge: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    await verifier.verify(forge.token())
    issuer.publish()

    assert await keys.refresh()

    assert not keys.ready()
    with pytest.raises(Unauthenticated):
        await verifier.verify(forge.token())


async def test_an_outage_leaves_the_last_good_keys(
    forge: Forge, successor: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier
) -> None:
    known = forge.token()
    await verifier.verify(known)
    await issuer.stop()

    assert not await keys.refresh()
    assert keys.ready()
    assert await verifier.verify(known)
    assert await verifier.verify(forge.token(sub="bob"))
    with pytest.raises(Unauthenticated):
        await verifier.verify(successor.token())


async def test_without_any_keys_an_outage_is_unavailable_until_it_heals(
    forge: Forge, issuer: IssuerServer, clock: Clock, verifier: TokenVerifier
) -> None:
    await issuer.stop()
    with pytest.raises(Unavailable):
        await verifier.verify(forge.token())
    await issuer.start()
    with pytest.raises(Unavailable):
        await verifier.verify(forge.token())  # too soon to ask again
    assert issuer.requests == []

    clock.now += 1.0
    assert await verifier.verify(forge.token())


async def test_a_malformed_token_is_refused_even_without_keys(issuer: IssuerServer, verifier: TokenVerifier) -> None:
    await issuer.stop()
    with pytest.raises(Unauthenticated):
        await verifier.verify("no token")


HOSTILE: dict[str, bytes] = {
    "not found": answer(b"", "404 Not Found"),
    "broken": answer(b'{"keys":[]}', "500 Internal Server Error"),
    "no content": answer(b"", "204 No Content"),
    "partial": answer(b'{"keys":[]}', "206 Partial Content"),
    "redirect": answer(b"", "302 Found", location="/elsewhere"),
    "permanent redirect": answer(b'{"keys":[]}', "308 Permanent Redirect", location="/elsewhere"),
    "announced too large": answer(b" " * (256 * 1024) + b'{"keys":[]}'),
    "endless": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 1_000_000,
    "chunked and too large": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"8000\r\n%b\r\n" % (b" " * 32768) * 9,
    "compressed": answer(gzip.compress(b'{"keys":[]}'), content_encoding="gzip"),
    "cut short": answer(b'{"keys":[]}', content_length="100"),
    "no HTTP": b"220 smtp.example ESMTP\r\n",
    "nothing": b"",
    "empty": answer(b""),
    "a page": answer(b"<html></html>"),
    "an array": answer(b"[]"),
    "no keys": answer(b"{}"),
    "keys null": answer(b'{"keys":null}'),
    "keys an object": answer(b'{"keys":{}}'),
    "duplicate keys": answer(b'{"keys":[],"keys":[]}'),
    "too many keys": answer({"keys": [{}] * 101}),
    "deeply nested": answer(b'{"keys":' + b"[" * 100_000),
    "other encoding": answer(json.dumps({"keys": []}).encode("utf-16")),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_an_odd_answer_changes_nothing(
    forge: Forge, issuer: IssuerServer, keys: RemoteKeySet, verifier: TokenVerifier, body: bytes, log: list[Any]
) -> None:
    await verifier.verify(forge.token())
    issuer.answers["/jwks"] = body
    issuer.answers["/elsewhere"] = answer({"keys": []})

    assert not await keys.refresh()

    assert await verifier.verify(forge.token(sub="bob"))
    assert "/elsewhere" not in issuer.requests
    assert (log[-1]["event"], log[-1]["kept"]) == ("signing_keys_not_fetched", True)


async def test_an_issuer_that_hangs_is_given_up_on(
    forge: Forge, issuer: IssuerServer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "_FETCH_SECONDS", 0.05)
    issuer.gate.clear()
    with pytest.raises(Unavailable):
        await verifier.verify(forge.token())


async def test_the_environment_cannot_redirect_the_fetch(keys: RemoteKeySet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await keys.refresh()


async def test_keys_are_refreshed_in_the_background(forge: Forge, successor: Forge, issuer: IssuerServer) -> None:
    keys = RemoteKeySet(issuer=ISSUER, jwks_url=f"{issuer.url}/jwks", refresh_seconds=0.001)
    keys.start()
    keys.start()
    await issuer.arrived(2)
    issuer.publish(successor.jwk())
    await issuer.arrived(len(issuer.requests) + 2)

    assert await keys.find_key("key-2", "RS256")
    assert keys.ready()
    await keys.close()
    assert await _is_quiet(issuer)


async def test_the_background_heals_a_start_without_issuer(
    forge: Forge, issuer: IssuerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "_FIRST_RETRY_SECONDS", 0.001)
    issuer.answers.clear()
    keys = RemoteKeySet(issuer=ISSUER, jwks_url=f"{issuer.url}/jwks")
    keys.start()
    await issuer.arrived(2)
    assert not keys.ready()
    issuer.publish(forge.jwk())
    async with asyncio.timeout(10):
        while not keys.ready():
            await asyncio.sleep(0)

    assert await keys.find_key("key-1", "RS256")
    await keys.close()


async def test_closing_ends_a_fetch_under_way(issuer: IssuerServer) -> None:
    issuer.gate.clear()
    keys = RemoteKeySet(issuer=ISSUER, jwks_url=f"{issuer.url}/jwks")
    keys.start()
    await issuer.arrived(1)
    await keys.close()
    assert not keys.ready()


async def test_a_fixed_set_needs_no_fetching(forge: Forge) -> None:
    keys = StaticKeySet({"keys": [forge.jwk()]})
    keys.start()
    key = await keys.find_key("key-1", "RS256")
    assert key is not None
    assert keys.holds(key)
    assert keys.ready()
    assert not StaticKeySet({"keys": []}).ready()
    await keys.close()


async def _is_quiet(issuer: IssuerServer) -> bool:
    before = len(issuer.requests)
    for _ in range(10):
        await asyncio.sleep(0)
    return len(issuer.requests) == before
