"""Who may call the internal port when it speaks TLS: with a client CA holders of a certificate, else of a token."""

import ipaddress
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sdk.verification.v1 import verdict_pb2
from sdk.verification.v1.verification_service_pb2 import VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub
from structlog.testing import capture_logs

from tests.service import Service, serving


class Authority:
    """A certificate authority for an hour."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        usage = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = self._sign(self._name, self._key.public_key(), usage)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """Return a private key and its certificate, which is also good for a server on this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), addresses)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), certificate

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(hours=1))
        signed = builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The one that server and clients trust."""
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> dict[str, Path]:
    """The settings of a port that shows a certificate and asks for one."""
    key, certificate = authority.issue("verifier.internal")
    contents = {"cert": certificate, "key": key, "client_ca": authority.certificate}
    for name, content in contents.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return {f"internal_grpc_tls_{name}": tmp_path / f"{name}.pem" for name in contents}


@pytest.fixture
async def mutual(database_url: str, data_dir: Path, files: dict[str, Path]) -> AsyncIterator[Service]:
    """A service that asks internal callers for a certificate."""
    async with serving(database_url, data_dir, **files) as service:
        yield service


@pytest.fixture
async def one_sided(database_url: str, data_dir: Path, files: dict[str, Path]) -> AsyncIterator[Service]:
    """A service that shows its certificate and asks for none."""
    del files["internal_grpc_tls_client_ca"]
    async with serving(database_url, data_dir, **files) as service:
        yield service


@pytest.fixture
def token(data_dir: Path) -> list[tuple[str, str]]:
    """A header with a good service token, once a service runs."""
    return [("authorization", f"Bearer {(data_dir / 'internal-token').read_text().strip()}")]


def calling(
    service: Service, roots: bytes, key: bytes | None = None, certificate: bytes | None = None
) -> grpc.aio.Channel:
    """Connect to the internal port, trusting an authority and showing a certificate or none."""
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    return grpc.aio.secure_channel(service.addresses.internal_grpc, credentials)


async def outcome(channel: Any, metadata: Any = (), **wish: Any) -> Any:
    """Ask about a text that is no key; return the verdict, or the status of a failure."""
    stub: Any = VerificationServiceStub(channel)
    try:
        return (
            await stub.VerifyApiKey(VerifyApiKeyRequest(api_key="x", **wish), metadata=metadata, timeout=10)
        ).verdict
    except grpc.aio.AioRpcError as failure:
        return failure.code()


async def test_a_client_certificate_is_enough_and_names_the_caller(mutual: Service, authority: Authority) -> None:
    key, certificate = authority.issue("catalog.internal")

    async with calling(mutual, authority.certificate, key, certificate) as channel:
        with capture_logs() as logs:
            assert await outcome(channel) == verdict_pb2.VERDICT_MALFORMED
            assert await outcome(channel, cost=10_001) is grpc.StatusCode.INVALID_ARGUMENT  # failures are logged

    assert [line["caller"] for line in logs if line["event"] == "call"] == ["catalog.internal"]


async def test_without_a_certificate_of_the_authority_nobody_gets_past_the_handshake(
    mutual: Service, authority: Authority, token: list[tuple[str, str]]
) -> None:
    strangers = Authority().issue("catalog.internal")

    for shown in ((), strangers):
        async with calling(mutual, authority.certificate, *shown) as channel:
            with capture_logs() as logs:
                assert await outcome(channel, token) is grpc.StatusCode.UNAVAILABLE
                health: Any = health_pb2_grpc.HealthStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
            assert not [line for line in logs if line["event"] == "call"]


async def test_without_a_client_ca_a_service_token_is_needed_and_enough(
    one_sided: Service, authority: Authority, token: list[tuple[str, str]]
) -> None:
    async with calling(one_sided, authority.certificate) as channel:
        assert await outcome(channel, token) == verdict_pb2.VERDICT_MALFORMED
        assert await outcome(channel) is grpc.StatusCode.UNAUTHENTICATED


async def test_without_a_client_ca_a_certificate_proves_nothing(one_sided: Service, authority: Authority) -> None:
    key, certificate = authority.issue("catalog.internal")

    async with calling(one_sided, authority.certificate, key, certificate) as channel:
        assert await outcome(channel) is grpc.StatusCode.UNAUTHENTICATED


async def test_a_port_with_tls_answers_nobody_in_plaintext(one_sided: Service, token: list[tuple[str, str]]) -> None:
    async with grpc.aio.insecure_channel(one_sided.addresses.internal_grpc) as channel:
        assert await outcome(channel, token) is grpc.StatusCode.UNAVAILABLE
