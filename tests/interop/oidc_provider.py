"""Runs the npm package `oidc-provider` as an issuer that knows nothing of us. Needs node and npm; lives in `.tools`."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

AUDIENCE = "https://api.example"
CLIENTS = ("first-client", "second-client")
"""Their tokens' subjects are their own ids: the grant is client_credentials (RFC 9068 section 2.2)."""

_SOURCE = Path(__file__).parent / "oidc"
_TOOLS = Path(__file__).parents[2] / ".tools" / "oidc-provider"


class OidcProvider:
    """A provider that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        greeting = self._listen()
        self.issuer: str = greeting["issuer"]
        self._client_secret: str = greeting["client_secret"]

    def access_token(self, client_id: str = CLIENTS[0], scope: str = "read stream") -> str:
        """Get a new access token for AUDIENCE over HTTP."""
        with httpx2.Client(trust_env=False, timeout=10) as client:
            response = client.post(
                f"{self.issuer}/token",
                data={"grant_type": "client_credentials", "scope": scope},
                auth=(client_id, self._client_secret),
            )
        response.raise_for_status()
        return str(response.json()["access_token"])

    def rotate(self) -> None:
        """Sign with a new key from now on; the earlier ones stay published."""
        self._tell("rotate")

    def withdraw(self) -> None:
        """Publish the newest key only."""
        self._tell("withdraw")

    def stop(self) -> None:
        """End the provider: its port refuses connections. May be called again."""
        self._process.terminate()
        self._process.wait(timeout=10)

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._listen()

    def _listen(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the provider ended; its complaint is on stderr"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def running_provider(audience: str = AUDIENCE) -> Iterator[OidcProvider]:
    """Install the provider if needed, run it on a free loopback port, and end it."""
    assert shutil.which("node"), "node is needed: run .ci/tools"
    assert shutil.which("npm"), "npm is needed: run .ci/tools"
    _install()
    command = ["node", "provider.mjs", audience, *CLIENTS]
    with subprocess.Popen(command, cwd=_TOOLS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield OidcProvider(process)
        finally:
            process.terminate()


@pytest.fixture
def oidc_provider() -> Iterator[OidcProvider]:
    """Run a provider for one test. Import this name into a test module to use it."""
    with running_provider() as provider:
        yield provider


def _install() -> None:
    """Copy the sources to `.tools` and run `npm ci` unless the same lock is installed there already."""
    lock = _TOOLS / "package-lock.json"
    installed = lock.exists() and lock.read_bytes() == (_SOURCE / "package-lock.json").read_bytes()
    if not installed or not (_TOOLS / "node_modules" / ".package-lock.json").exists():
        _TOOLS.mkdir(parents=True, exist_ok=True)
        shutil.copy(_SOURCE / "package.json", _TOOLS)
        shutil.copy(_SOURCE / "package-lock.json", _TOOLS)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=_TOOLS, check=True)
    shutil.copy(_SOURCE / "provider.mjs", _TOOLS)
