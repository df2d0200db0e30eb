"""A start that cannot work ends at once with status 1 and one list of every fault, which repeats no secret."""

import base64
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from .installation import PORTS, Installation

_SHORT = base64.b64encode(b"only eighteen byte").decode()
_GOOD = base64.b64encode(bytes(32)).decode()


@contextmanager
def _taken(count: int) -> Iterator[list[str]]:
    """Listen on so many addresses ourselves."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield ["{}:{}".format(*each.getsockname()) for each in sockets]


async def _refusal(installation: Installation, command: str = "serve", **settings: str) -> list[str]:
    """Return the faults that a command names."""
    ended = await installation.run(command, **settings)
    assert ended.returncode == 1, ended
    assert "Ready" not in ended.stdout
    title, *faults = ended.stderr.splitlines()
    assert title == "Cannot start:"
    return [fault.strip() for fault in faults]


def _variables(faults: Sequence[str]) -> list[str]:
    return [fault.partition(":")[0] for fault in faults]


async def test_every_fault_is_named_at_once(fresh: Installation) -> None:
    with _taken(len(PORTS)) as addresses:
        taken = {f"DEVELOPER_{port}_ADDRESS": address for port, address in zip(PORTS, addresses, strict=True)}
        faults = await _refusal(
            fresh,
            **taken,
            DATABASE_URL="mysql://root:hunter2@db/developer",
            DEVELOPER_OAUTH_ISSUER="ftp://issuer.example",
            DEVELOPER_KEY_PEPPERS=f"1:{_SHORT}",
            DEVELOPER_MANAGEMENT_RATE="fast",
            DEVELOPER_ROTATION_GRACE_SECONDS="-1",
            DEVELOPER_WORKERS="4",
        )

    assert sorted(_variables(faults)) == sorted(
        [
            *taken,
            "DATABASE_URL",
            "DEVELOPER_KEY_PEPPERS",
            "DEVELOPER_MANAGEMENT_RATE",
            "DEVELOPER_OAUTH_AUDIENCE",
            "DEVELOPER_OAUTH_ISSUER",
            "DEVELOPER_PUBLIC_URL",
            "DEVELOPER_ROTATION_GRACE_SECONDS",
            "DEVELOPER_WORKERS",
        ]
    )
    told = "\n".join(faults)
    assert "hunter2" not in told
    assert _SHORT not in told
    assert all(f"cannot listen on {address}: Address already in use" in told for address in addresses)
    assert not fresh.data_dir.exists()


async def test_an_issuer_needs_an_audience_peppers_a_database_and_tls(fresh: Installation) -> None:
    faults = await _refusal(fresh, DEVELOPER_OAUTH_ISSUER="https://issuer.example")

    assert _variables(faults) == [
        "DEVELOPER_OAUTH_AUDIENCE",
        "DEVELOPER_KEY_PEPPERS",
        "DATABASE_URL",
        "DEVELOPER_PUBLIC_URL",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DEVELOPER_GRPC_ADDRESS", "50051"),
        ("DEVELOPER_HTTP_ADDRESS", "127.0.0.1:99999"),
        ("DEVELOPER_HTTP_ADDRESS", "192.0.2.1:8080"),
        ("DEVELOPER_KEY_PEPPERS", f"1:{_SHORT}"),
        ("DEVELOPER_KEY_PEPPERS", _GOOD),
        ("DEVELOPER_OAUTH_AUDIENCE", "https://api.example"),
        ("DEVELOPER_GRPC_TLS_CERT", "/nowhere.pem"),
        ("DEVELOPER_KEY_ENVIRONMENT", "staging"),
    ],
)
async def test_a_single_fault_is_named_by_its_variable(fresh: Installation, variable: str, value: str) -> None:
    faults = await _refusal(fresh, **{variable: value})

    assert set(_variables(faults)) <= {variable, "DEVELOPER_GRPC_TLS_KEY"}
    assert value not in "\n".join(faults) or variable.endswith("_ADDRESS")


async def test_an_unreachable_database_is_named_without_its_password(fresh: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]

    faults = await _refusal(fresh, DATABASE_URL=f"postgresql://me:hunter2@127.0.0.1:{port}/developer")

    assert len(faults) == 1
    assert "DATABASE_URL" in faults[0]
    assert "hunter2" not in faults[0]


async def test_a_second_server_on_the_data_directory_is_refused_and_harms_nothing(installation: Installation) -> None:
    async with installation.serving() as server, server.rest() as rest:
        faults = await _refusal(installation)

        assert "Another server uses" in faults[0]
        assert "DEVELOPER_DATA_DIR" in faults[0]
        assert (await rest.get("/v1/developer/keys")).status_code == 200


async def test_a_second_server_on_the_same_ports_is_refused(installation: Installation, tmp_path: Path) -> None:
    async with installation.serving() as server:
        taken = {f"DEVELOPER_{port}_ADDRESS": getattr(server.addresses, port.lower()) for port in PORTS}

        faults = await _refusal(installation, DEVELOPER_DATA_DIR=str(tmp_path / "other"), **taken)

    assert _variables(faults) == list(taken)


@pytest.mark.parametrize("file", ["issuer-key.pem", "pepper"])
async def test_a_secret_open_to_others_is_refused(installation: Installation, file: str) -> None:
    (installation.data_dir / file).chmod(0o644)

    (fault,) = await _refusal(installation)

    assert str(installation.data_dir / file) in fault
    assert "chmod 600" in fault


@pytest.mark.parametrize("file", ["issuer-key.pem", "pepper"])
async def test_a_spoilt_secret_is_refused_and_kept(installation: Installation, file: str) -> None:
    (installation.data_dir / file).write_text("spoilt")

    (fault,) = await _refusal(installation)

    assert str(installation.data_dir / file) in fault
    assert (installation.data_dir / file).read_text() == "spoilt"


async def test_a_database_of_another_version_is_refused_with_the_words_of_postgres(installation: Installation) -> None:
    (installation.postgres_dir / "data" / "PG_VERSION").write_text("9.6\n")

    faults = await _refusal(installation)

    assert str(installation.postgres_dir) in faults[0]
    assert any("database files are incompatible with server" in fault for fault in faults)


async def test_an_older_schema_is_refused_until_migrate_has_run(fresh: Installation, empty_database_url: str) -> None:
    settings = {"DATABASE_URL": empty_database_url}

    (fault,) = await _refusal(fresh, **settings)
    assert "python -m server migrate" in fault

    first, second = [await fresh.run("migrate", **settings) for _ in range(2)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("Applied 0001_")
    assert second.stdout == "The schema is up to date.\n"

    async with fresh.serving(**settings) as server, server.rest() as rest:
        assert (await rest.get("/v1/developer/keys")).json() == {"apiKeys": []}
        assert "First start" not in server.out


async def test_migrate_of_the_embedded_database_is_refused(fresh: Installation) -> None:
    faults = await _refusal(fresh, "migrate")

    assert _variables(faults) == ["DATABASE_URL"]
