"""The product run by a normal user, as everywhere but in containers and on this team's machines."""

import os
import signal
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.postgres.conftest import children_of

from .installation import ROOT, Installation, User

_NOBODY = 65534


@pytest.fixture
def normal(fresh: Installation) -> Installation:
    """An installation in a folder of `nobody`, who runs it too; without root we are a normal user already."""
    if os.geteuid() != 0:
        return fresh
    pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")  # ours may live in root's home
    python = next((path for path in pythons if _can_run(path)), None)
    if python is None:
        pytest.skip("no Python here that other users can run, or the work tree is closed to them")
    os.chown(fresh.folder, _NOBODY, _NOBODY)
    return replace(
        fresh,
        user=User(uid=_NOBODY, gid=_NOBODY, python=python),
        environment={"PYTHONPATH": _paths(), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(fresh.folder)},
    )


def _paths() -> str:
    """Return where our packages lie, for a Python that is not our virtual environment's."""
    return os.pathsep.join([str(ROOT), str(ROOT / "gen"), sysconfig.get_path("platlib")])


def _can_run(python: str) -> bool:
    try:
        trial = subprocess.run(
            [python, "-c", "import server.cli"],
            cwd="/",
            env={"PYTHONPATH": _paths(), "PYTHONDONTWRITEBYTECODE": "1"},
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
            timeout=20,
        )
    except OSError:
        return False
    return trial.returncode == 0


async def test_a_normal_user_can_serve_stop_and_start_again(normal: Installation) -> None:
    for expected in ([], ["Kept"]):
        async with normal.serving() as server, server.rest() as rest:
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in server.processes()} == {
                normal.user.uid if normal.user else os.geteuid()
            }
            listed = (await rest.get("/v1/developer/keys")).json().get("apiKeys", [])
            assert [key["name"] for key in listed] == expected
            await rest.post("/v1/developer/keys", json={"name": "Kept", "scopes": ["read"]})

            server.signal(signal.SIGTERM)
            assert await server.ended(10) == 0
            await server.all_gone(0)


async def test_a_killed_server_of_a_normal_user_leaves_no_process_behind(normal: Installation) -> None:
    async with normal.serving() as server:
        assert children_of(server.pid)

        server.signal(signal.SIGKILL)

        await server.all_gone(5)


async def test_a_data_directory_that_cannot_be_made_is_refused(normal: Installation) -> None:
    if normal.user is None:
        pytest.skip("needs root to make a folder that this user cannot write to")
    closed = normal.folder / "closed"
    closed.mkdir(mode=0o755)

    process = normal.spawn(
        normal.command("serve"), output=normal.folder / "server", DEVELOPER_DATA_DIR=str(closed / "data")
    )

    assert process.wait(timeout=15) == 1
    told = (normal.folder / "server.err").read_text()
    assert told.startswith("Cannot start:")
    assert str(closed) in told
    assert "Traceback" not in told
