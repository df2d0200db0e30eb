"""A database restored from a backup: revoked keys live again, until the log of the lost server is applied to it."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest_asyncio
from sdk.verification.v1 import verdict_pb2
from sdk.verification.v1.verification_service_pb2 import VerifyApiKeyRequest
from sdk.verification.v1.verification_service_pb2_grpc import VerificationServiceStub

from server.postgres.cluster import DATABASE, USER, find_binaries
from server.postgres.embedded import EmbeddedPostgres
from tests.database import short_folder

from .installation import Installation, Server

_KEYS = "/v1/developer/keys"
_CLIENTS = "/v1/developer/oauth-clients"


async def _postgres_tool(name: str, *arguments: str) -> None:
    command = [str(find_binaries(None) / name), *arguments]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr


async def _new_key(rest: httpx2.AsyncClient, name: str) -> tuple[str, str]:
    """Create a key and return its path and its secret."""
    answer = (await rest.post(_KEYS, json={"name": name, "scopes": ["read"]})).json()
    return f"{_KEYS}/{answer['apiKey']['id']}", answer["secret"]


async def _new_client(rest: httpx2.AsyncClient, name: str) -> tuple[str, str]:
    """Create a confidential OAuth client and return its id and its secret."""
    wish = {"name": name, "type": "O_AUTH_CLIENT_TYPE_CONFIDENTIAL", "allowedScopes": ["read"]}
    answer = (await rest.post(_CLIENTS, json={**wish, "redirectUris": ["https://example.com/cb"]})).json()
    return answer["client"]["id"], answer["secret"]


async def _proofs(server: Server, clients: Mapping[str, tuple[str, str]]) -> dict[str, bool]:
    """Tell of each client whether its secret is taken: then it is the refresh token that is refused."""
    form = {"grant_type": "refresh_token", "refresh_token": "none"}
    proofs = {}
    async with httpx2.AsyncClient(base_url=f"http://{server.addresses.http}", trust_env=False) as anyone:
        for name, (client_id, secret) in clients.items():
            proof = {"client_id": client_id, "client_secret": secret}
            answer = await anyone.post("/oauth/token", data={**form, **proof})
            proofs[name] = {"invalid_grant": True, "invalid_client": False}[answer.json()["error"]]
    return proofs


async def _verdicts(server: Server, secrets: Sequence[str]) -> list[str]:
    """Ask the internal port about secrets."""
    token = (server.installation.data_dir / "internal-token").read_text().strip()
    async with grpc.aio.insecure_channel(server.addresses.internal_grpc) as channel:
        stub: Any = VerificationServiceStub(channel)
        metadata = [("authorization", f"Bearer {token}")]
        answers = [await stub.VerifyApiKey(VerifyApiKeyRequest(api_key=text), metadata=metadata) for text in secrets]
    return [verdict_pb2.Verdict.Name(answer.verdict).removeprefix("VERDICT_") for answer in answers]


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[str]:
    """The URL of an empty database on another server."""
    async with short_folder() as folder:
        postgres = EmbeddedPostgres(folder)
        yield await postgres.start()
        await postgres.stop()


async def test_a_revoked_key_stays_dead_through_backup_and_restore(
    installation: Installation, elsewhere: str, tmp_path: Path
) -> None:
    log, dump = tmp_path / "lost.log", tmp_path / "developer.dump"
    async with installation.serving() as server, server.rest() as rest:
        _, kept = await _new_key(rest, "Kept")
        revoked_path, revoked = await _new_key(rest, "Revoked")
        rotated_path, rotated = await _new_key(rest, "Rotated")
        run = str(installation.postgres_dir / "run")
        await _postgres_tool("pg_dump", "-Fc", "-f", str(dump), "-h", run, "-U", USER, DATABASE)
        assert (await rest.post(f"{revoked_path}/revoke", json={})).status_code == 200
        renewed = (await rest.post(f"{rotated_path}/rotate", json={"expirePreviousNow": True})).json()["secret"]
        secrets = kept, revoked, rotated, renewed
        before = await _verdicts(server, secrets)
    shutil.copy(installation.folder / "server.err", log)
    await _postgres_tool("pg_restore", "--exit-on-error", "--no-owner", "-d", elsewhere, str(dump))

    async with installation.serving(DATABASE_URL=elsewhere) as server:
        careless = await _verdicts(server, secrets)
    applied = await installation.run("reapply", str(log), DATABASE_URL=elsewhere)
    async with installation.serving(DATABASE_URL=elsewhere) as server:
        after = await _verdicts(server, secrets)
    again = await installation.run("reapply", str(log), DATABASE_URL=elsewhere)

    assert before == ["VALID", "REVOKED", "ROTATED_OUT", "VALID"]
    assert careless == ["VALID", "VALID", "VALID", "NOT_FOUND"]
    assert after == ["VALID", "REVOKED", "ROTATED_OUT", "NOT_FOUND"]
    assert (applied.returncode, again.returncode) == (0, 0)
    assert "Keys revoked: 1. Rotations applied: 1." in applied.stdout
    assert "Keys revoked: 0. Rotations applied: 0." in again.stdout
    for ended in (applied, again):
        assert "Not in this database: 1. Lines not understood: 0." in ended.stdout
    actions = [json.loads(line)["action"] for line in applied.stderr.splitlines()]
    assert actions == ["key.revocation_reapplied", "key.rotation_reapplied"]


async def test_an_ended_grace_and_what_oauth_clients_lost_stay_gone_through_backup_and_restore(
    installation: Installation, elsewhere: str, tmp_path: Path
) -> None:
    log, dump = tmp_path / "lost.log", tmp_path / "developer.dump"
    async with installation.serving() as server, server.rest() as rest:
        graced_path, graced = await _new_key(rest, "Graced")
        await rest.post(f"{graced_path}/rotate", json={})
        clients = {name: await _new_client(rest, name) for name in ("Kept", "Deleted", "Rotated")}
        run = str(installation.postgres_dir / "run")
        await _postgres_tool("pg_dump", "-Fc", "-f", str(dump), "-h", run, "-U", USER, DATABASE)
        assert (await rest.post(f"{graced_path}/secrets/1/end-grace", json={})).status_code == 200
        assert (await rest.delete(f"{_CLIENTS}/{clients['Deleted'][0]}")).status_code == 200
        path = f"{_CLIENTS}/{clients['Rotated'][0]}/rotate-secret"
        assert (await rest.post(path, json={"expirePreviousNow": True})).status_code == 200
        before = await _verdicts(server, [graced]), await _proofs(server, clients)
    shutil.copy(installation.folder / "server.err", log)
    await _postgres_tool("pg_restore", "--exit-on-error", "--no-owner", "-d", elsewhere, str(dump))

    async with installation.serving(DATABASE_URL=elsewhere) as server:
        careless = await _verdicts(server, [graced]), await _proofs(server, clients)
    applied = await installation.run("reapply", str(log), DATABASE_URL=elsewhere)
    async with installation.serving(DATABASE_URL=elsewhere) as server:
        after = await _verdicts(server, [graced]), await _proofs(server, clients)
    again = await installation.run("reapply", str(log), DATABASE_URL=elsewhere)

    assert before == after == (["ROTATED_OUT"], {"Kept": True, "Deleted": False, "Rotated": False})
    assert careless == (["VALID"], {"Kept": True, "Deleted": True, "Rotated": True})
    assert (applied.returncode, again.returncode) == (0, 0)
    assert "Graces ended: 1. Clients deleted: 1. Secrets of clients ended: 1." in applied.stdout
    assert "Graces ended: 0. Clients deleted: 0. Secrets of clients ended: 0." in again.stdout


async def test_what_operators_did_by_their_commands_is_applied_from_those_logs(
    installation: Installation, elsewhere: str, tmp_path: Path
) -> None:
    dump, log = tmp_path / "developer.dump", tmp_path / "operator.log"
    async with installation.serving() as server, server.rest() as rest:
        await _new_key(rest, "A key")
        run = str(installation.postgres_dir / "run")
        await _postgres_tool("pg_dump", "-Fc", "-f", str(dump), "-h", run, "-U", USER, DATABASE)
    listed = await installation.run("developers", "list", "--json")
    (developer,) = [each["id"] for each in json.loads(listed.stdout)]
    log.write_text((await installation.run("developers", "suspend", developer)).stderr)
    await _postgres_tool("pg_restore", "--exit-on-error", "--no-owner", "-d", elsewhere, str(dump))

    applied = await installation.run("reapply", str(log), DATABASE_URL=elsewhere)
    suspended = await installation.run("developers", "list", "--suspended", "--json", DATABASE_URL=elsewhere)

    assert "Developers suspended: 1." in applied.stdout
    assert [each["id"] for each in json.loads(suspended.stdout)] == [developer]


async def test_logs_come_from_standard_input_and_a_faulty_line_is_told_at_the_end(
    installation: Installation,
) -> None:
    lines = 'Ready.\n{"event":"call"}\n{"event":"audit","action":"key.revoked"}\n'

    command, environment = installation.command("reapply", "-"), installation.variables()
    ended = await asyncio.to_thread(
        subprocess.run, command, env=environment, input=lines, capture_output=True, text=True, timeout=20
    )

    assert ended.returncode == 1
    assert "line 3: an audit event without id" in ended.stdout
    assert "Lines not understood: 1." in ended.stdout
    assert "Traceback" not in ended.stderr


async def test_an_empty_log_is_no_log(installation: Installation) -> None:
    ended = await installation.run("reapply", "-")

    assert ended.returncode == 1
    assert ended.stdout.startswith("Nothing to read")


async def test_nothing_is_applied_where_there_is_no_database(fresh: Installation, tmp_path: Path) -> None:
    log = tmp_path / "empty.log"
    log.touch()

    ended = await fresh.run("reapply", str(log))

    assert ended.returncode == 1
    assert str(fresh.data_dir) in ended.stderr
    assert not fresh.data_dir.exists()


async def test_a_log_that_is_not_there_is_named(installation: Installation) -> None:
    ended = await installation.run("reapply", "/nowhere/server.log")

    assert ended.returncode != 0
    assert "/nowhere/server.log" in ended.stderr
    assert ended.stdout == ""
