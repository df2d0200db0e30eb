"""Settings: every fault of the environment named at once, by variable, and never with the value."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from server.config import Address, Listen, Settings, read_environment
from server.keys.model import Environment
from server.limits.model import Rate

PEPPER = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
PRODUCTION = {
    "DATABASE_URL": "postgresql://someone:hunter2@db.example.com/developer",
    "DEVELOPER_OAUTH_ISSUER": "https://issuer.example.com",
    "DEVELOPER_OAUTH_AUDIENCE": "https://sdk.example.com",
    "DEVELOPER_KEY_PEPPERS": f"1:{PEPPER}",
    "DEVELOPER_PUBLIC_URL": "https://developer.example.com",
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment without settings."""
    for name in os.environ:
        if name.startswith(("DEVELOPER_", "DATABASE_", "PG_")):
            monkeypatch.delenv(name)


def _read(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Any:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read_environment(environment)


def _faults(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> list[str]:
    return sorted(fault.partition(":")[0] for fault in _read(monkeypatch, environment).faults)


def test_nothing_set_is_a_development_server(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = _read(monkeypatch, {})
    assert reading.faults == ()
    assert reading.listen == Listen()
    settings = reading.settings
    assert settings.uses_local_issuer
    assert settings.registers_automatically
    assert settings.default_environment is Environment.TEST
    assert (settings.data_dir, settings.rotation_grace_seconds) == (Path(".data"), 3600)
    assert (settings.management_rate, settings.workers) == (Rate(120, 60), 1)
    assert {
        str(getattr(reading.listen, f"{name}_address")) for name in ("grpc", "internal_grpc", "http", "metrics")
    } == {f"127.0.0.1:{port}" for port in (50051, 50052, 8080, 9090)}


def test_an_issuer_turns_the_development_defaults_off(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = _read(monkeypatch, PRODUCTION)
    assert reading.faults == ()
    assert not reading.settings.uses_local_issuer
    assert not reading.settings.registers_automatically
    assert reading.settings.default_environment is Environment.LIVE


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("DEVELOPER_KEY_ENVIRONMENT", "live", "default_environment", Environment.LIVE),
        ("DEVELOPER_AUTO_REGISTER", "false", "registers_automatically", False),
        ("DEVELOPER_ROTATION_GRACE_SECONDS", "0", "rotation_grace_seconds", 0),
        ("DEVELOPER_MANAGEMENT_RATE", "3/1", "management_rate", Rate(3, 1)),
        ("DEVELOPER_OAUTH_CLIENT_IDS", "one, two,", "oauth_client_ids", ("one", "two")),
        ("DEVELOPER_CORS_ORIGINS", "https://a.example", "cors_origins", ("https://a.example",)),
        ("DEVELOPER_DATA_DIR", "/var/lib/x", "data_dir", Path("/var/lib/x")),
        ("DEVELOPER_OAUTH_TOKEN_PROFILE", "jwt", "oauth_token_profile", "jwt"),
        ("DEVELOPER_PUBLIC_URL", "", "public_url", None),
        ("DEVELOPER_VALKEY_URL", "valkey://10.0.0.7:6379/0", "valkey_url", "valkey://10.0.0.7:6379/0"),
        ("DEVELOPER_VALKEY_URL", "rediss://me:hunter2@[::1]", "valkey_url", "rediss://me:hunter2@[::1]"),
        ("DEVELOPER_VALKEY_URL", "unix:///run/valkey.sock", "valkey_url", "unix:///run/valkey.sock"),
    ],
)
def test_a_variable_sets_its_field(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, field: str, expected: object
) -> None:
    reading = _read(monkeypatch, {variable: value})
    assert reading.faults == ()
    assert getattr(reading.settings, field) == expected


@pytest.mark.parametrize(("current", "is_known"), [("1", True), ("2", True), ("3", False)])
def test_the_pepper_in_use_is_one_of_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, current: str, is_known: bool
) -> None:
    peppers = {"DEVELOPER_KEY_PEPPERS": f"1:{PEPPER},2:{PEPPER}", "DEVELOPER_KEY_PEPPER_CURRENT": current}

    reading = _read(monkeypatch, peppers)

    named = [fault.partition(":")[0] for fault in reading.faults]
    assert named == ([] if is_known else ["DEVELOPER_KEY_PEPPER_CURRENT"])


def test_a_pooler_needs_a_way_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pooler = {"DATABASE_POOLER": "transaction", "DATABASE_URL": "postgresql://pooler/x"}
    assert [fault.partition(":")[0] for fault in _read(monkeypatch, pooler).faults] == ["DATABASE_DIRECT_URL"]

    reading = _read(monkeypatch, {**pooler, "DATABASE_DIRECT_URL": "postgresql://server/x"})

    assert reading.faults == ()
    assert reading.settings is not None
    assert reading.settings.database_pooler == "transaction"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://someone:hunter2@db/x"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_DIRECT_URL", "http://hunter2"),
        ("DATABASE_POOLER", "hunter2"),
        ("DEVELOPER_VALKEY_URL", "valkey://host:6379/0?hunter2=hunter2"),
        ("DEVELOPER_INTERNAL_TOKENS", "hunter2"),
        ("DEVELOPER_INTERNAL_TOKENS", "catalog:hunter2"),
        ("DEVELOPER_GRPC_ADDRESS", "hunter2"),
        ("DEVELOPER_GRPC_ADDRESS", ":50051"),
        ("DEVELOPER_INTERNAL_GRPC_ADDRESS", "127.0.0.1"),
        ("DEVELOPER_HTTP_ADDRESS", "127.0.0.1:65536"),
        ("DEVELOPER_METRICS_ADDRESS", "127.0.0.1:-1"),
        ("DEVELOPER_METRICS_ADDRESS", "127.0.0.1:\u0661"),
        ("DEVELOPER_OAUTH_TOKEN_PROFILE", "hunter2"),
        ("DEVELOPER_KEY_ENVIRONMENT", "hunter2"),
        ("DEVELOPER_KEY_PEPPERS", "hunter2"),
        ("DEVELOPER_KEY_PEPPERS", "1:aHVudGVyMg=="),
        ("DEVELOPER_KEY_PEPPERS", f"1:{PEPPER},1:{PEPPER}"),
        ("DEVELOPER_ROTATION_GRACE_SECONDS", "-1"),
        ("DEVELOPER_ROTATION_GRACE_SECONDS", "2592001"),
        ("DEVELOPER_ROTATION_GRACE_SECONDS", "hunter2"),
        ("DEVELOPER_AUTO_REGISTER", "hunter2"),
        ("DEVELOPER_MANAGEMENT_RATE", "hunter2"),
        ("DEVELOPER_PUBLIC_URL", "hunter2"),
        ("DEVELOPER_PUBLIC_URL", "https://x/?hunter2"),
        ("DEVELOPER_TRUSTED_PROXIES", "10.0.0.0/8,hunter2"),
        ("DEVELOPER_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DEVELOPER_WORKERS", "0"),
        ("DEVELOPER_WORKERS", "2"),
        ("DEVELOPER_WORKERS", "hunter2"),
        ("DEVELOPER_VALKEY_URL", "hunter2"),
        ("DEVELOPER_VALKEY_URL", "http://hunter2"),
        ("DEVELOPER_VALKEY_URL", "valkey:///hunter2"),
        ("DEVELOPER_VALKEY_URL", "valkey://me:hunter2@host:0"),
        ("DEVELOPER_VALKEY_URL", "unix://hunter2"),
        ("DEVELOPER_GRPC_TLS_CERT", __file__),
        ("DEVELOPER_INTERNAL_GRPC_TLS_KEY", __file__),
        ("DEVELOPER_CORS_ORIGINS", "https://portal.example.com,hunter2"),
        ("DEVELOPER_OAUTH_AUDIENCE", "hunter2"),
        ("DEVELOPER_OAUTH_JWKS_URL", "https://hunter2"),
    ],
)
def test_a_faulty_variable_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    reading = _read(monkeypatch, {variable: value})
    named = {fault.partition(":")[0] for fault in reading.faults}
    assert {name.rpartition("_")[0] for name in named} == {variable.rpartition("_")[0]}
    assert not any("hunter2" in fault or PEPPER[:20] in fault for fault in reading.faults)


