"""The internal port as internal services use it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from sdk.developer.v1 import api_key_pb2
from sdk.verification.v1 import verdict_pb2
from sdk.verification.v1.verification_service_pb2 import (
    CONSISTENCY_FRESH,
    BatchVerifyApiKeysRequest,
    StreamVerifyApiKeysRequest,
    VerifyApiKeyRequest,
)
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from server.postgres.pool import Database
from tests.e2e.clients import GrpcClient
from tests.e2e.conftest import client_of
from tests.service import Service, serving

VALID = verdict_pb2.VERDICT_VALID


def _raw(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(f"/{method}")


class Caller:
    """An internal service with a token."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self.stub: Any = VerificationServiceStub(channel)
        self.metadata = [("authorization", f"Bearer {token}")]

    async def verify(self, api_key: str, **wish: Any) -> Any:
        return await self.stub.VerifyApiKey(VerifyApiKeyRequest(api_key=api_key, **wish), metadata=self.metadata)


@pytest_asyncio.fixture(loop_scope="session")
async def owner(service: Service) -> AsyncIterator[GrpcClient]:
    async with client_of(service, "grpc") as client:
        assert isinstance(client, GrpcClient)
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def channel(service: Service) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(service.addresses.internal_grpc) as channel:
        yield channel


@pytest.fixture
def token(data_dir: Path, service: Service) -> str:
    return (data_dir / "internal-token").read_text().strip()


@pytest.fixture
def caller(channel: grpc.aio.Channel, token: str) -> Caller:
    return Caller(channel, token)


async def test_a_good_key_is_described(caller: Caller, owner: GrpcClient) -> None:
    created = await owner.new_key(scopes=["read", "stream"])

    answer = await caller.verify(created["secret"], required_scopes=["stream"], operation="catalog.search")

    assert answer.verdict == VALID
    assert answer.key_id == created["apiKey"]["id"]
    assert answer.key_prefix == created["apiKey"]["keyPrefix"]
    assert answer.developer_id.startswith("dev_")
    assert answer.environment == api_key_pb2.API_KEY_ENVIRONMENT_TEST
    assert list(answer.scopes) == ["read", "stream"]
    assert (answer.secret_version, answer.secret_expires_at, answer.expires_at) == (1, "", "")
    assert (answer.rate_limit.limit, answer.rate_limit.remaining, answer.rate_limit.retry_after) == (600, 599, 0)
    assert (answer.quota.limit, answer.quota.remaining) == (1_000_000, 999_999)
    assert not answer.checks


async def test_a_rotated_secret_tells_its_end(caller: Caller, owner: GrpcClient) -> None:
    created = await owner.new_key()
    rotated = await owner.get("RotateApiKey", id=created["apiKey"]["id"])

    old, new = await caller.verify(created["secret"]), await caller.verify(rotated["secret"])

    assert old.secret_expires_at == rotated["previousExpiresAt"]
    assert "" < old.secret_retired_at < old.secret_expires_at
    assert (old.secret_version, new.secret_version) == (1, 2)
    assert new.secret_expires_at == ""


async def test_a_revoked_key_is_refused_by_the_next_call(caller: Caller, owner: GrpcClient) -> None:
    created = await owner.new_key()
    assert (await caller.verify(created["secret"])).verdict == VALID

    await owner.get("RevokeApiKey", id=created["apiKey"]["id"], wait=True)

    answer = await caller.verify(created["secret"])
    assert answer.verdict == verdict_pb2.VERDICT_REVOKED
    assert not answer.HasField("rate_limit")


async def test_explaining_lists_the_checks(caller: Caller, owner: GrpcClient) -> None:
    created = await owner.new_key()

    answer = await caller.verify(created["secret"], required_scopes=["stream"], explain=True)

    assert answer.verdict == verdict_pb2.VERDICT_INSUFFICIENT_SCOPE
    assert [check.verdict for check in answer.checks] == list(range(2, 12))
    assert [check.verdict for check in answer.checks if not check.passed] == [answer.verdict]
    malformed = await caller.verify("x", explain=True)
    assert [(check.verdict, check.passed) for check in malformed.checks] == [(2, False)]


async def test_a_batch_answers_in_order(caller: Caller, owner: GrpcClient) -> None:
    secrets = [(await owner.new_key())["secret"] for _ in range(3)]
    texts = [text for secret in secrets for text in (secret, "x")] * 10

    answer = await caller.stub.BatchVerifyApiKeys(
        BatchVerifyApiKeysRequest(requests=[VerifyApiKeyRequest(api_key=text) for text in texts]),
        metadata=caller.metadata,
    )

    expected = [VALID if text != "x" else verdict_pb2.VERDICT_MALFORMED for text in texts]
    assert [each.verdict for each in answer.responses] == expected
    assert [each.key_prefix for each in answer.responses if each.key_prefix] == [
        text[:17] for text in texts if text != "x"
    ]


