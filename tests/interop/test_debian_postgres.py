"""The suite once more, over the PostgreSQL of the distribution (15 on Debian 12) in place of the embedded one."""

import os
import pwd
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.database import short_folder
from tests.integration.process.installation import until
from tests.interop.tools import run_tool
from tests.loopback import free_port

pytestmark = pytest.mark.interop

_SUITE_SECONDS = 900
_ELSEWHERE = (  # these bring an embedded PostgreSQL of their own, whatever TEST_DATABASE_URL says
    "tests/integration/process",
    "tests/integration/postgres/test_embedded.py",
    "tests/integration/postgres/test_faults.py",
)
_PAGES = ("tests/integration/portal", "tests/integration/sign_in")
"""These look at pages, for minutes; what pages ask the database is asked by the others too."""


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    assert found, "no PostgreSQL in /usr/lib/postgresql: run .ci/tools"
    return found[0].parent


def _user() -> int | None:
    """Return who may run PostgreSQL, which refuses root; None for ourselves."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPostgres:
    """A running server: where it is, and where it logs the databases that are made."""

    url: str
    log: Path


@pytest_asyncio.fixture(loop_scope="session")
async def debian_postgres() -> AsyncIterator[DebianPostgres]:
    """A server of Debian's on a loopback port and with a password, as an operator's would be."""
    binaries, user, password = _binaries(), _user(), secrets.token_urlsafe(12)
    async with short_folder() as folder:
        data, log, secret, port = folder / "data", folder / "log", folder / "password", free_port()
        secret.write_text(password)
        if user is not None:
            for path in (folder, secret):
                os.chown(path, user, -1)
        how = ("-U", "operator", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "-N")
        subprocess.run([binaries / "initdb", "-D", data, *how], check=True, capture_output=True, user=user, cwd=folder)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "max_connections": 200,
            "fsync": "off",
            "log_statement": "ddl",
        }
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, *flags], stdout=output, stderr=output, user=user, cwd=folder
            )
        try:
            await until(lambda: "ready to accept connections" in log.read_text(), 20)
            yield DebianPostgres(url=f"postgresql://operator:{password}@127.0.0.1:{port}/postgres", log=log)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=20)


async def test_the_suite_passes_on_it(debian_postgres: DebianPostgres) -> None:
    elsewhere = [f"--ignore={path}" for path in (*_ELSEWHERE, *_PAGES)]
    suite = await run_tool(
        sys.executable, "-m", "pytest", "tests/integration", "tests/e2e", *elsewhere,
        "-m", "not interop", "-q", "-x", "--tb=short", "-p", "no:cacheprovider",
        environment={"TEST_DATABASE_URL": debian_postgres.url},
        seconds=_SUITE_SECONDS,
    )  # fmt: skip

    assert suite.exit_code == 0, suite.stdout[-5000:]
    passed = re.search(r"^(\d+) passed", suite.stdout, re.MULTILINE)
    assert passed
    assert int(passed[1]) >= 50
    assert debian_postgres.log.read_text().count("CREATE DATABASE test_") >= 50