@pytest.mark.parametrize("issuer", ["hunter2", "ftp://issuer.example", "https://"])
def test_a_faulty_issuer_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    assert _faults(monkeypatch, PRODUCTION | {"DEVELOPER_OAUTH_ISSUER": issuer}) == ["DEVELOPER_OAUTH_ISSUER"]


def test_with_an_issuer_everything_else_that_is_needed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = {"DEVELOPER_OAUTH_ISSUER": "https://issuer.example.com"}
    assert _faults(monkeypatch, issuer) == sorted(set(PRODUCTION) - set(issuer))


def test_faults_of_every_sort_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "DEVELOPER_OAUTH_ISSUER": "https://issuer.example.com",
        "DEVELOPER_HTTP_ADDRESS": "x",
        "DEVELOPER_METRICS_ADDRESS": "y",
        "DEVELOPER_KEY_PEPPERS": "1:c2hvcnQ=",
        "DEVELOPER_MANAGEMENT_RATE": "fast",
        "DEVELOPER_GRPC_TLS_KEY": "/no/such/file",
    }
    assert _faults(monkeypatch, environment) == [
        "DATABASE_URL",
        "DEVELOPER_GRPC_TLS_CERT",
        "DEVELOPER_GRPC_TLS_KEY",
        "DEVELOPER_HTTP_ADDRESS",
        "DEVELOPER_KEY_PEPPERS",
        "DEVELOPER_MANAGEMENT_RATE",
        "DEVELOPER_METRICS_ADDRESS",
        "DEVELOPER_OAUTH_AUDIENCE",
        "DEVELOPER_PUBLIC_URL",
    ]


