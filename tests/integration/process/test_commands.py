"""The commands that print and end: a token, the settings in force."""

import base64
import re

import pytest

from .installation import Installation

_SECRETS = {
    "DATABASE_URL": "postgresql://me:hunter2@db.example/developer",
    "DEVELOPER_OAUTH_ISSUER": "https://issuer.example",
    "DEVELOPER_OAUTH_AUDIENCE": "https://api.example",
    "DEVELOPER_KEY_PEPPERS": f"1:{base64.b64encode(b'p' * 32).decode()}",
    "DEVELOPER_PUBLIC_URL": "https://developer.example",
}


async def test_token_prints_one_line_and_nothing_else(installation: Installation) -> None:
    printed = await installation.run("token", "alice")

    assert printed.returncode == 0
    assert re.fullmatch(r"eyJ[\w-]+\.[\w-]+\.[\w-]+\n", printed.stdout)
    assert printed.stderr == ""


async def test_a_token_made_beside_a_running_server_is_accepted(installation: Installation) -> None:
    async with installation.serving() as server, server.rest() as rest:
        token = (await installation.run("token", "bob")).stdout.strip()

        answer = await rest.get("/v1/developer/keys", headers={"authorization": f"Bearer {token}"})

    assert answer.status_code == 200


async def test_a_token_can_be_made_before_the_first_start(fresh: Installation) -> None:
    printed = await fresh.run("token", "alice")

    assert (printed.returncode, printed.stderr) == (0, "")
    assert (fresh.data_dir / "issuer-key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("subject", ["", "a\nb", "x" * 300])
async def test_a_subject_that_no_verifier_accepts_is_refused(installation: Installation, subject: str) -> None:
    ended = await installation.run("token", subject)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "subject" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_no_tokens_are_made_when_another_issuer_is_configured(fresh: Installation) -> None:
    ended = await fresh.run("token", "alice", **_SECRETS)

    assert ended.returncode == 1
    assert "DEVELOPER_OAUTH_ISSUER" in ended.stderr


async def test_check_config_prints_what_is_in_force_without_secrets(fresh: Installation) -> None:
    printed = await fresh.run("check-config", **_SECRETS)

    assert (printed.returncode, printed.stderr) == (0, "")
    assert "https://issuer.example" in printed.stdout
    assert "live" in printed.stdout
    assert "hunter2" not in printed.stdout
    assert _SECRETS["DEVELOPER_KEY_PEPPERS"][2:] not in printed.stdout
    assert not fresh.data_dir.exists()


async def test_check_config_names_every_fault(fresh: Installation) -> None:
    ended = await fresh.run("check-config", DEVELOPER_OAUTH_ISSUER="https://issuer.example", DEVELOPER_WORKERS="2")

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 6


async def test_help_names_the_commands(fresh: Installation) -> None:
    printed = await fresh.run("--help")

    assert printed.returncode == 0
    assert all(command in printed.stdout for command in ("serve", "migrate", "token", "check-config"))