async def test_a_stream_answers_each_request(caller: Caller, owner: GrpcClient) -> None:
    secret = (await owner.new_key())["secret"]
    texts = [secret, "x", secret] * 20
    stream = caller.stub.StreamVerifyApiKeys(metadata=caller.metadata)

    verdicts = []
    for text in texts:  # in step, as a caller who waits for each answer
        await stream.write(StreamVerifyApiKeysRequest(request=VerifyApiKeyRequest(api_key=text)))
        verdicts.append((await stream.read()).response.verdict)
    await stream.done_writing()

    assert verdicts == [VALID if text == secret else verdict_pb2.VERDICT_MALFORMED for text in texts]
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_faulty_request_ends_a_stream_with_its_reason(caller: Caller) -> None:
    stream = caller.stub.StreamVerifyApiKeys(metadata=caller.metadata)
    await stream.write(StreamVerifyApiKeysRequest())

    assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "request" in await stream.details()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_key", "x" * 4097),
        ("required_scopes", ["x"] * 17),
        ("required_scopes", [""]),
        ("client_ip", "not an address"),
        ("operation", "a b"),
        ("operation", "x" * 65),
        ("cost", 10_001),
        ("environment", 9),
        ("consistency", 9),
    ],
)
async def test_bad_input_is_named(caller: Caller, field: str, value: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as fault:
        await caller.verify(**{"api_key": "x", field: value})

    assert fault.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (fault.value.details() or "")


@pytest.mark.parametrize("metadata", [[], [("authorization", "Bearer wrong")], [("authorization", "wrong")]])
@pytest.mark.parametrize(
    "method",
    [
        "sdk.verification.v1.VerificationService/VerifyApiKey",
        "sdk.verification.v1.VerificationService/BatchVerifyApiKeys",
        "sdk.metering.v1.MeteringService/GetUsage",
        "sdk.metering.v1.MeteringService/RecordStreamAcquisitions",
        "envoy.service.auth.v3.Authorization/Check",
        "sdk.verification.v1.VerificationService/Unknown",
    ],
)
async def test_without_a_service_token_nothing_is_answered(
    channel: grpc.aio.Channel, method: str, metadata: list[tuple[str, str]]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as fault:
        await _raw(channel, method)(b"", metadata=metadata)

    assert fault.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_neither_port_takes_the_tokens_of_the_other(
    service: Service, channel: grpc.aio.Channel, token: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as fault:
        await Caller(channel, service.token()).verify("x")
    assert fault.value.code() is grpc.StatusCode.UNAUTHENTICATED

    async with grpc.aio.insecure_channel(service.addresses.grpc) as public:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await _raw(public, "sdk.developer.v1.DeveloperService/ListApiKeys")(
                b"", metadata=[("authorization", f"Bearer {token}")]
            )
    assert fault.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_public_port_does_not_verify(service: Service, token: str) -> None:
    async with grpc.aio.insecure_channel(service.addresses.grpc) as public:
        with pytest.raises(grpc.aio.AioRpcError) as fault:
            await Caller(public, token).verify("x")

    assert fault.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)


async def test_a_fresh_answer_sees_what_was_just_changed_by_hand(
    caller: Caller, owner: GrpcClient, database: Database
) -> None:
    created = await owner.new_key()
    assert (await caller.verify(created["secret"])).verdict == VALID

    await database.execute("UPDATE api_keys SET expires_at = clock() WHERE id = $1", created["apiKey"]["id"])

    answer = await caller.verify(created["secret"], consistency=CONSISTENCY_FRESH)
    assert answer.verdict == verdict_pb2.VERDICT_EXPIRED


async def test_a_limit_of_n_lets_exactly_n_of_4n_parallel_calls_in(
    caller: Caller, owner: GrpcClient, database: Database
) -> None:
    created = await owner.new_key()
    await database.execute(
        "UPDATE api_keys SET rate_requests = 50, rate_seconds = 60 WHERE id = $1", created["apiKey"]["id"]
    )
    await caller.verify(created["secret"], consistency=CONSISTENCY_FRESH, explain=True)

    answers = await asyncio.gather(*(caller.verify(created["secret"]) for _ in range(200)))

    verdicts = [answer.verdict for answer in answers]
    assert (verdicts.count(VALID), verdicts.count(verdict_pb2.VERDICT_RATE_LIMITED)) == (50, 150)
    assert all(0 < answer.rate_limit.retry_after <= 60 for answer in answers if answer.verdict != VALID)


async def test_a_stream_is_told_when_the_server_goes_away(database_url: str, data_dir: Path) -> None:
    async with serving(database_url, data_dir) as service:
        token = (data_dir / "internal-token").read_text().strip()
        channel = grpc.aio.insecure_channel(service.addresses.internal_grpc)
        caller = Caller(channel, token)
        stream = caller.stub.StreamVerifyApiKeys(metadata=caller.metadata)
        await stream.write(StreamVerifyApiKeysRequest(request=VerifyApiKeyRequest(api_key="x")))
        assert (await stream.read()).response.verdict == verdict_pb2.VERDICT_MALFORMED

    assert await stream.code() is grpc.StatusCode.UNAVAILABLE
    await channel.close()