@pytest.mark.parametrize("prefix", ["DEVELOPER_GRPC_TLS", "DEVELOPER_INTERNAL_GRPC_TLS"])
def test_tls_needs_both_a_certificate_and_a_key(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    named = [f"{prefix}_CERT", f"{prefix}_CLIENT_CA", f"{prefix}_KEY"]
    assert _faults(monkeypatch, {f"{prefix}_CLIENT_CA": __file__}) == named


def test_tls_files_must_be_what_they_are_named_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prefix = "DEVELOPER_GRPC_TLS"
    certificate, key = _certificate(tmp_path)
    good = {f"{prefix}_CERT": str(certificate), f"{prefix}_KEY": str(key), f"{prefix}_CLIENT_CA": str(certificate)}
    assert _faults(monkeypatch, good) == []
    assert _faults(monkeypatch, {**good, f"{prefix}_KEY": str(certificate)}) == [f"{prefix}_CERT, {prefix}_KEY"]
    assert _faults(monkeypatch, {**good, f"{prefix}_CLIENT_CA": __file__}) == [f"{prefix}_CLIENT_CA"]


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.mark.parametrize(
    ("variable", "meant"),
    [("DEVELOPER_MANAGMENT_RATE", "MANAGEMENT_RATE"), ("DEVELOPER_OAUTH_ISUER", "OAUTH_ISSUER")],
)
def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    (fault,) = _read(monkeypatch, {variable: "1/1"}).faults
    assert fault == f"{variable}: is no setting; did you mean DEVELOPER_{meant}?"


def test_a_variable_of_somebody_elses_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _faults(monkeypatch, {"DEVELOPER_DIR": "/somewhere"}) == []


def test_blank_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _read(monkeypatch, dict.fromkeys(PRODUCTION, "")).faults == ()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("[::1]:0", Address("[::1]", 0)),
        (" localhost:65535 ", Address("localhost", 65535)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text.strip()


def test_settings_do_not_change_and_do_not_print_peppers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, PRODUCTION).settings
    assert isinstance(settings, Settings)
    assert PEPPER[:20] not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.data_dir = Path("/elsewhere")


def test_several_workers_need_limits_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    (fault,) = _read(monkeypatch, {"DEVELOPER_WORKERS": "2"}).faults
    assert fault.startswith("DEVELOPER_WORKERS: ")
    assert "DEVELOPER_VALKEY_URL" in fault
    assert "share" in fault

    reading = _read(monkeypatch, {"DEVELOPER_WORKERS": "2", "DEVELOPER_VALKEY_URL": "valkey://me:hunter2@localhost"})
    assert reading.faults == ()
    assert (reading.settings.workers, reading.settings.shares_ports) == (2, True)
    assert "hunter2" not in repr(reading.settings)


def test_one_worker_keeps_its_ports_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _read(monkeypatch, {"DEVELOPER_VALKEY_URL": "valkey://localhost"}).settings.shares_ports


ALONE = {
    "DEVELOPER_MODE": "production",
    "DEVELOPER_PUBLIC_URL": "https://developer.example.com",
    "DEVELOPER_TRUSTED_PROXIES": "10.0.0.0/8",
}


@pytest.mark.parametrize(
    ("environment", "faults"),
    [
        (PRODUCTION, []),
        (PRODUCTION | {"DEVELOPER_PUBLIC_URL": ""}, ["DEVELOPER_PUBLIC_URL"]),
        (PRODUCTION | {"DEVELOPER_PUBLIC_URL": "http://developer.example.com"}, ["DEVELOPER_PUBLIC_URL"]),
        (PRODUCTION | {"DEVELOPER_OAUTH_ISSUER": "http://127.0.0.1:9"}, ["DEVELOPER_OAUTH_ISSUER"]),
        (PRODUCTION | {"DEVELOPER_OAUTH_ISSUER": "http://127.0.0.1:9", "DEVELOPER_MODE": "development"}, []),
        (PRODUCTION | {"DEVELOPER_PUBLIC_URL": "", "DEVELOPER_MODE": "development"}, []),
        (ALONE | {"DEVELOPER_KEY_PEPPERS": f"1:{PEPPER}"}, []),
        (ALONE, ["DEVELOPER_KEY_PEPPERS"]),
        (
            {"DEVELOPER_MODE": "production"},
            ["DEVELOPER_KEY_PEPPERS", "DEVELOPER_PUBLIC_URL", "DEVELOPER_TRUSTED_PROXIES"],
        ),
        (PRODUCTION | {"DEVELOPER_OAUTH_ISSUER": " http://127.0.0.1:9"}, ["DEVELOPER_OAUTH_ISSUER"]),
        (PRODUCTION | {"DEVELOPER_OAUTH_ISSUER": "HTTP://127.0.0.1:9"}, ["DEVELOPER_OAUTH_ISSUER"]),
        (PRODUCTION | {"DEVELOPER_OAUTH_JWKS_URL": "http://localhost/keys"}, ["DEVELOPER_OAUTH_JWKS_URL"]),
        ({"DEVELOPER_MODE": "trial"}, ["DEVELOPER_MODE"]),
        ({"DEVELOPER_PUBLIC_URL": "https://example.com/portal"}, ["DEVELOPER_PUBLIC_URL"]),
    ],
)
def test_production_forgives_nothing(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], faults: list[str]
) -> None:
    assert _faults(monkeypatch, environment) == faults


