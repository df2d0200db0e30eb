"""The whole service, running in the test's own event loop on drawn ports over a cloned database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.app import Addresses, running
from server.config import Address, Listen, Settings
from server.provisions import local_issuer

ANYWHERE = Address("127.0.0.1", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service: where it listens, what it runs with, and tokens for it."""

    addresses: Addresses
    settings: Settings
    listen: Listen

    @property
    def rest(self) -> str:
        """The base URL of REST."""
        return f"http://{self.addresses.http}"

    def token(self, subject: str = "alice") -> str:
        """Sign an access token of the service's local issuer."""
        return local_issuer(self.settings, self.listen).issue(subject)


@asynccontextmanager
async def serving(database_url: str, data_dir: Path, **settings: Any) -> AsyncIterator[Service]:
    """Run a service over a migrated database; `settings` are fields of `Settings`, by name.

    With an `http_port` of its own it knows its public address, as browsers and OAuth clients need.
    """
    port = settings.pop("http_port", 0)
    chosen = Settings(**{"DATABASE_URL": database_url, "data_dir": data_dir, **settings})
    everywhere = {f"{name}_address": ANYWHERE for name in ("grpc", "internal_grpc", "metrics")}
    listen = Listen(**everywhere, http_address=Address("127.0.0.1", port))
    async with running(chosen, listen) as addresses:
        yield Service(addresses=addresses, settings=chosen, listen=listen)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data directory for the run: making a signing key takes longer than most tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
async def service(database_url: str, data_dir: Path) -> AsyncIterator[Service]:
    """A service with development defaults and a rate limit that tests do not reach."""
    async with serving(database_url, data_dir, management_rate="100000/1") as running_service:
        yield running_service
