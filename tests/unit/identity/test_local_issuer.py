import asyncio
import base64
import json
import multiprocessing
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.errors import Unauthenticated
from server.identity.jwks import StaticKeySet
from server.identity.local_issuer import LocalIssuer
from server.identity.tokens import TokenVerifier
from server.private_file import PrivateFileError
from tests.unit.identity.forge import NOW

ISSUER, AUDIENCE = "http://127.0.0.1:8080", "developer-api"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root") / "data"


@pytest.fixture(scope="module")
def local(data_dir: Path) -> LocalIssuer:
    return LocalIssuer.open(data_dir, issuer=ISSUER, audience=AUDIENCE, clock=lambda: float(NOW))


def _verifier(local: LocalIssuer, now: float = NOW) -> TokenVerifier:
    return TokenVerifier(issuer=ISSUER, audience=AUDIENCE, keys=StaticKeySet(local.jwks()), clock=lambda: now)


async def test_its_tokens_are_verified_under_the_strict_profile(local: LocalIssuer) -> None:
    token = await _verifier(local).verify(local.issue("alice", client_id="portal", scope="read"))

    assert (token.subject, token.client_id) == ("alice", "portal")
    assert token.scopes == {"read"}
    assert token.expires_at.timestamp() == NOW + 3600


async def test_no_two_tokens_are_equal(local: LocalIssuer) -> None:
    assert local.issue("alice") != local.issue("alice")


async def test_a_token_ends_with_its_lifetime(local: LocalIssuer) -> None:
    raw = local.issue("alice", lifetime=timedelta(minutes=1))
    assert await _verifier(local, NOW + 60).verify(raw)
    with pytest.raises(Unauthenticated):
        await _verifier(local, NOW + 90).verify(raw)


def test_a_token_is_what_rfc_9068_says(local: LocalIssuer) -> None:
    header, payload, _ = local.issue("alice").split(".")
    assert _decode(header) == {"alg": "RS256", "typ": "at+jwt", "kid": _key_id(local)}
    assert _decode(payload).keys() == {"iss", "aud", "sub", "client_id", "scope", "iat", "exp", "jti"}


@pytest.mark.parametrize("subject", ["", "\0", "alice\n", "x" * 256, "\ud800"])
def test_a_subject_that_no_verifier_takes_is_refused(local: LocalIssuer, subject: str) -> None:
    with pytest.raises(ValueError, match="subject must be 1 to 255 printable characters"):
        local.issue(subject)


def test_the_published_document_is_public(local: LocalIssuer) -> None:
    assert _key(local).keys() == {"kty", "n", "e", "kid", "use", "alg"}


def test_the_key_survives_a_restart(local: LocalIssuer, data_dir: Path) -> None:
    again = LocalIssuer.open(data_dir, issuer=ISSUER, audience=AUDIENCE)
    assert again.jwks() == local.jwks()


def test_only_the_owner_can_read_the_key(local: LocalIssuer, data_dir: Path) -> None:
    (file,) = data_dir.iterdir()
    assert file.name == "issuer-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o700 | 0o1])
def test_a_key_open_to_others_is_refused_with_the_fix(local: LocalIssuer, data_dir: Path, mode: int) -> None:
    file = data_dir / "issuer-key.pem"
    file.chmod(mode)
    try:
        with pytest.raises(PrivateFileError, match=f"chmod 600 {file}"):
            LocalIssuer.open(data_dir, issuer=ISSUER, audience=AUDIENCE)
    finally:
        file.chmod(0o600)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    "content",
    [b"", b"no key", _pem(ec.generate_private_key(ec.SECP256R1())), _pem(rsa.generate_private_key(65537, 1024))],
    ids=["empty", "garbage", "elliptic", "short"],
)
def test_a_file_that_holds_no_good_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "issuer-key.pem"
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(PrivateFileError, match=f"{file} holds no RSA key"):
        LocalIssuer.open(tmp_path, issuer=ISSUER, audience=AUDIENCE)


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path: Path, data_dir: Path, local: LocalIssuer) -> None:
    (tmp_path / "issuer-key.pem").symlink_to(data_dir / "issuer-key.pem")
    with pytest.raises(PrivateFileError, match="cannot be used"):
        LocalIssuer.open(tmp_path, issuer=ISSUER, audience=AUDIENCE)


def test_a_directory_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "issuer-key.pem").mkdir()
    with pytest.raises(PrivateFileError, match="cannot be used"):
        LocalIssuer.open(tmp_path, issuer=ISSUER, audience=AUDIENCE)


def _open_and_name_the_key(data_dir: Path) -> str:
    return _key_id(LocalIssuer.open(data_dir, issuer=ISSUER, audience=AUDIENCE))


async def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        names = await asyncio.to_thread(pool.map, _open_and_name_the_key, [tmp_path / "data"] * 8)
    assert len(set(names)) == 1
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["issuer-key.pem"]


def _key_id(local: LocalIssuer) -> str:
    return str(_key(local)["kid"])


def _key(local: LocalIssuer) -> dict[str, str]:
    keys = local.jwks()["keys"]
    assert isinstance(keys, list)
    assert len(keys) == 1
    return dict(keys[0])


def _decode(segment: str) -> dict[str, object]:
    decoded: dict[str, object] = json.loads(base64.urlsafe_b64decode(segment + "=="))
    return decoded