UPSTREAM = {"DEVELOPER_UPSTREAM_ISSUER": "https://id.example.com", "DEVELOPER_UPSTREAM_CLIENT_ID": "developers"}


@pytest.mark.parametrize(
    ("environment", "faults"),
    [
        (UPSTREAM, []),
        (UPSTREAM | {"DEVELOPER_UPSTREAM_CLIENT_SECRET": "hush"}, []),
        ({"DEVELOPER_UPSTREAM_ISSUER": "https://id.example.com"}, ["DEVELOPER_UPSTREAM_CLIENT_ID"]),
        ({"DEVELOPER_UPSTREAM_CLIENT_SECRET": "hush"}, ["DEVELOPER_UPSTREAM_CLIENT_ID", "DEVELOPER_UPSTREAM_ISSUER"]),
        ({"DEVELOPER_PORTAL_CLIENT_ID": "portal"}, ["DEVELOPER_PORTAL_CLIENT_ID"]),
        (PRODUCTION | {"DEVELOPER_PORTAL_CLIENT_ID": "portal"}, []),
        (PRODUCTION | {"DEVELOPER_PORTAL_CLIENT_SECRET": "hush"}, ["DEVELOPER_PORTAL_CLIENT_ID"]),
        (PRODUCTION | UPSTREAM, ["DEVELOPER_UPSTREAM_CLIENT_ID", "DEVELOPER_UPSTREAM_ISSUER"]),
    ],
)
def test_one_side_signs_people_in(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], faults: list[str]
) -> None:
    assert _faults(monkeypatch, environment) == faults


def test_production_with_local_accounts_has_no_conveniences(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, ALONE | {"DEVELOPER_KEY_PEPPERS": f"1:{PEPPER}"}).settings
    assert settings.uses_local_issuer
    assert settings.is_production
    assert not settings.registers_automatically
    assert settings.default_environment is Environment.LIVE
