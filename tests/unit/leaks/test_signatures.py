"""Whose signature counts, and how the reporter's keys are followed, against a real HTTP server on a loopback port."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from structlog.testing import capture_logs

from server.errors import Unavailable
from server.leaks.signatures import ReporterKeys, parse_public_keys
from tests.unit.identity.issuer_server import IssuerServer, answer, running_issuer
from tests.unit.leaks.reporter import Reporter, pem, published

BODY = b'[{"token":"t","type":"y","url":"","source":"commit"}]'

# What the programme's documentation shows as an example.
EXAMPLE_KEY_ID = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"
EXAMPLE_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\n"
    "kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n"
    "-----END PUBLIC KEY-----\n"
)
EXAMPLE_BODY = b'[{"token":"some_token","type":"some_type","url":"some_url"}]'
EXAMPLE_SIGNATURE = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc="


class Clock:
    """A monotonic clock that stands still until told otherwise."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def log() -> Iterator[list[Any]]:
    """What was logged during the test; nothing is printed."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def reporter() -> Reporter:
    return Reporter()


@pytest.fixture(scope="session")
def successor() -> Reporter:
    return Reporter("key-2")


@pytest.fixture
async def publisher(reporter: Reporter) -> AsyncIterator[IssuerServer]:
    async with running_issuer() as server:
        server.answers["/keys"] = answer(published(reporter))
        yield server


@pytest.fixture
async def keys(publisher: IssuerServer, clock: Clock) -> AsyncIterator[ReporterKeys]:
    keys = ReporterKeys(f"{publisher.url}/keys", monotonic=clock)
    yield keys
    await keys.close()


async def test_the_published_example_is_accepted(publisher: IssuerServer, keys: ReporterKeys) -> None:
    entry = {"key_identifier": EXAMPLE_KEY_ID, "key": EXAMPLE_KEY, "is_current": True}
    publisher.answers["/keys"] = answer({"public_keys": [entry]})

    assert await keys.have_signed(EXAMPLE_BODY, EXAMPLE_KEY_ID, EXAMPLE_SIGNATURE)
    assert not await keys.have_signed(EXAMPLE_BODY + b" ", EXAMPLE_KEY_ID, EXAMPLE_SIGNATURE)


async def test_only_the_named_key_over_the_very_body_counts(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, successor: Reporter
) -> None:
    publisher.answers["/keys"] = answer(published(reporter, successor))
    good = reporter.sign(BODY)
    raw = base64.b64decode(good)

    assert await keys.have_signed(BODY, "key-1", good)
    for body, key_id, signature in [
        (BODY + b"\n", "key-1", good),
        (BODY, "key-2", good),
        (BODY, "key-1", successor.sign(BODY)),
        (BODY, "key-1", reporter.sign(BODY, SHA384())),
        (BODY, "key-1", good[:-4]),
        (BODY, "key-1", f"{good} "),
        (BODY, "key-1", "!" + good),
        (BODY, "key-1", "é"),
        (BODY, "key-1", ""),
        (BODY, "", good),
        (BODY, "x" * 256, good),
        (BODY, "key-1", base64.b64encode(raw + b"\0").decode()),
        (BODY, "key-1", base64.b64encode(bytes(64)).decode()),
        (BODY, "key-1", base64.b64encode(bytes(1000)).decode()),
    ]:
        assert not await keys.have_signed(body, key_id, signature)


async def test_a_key_that_is_no_longer_current_counts_while_it_is_published(
    publisher: IssuerServer, keys: ReporterKeys
) -> None:
    old = Reporter("old", is_current=False)
    publisher.answers["/keys"] = answer(published(old))
    assert await keys.have_signed(BODY, "old", old.sign(BODY))


async def test_fifty_first_reports_cause_one_fetch(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter
) -> None:
    publisher.gate.clear()
    signature = reporter.sign(BODY)
    calls = [asyncio.create_task(keys.have_signed(BODY, "key-1", signature)) for _ in range(50)]
    await publisher.arrived(1)
    calls[0].cancel()
    publisher.gate.set()

    assert await asyncio.gather(*calls[1:]) == [True] * 49
    assert publisher.requests == ["/keys"]


async def test_unknown_keys_cause_one_fetch_in_two_minutes(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, clock: Clock
) -> None:
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    for second in range(0, 480, 10):
        clock.now = 1000.0 + second
        for attempt in range(3):
            assert not await keys.have_signed(BODY, f"unknown-{second}-{attempt}", reporter.sign(BODY))
    assert len(publisher.requests) == 1 + 3


async def test_a_new_key_is_known_once_it_is_published(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, successor: Reporter, clock: Clock
) -> None:
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    publisher.answers["/keys"] = answer(published(reporter, successor))
    clock.now += 120

    assert await keys.have_signed(BODY, "key-2", successor.sign(BODY))


async def test_a_withdrawn_key_counts_an_hour_at_most(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, successor: Reporter, clock: Clock
) -> None:
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    publisher.answers["/keys"] = answer(published(successor))

    clock.now += 3599
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    clock.now += 1
    assert not await keys.have_signed(BODY, "key-1", reporter.sign(BODY))


async def test_known_keys_outlive_an_outage_and_unknown_ones_cannot_be_judged_in_it(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, successor: Reporter, clock: Clock
) -> None:
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    publisher.answers["/keys"] = answer(b"", "403 Forbidden")
    clock.now += 4000

    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    with pytest.raises(Unavailable):
        await keys.have_signed(BODY, "key-2", successor.sign(BODY))


@pytest.mark.parametrize(
    "bad",
    [
        answer(b"", "500 Internal Server Error"),
        answer(b"", "302 Found", location="https://example.org/"),
        answer(b"no json"),
        answer(b" " * 300_000 + b"{}"),
        answer({"public_keys": []}),
        answer({"keys": []}),
        answer({"public_keys": [{}] * 101}),
    ],
)
async def test_without_keys_nothing_can_be_judged_until_they_can_be_had(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter, clock: Clock, bad: bytes, log: list[Any]
) -> None:
    good, publisher.answers["/keys"] = publisher.answers["/keys"], bad

    for _ in range(3):
        with pytest.raises(Unavailable):
            await keys.have_signed(BODY, "key-1", reporter.sign(BODY))
    assert len(publisher.requests) == 1
    assert [line["event"] for line in log] == ["reporter_keys_not_fetched"]

    publisher.answers["/keys"] = good
    clock.now += 1
    assert await keys.have_signed(BODY, "key-1", reporter.sign(BODY))


async def test_a_reporter_that_is_gone_leaves_nothing_to_judge(
    publisher: IssuerServer, keys: ReporterKeys, reporter: Reporter
) -> None:
    await publisher.stop()
    with pytest.raises(Unavailable):
        await keys.have_signed(BODY, "key-1", reporter.sign(BODY))


def test_keys_of_other_kinds_are_left_out(reporter: Reporter) -> None:
    useless = [
        {"key_identifier": "curve", "key": pem(ec.generate_private_key(ec.SECP384R1()))},
        {"key_identifier": "rsa", "key": pem(rsa.generate_private_key(65537, 2048))},
        {"key_identifier": "text", "key": "-----BEGIN PUBLIC KEY-----"},
        {"key_identifier": "none"},
        {"key_identifier": 1, "key": reporter.entry["key"]},
        {"key": reporter.entry["key"]},
        "text",
    ]
    assert parse_public_keys({"public_keys": [*useless, reporter.entry]}).keys() == {"key-1"}


@pytest.mark.parametrize("url", ["http://example.org/keys", "ftp://127.0.0.1/keys", "keys", ""])
def test_keys_are_fetched_from_https_or_this_machine_alone(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be https|is not an absolute URL"):
        ReporterKeys(url)
