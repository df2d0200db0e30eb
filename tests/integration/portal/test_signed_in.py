"""The portal's sessions: tokens are renewed in time, once, and forgotten when they are good no more."""

import asyncio
import secrets
from dataclasses import dataclass, field

import pytest

from server.errors import Unavailable
from server.peppers import Peppers
from server.portal.issuer import Endpoint, SignInEndedError, Tokens
from server.portal.signed_in import PortalSessions, SignedIn
from server.postgres.pool import Database
from server.sessions.service import Sessions


@dataclass
class Issuer:
    """Gives tokens by number; a refresh token is good once, and a second use ends everything."""

    issuer: str = "https://issuer.test"
    sign_out_path: str = ""
    given: int = 1
    renewals: int = 0
    is_away: bool = False
    has_ended: bool = False
    revoked: list[str] = field(default_factory=list)

    async def endpoint(self) -> Endpoint:
        return Endpoint(url=f"{self.issuer}/authorize", parameters={}, names_issuer=True)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        raise NotImplementedError

    async def renew(self, refresh_token: str) -> Tokens:
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable
        if self.has_ended or refresh_token != f"refresh-{self.given}":
            self.has_ended = True
            raise SignInEndedError
        self.renewals += 1
        self.given += 1
        return tokens(self.given)

    async def revoke(self, refresh_token: str) -> None:
        if self.is_away:
            raise Unavailable
        self.revoked.append(refresh_token)


def tokens(number: int) -> Tokens:
    return Tokens(access_token=f"access-{number}", expires_in=600, refresh_token=f"refresh-{number}")


@dataclass
class Time:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def peppers() -> Peppers:
    return Peppers({1: secrets.token_bytes(32)})


@pytest.fixture
def portal(database: Database, issuer: Issuer, time: Time, peppers: Peppers) -> PortalSessions:
    return PortalSessions(Sessions(database, peppers), issuer, clock=time)


async def found(portal: PortalSessions, cookie: str) -> SignedIn:
    signed_in = await portal.find(cookie)
    assert signed_in is not None
    return signed_in


async def test_a_token_is_used_until_its_last_minute(portal: PortalSessions, issuer: Issuer, time: Time) -> None:
    cookie = await portal.open("alice", tokens(1))

    time.now += 539
    assert (await found(portal, cookie)).access_token == "access-1"
    assert issuer.renewals == 0

    time.now += 2
    assert (await found(portal, cookie)).access_token == "access-2"
    assert (await found(portal, cookie)).access_token == "access-2"
    assert issuer.renewals == 1


@pytest.mark.parametrize("age", [541, 601])
async def test_of_many_requests_one_renews_whatever_server_they_reach(
    database: Database, peppers: Peppers, issuer: Issuer, time: Time, age: int
) -> None:
    servers = [PortalSessions(Sessions(database, peppers), issuer, clock=time) for _ in range(3)]
    cookie = await servers[0].open("alice", tokens(1))

    for _ in range(3):
        time.now += age
        answers = await asyncio.gather(*(found(server, cookie) for server in servers * 4))
        assert {answer.subject for answer in answers} == {"alice"}

    assert issuer.renewals == 3
    assert not issuer.has_ended


async def test_while_the_issuer_is_away_a_token_serves_until_its_end(
    portal: PortalSessions, issuer: Issuer, time: Time
) -> None:
    cookie = await portal.open("alice", tokens(1))
    issuer.is_away = True

    time.now += 590
    assert (await found(portal, cookie)).access_token == "access-1"
    time.now += 11
    with pytest.raises(Unavailable):
        await portal.find(cookie)

    issuer.is_away = False
    assert (await found(portal, cookie)).access_token == "access-2"


async def test_when_tokens_are_renewed_no_more_the_session_ends(
    portal: PortalSessions, issuer: Issuer, time: Time
) -> None:
    cookie = await portal.open("alice", tokens(1))
    issuer.has_ended = True

    time.now += 541

    assert await portal.find(cookie) is None
    issuer.has_ended = False
    assert await portal.find(cookie) is None


async def test_without_a_refresh_token_the_session_ends_with_its_token(portal: PortalSessions, time: Time) -> None:
    cookie = await portal.open("alice", Tokens(access_token="access-1", expires_in=600))

    time.now += 599
    assert (await found(portal, cookie)).access_token == "access-1"
    time.now += 1
    assert await portal.find(cookie) is None


async def test_a_browser_that_goes_away_does_not_stop_a_renewal(
    portal: PortalSessions, issuer: Issuer, time: Time
) -> None:
    cookie = await portal.open("alice", tokens(1))
    time.now += 541
    asking = asyncio.create_task(portal.find(cookie))
    while not issuer.renewals:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    async with asyncio.timeout(10):
        while (await found(portal, cookie)).access_token != "access-2":
            pass
    time.now += 541
    assert (await found(portal, cookie)).access_token == "access-3"


async def test_a_noted_name_stays_and_undoes_no_renewal(portal: PortalSessions, time: Time) -> None:
    cookie = await portal.open("alice", tokens(1))
    time.now += 541

    await asyncio.gather(portal.find(cookie), portal.note_name(cookie, "Alice"), portal.find(cookie))
    await portal.note_name(cookie, "Alice")

    signed_in = await found(portal, cookie)
    assert (signed_in.name, signed_in.access_token) == ("Alice", "access-2")
    time.now += 541
    assert (await found(portal, cookie)).access_token == "access-3"


async def test_closing_revokes_the_refresh_token(portal: PortalSessions, issuer: Issuer) -> None:
    cookie = await portal.open("alice", tokens(1))

    await portal.close(cookie)
    await portal.close(cookie)

    assert issuer.revoked == ["refresh-1"]
    assert await portal.find(cookie) is None


async def test_an_issuer_that_is_away_does_not_keep_anyone_signed_in(portal: PortalSessions, issuer: Issuer) -> None:
    cookie = await portal.open("alice", tokens(1))
    issuer.is_away = True

    await portal.close(cookie)

    assert await portal.find(cookie) is None
