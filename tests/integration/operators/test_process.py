"""The commands of operators in processes of their own: beside a running server, without one, before there is one."""

import json
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.database import short_folder
from tests.integration.process.installation import Installation


@pytest_asyncio.fixture(loop_scope="session")
async def installation() -> AsyncIterator[Installation]:
    """An installation that was never started."""
    async with short_folder() as folder:
        yield Installation(folder=folder)


async def test_before_the_first_start_there_is_nothing_to_operate(installation: Installation) -> None:
    ended = await installation.run("developers", "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "`serve` makes one" in ended.stderr
    assert not installation.data_dir.exists()


async def test_operators_work_beside_a_running_server_and_without_one(installation: Installation) -> None:
    async with installation.serving() as server, server.rest() as rest:
        headers = {"authorization": f"Bearer {server.token}"}
        created = (
            await rest.post("/v1/developer/keys", json={"name": "K", "scopes": ["read"]}, headers=headers)
        ).json()
        prefix, key_id = created["apiKey"]["keyPrefix"], created["apiKey"]["id"]

        listed = await installation.run("developers", "list", "--json")
        revoked = await installation.run("keys", "revoke", "--prefix", prefix, "--yes")
        read = (await rest.get(f"/v1/developer/keys/{key_id}", headers=headers)).json()
        still = await rest.get("/v1/developer/keys", headers=headers)

    assert (listed.returncode, listed.stderr) == (0, "")
    (line,) = json.loads(listed.stdout)
    assert (line["subject"], line["live_keys"]) == ("alice", 1)
    assert (revoked.returncode, revoked.stdout.splitlines()[-1]) == (0, f"{key_id} is revoked.")
    (event,) = [json.loads(told) for told in revoked.stderr.splitlines()]
    assert (event["event"], event["action"], event["actor"]) == ("audit", "key.revoked", "operator")
    assert read["apiKey"]["status"] == "API_KEY_STATUS_REVOKED"
    assert still.status_code == 200

    alone = await installation.run("developers", "suspend", line["id"])
    refused = await installation.run("developers", "suspend", line["id"])
    drawn = await installation.run("user", "add", "carol", "--draw")
    closed = await installation.run("user", "disable", "carol")

    assert (alone.returncode, alone.stdout) == (0, f"{line['id']} is suspended.\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "developers resume" in refused.stderr
    assert (drawn.returncode, len(drawn.stdout.strip())) == (0, 24)
    assert (closed.returncode, closed.stdout.partition(".")[0]) == (0, "carol may not sign in any more")
    told = json.loads(closed.stderr)
    assert (told["event"], told["username"], told["sessions"], told["grants"]) == ("user_disabled", "carol", 0, 0)
