"""What is measured in: an embedded PostgreSQL of the run's own, databases in it, and whole services over them."""

import base64
import re
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from sdk.developer.v1.developer_service_pb2 import ListApiKeysRequest

from bench.http2 import Http2Connection
from bench.load import call_once
from bench.process import Program, program
from server.ids import DeveloperId
from server.peppers import MINIMUM_PEPPER_BYTES, Peppers
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import migrate

_READY = re.compile(
    r"gRPC +(?P<grpc>\S+)\n +internal +(?P<internal>\S+) "
    r".*REST +http://(?P<http>\S+) .*metrics +http://(?P<metrics>\S+)/metrics.*TOKEN=(?P<token>\S+)\n.*grpcurl",
    re.DOTALL,
)
_ADDRESSES = ("GRPC", "INTERNAL_GRPC", "HTTP", "METRICS")
_NO_LIMIT = "1000000/1"
_SERVICE = "/sdk.developer.v1.DeveloperService/"

_LOAD_KEYS = """
INSERT INTO api_keys (id, developer_id, name, environment, scopes, key_prefix, created_at)
SELECT 'key_0' || lpad(n::text, 25, '0'), $1, 'Production ' || n, 'test', '{read,stream}',
       'ang_test_' || lpad(n::text, 8, '0'), timestamptz '2026-01-01 00:00:00.123456Z' + n * interval '1 second'
FROM generate_series($2::bigint, $3::bigint) AS n
"""
_ROWS_AT_A_TIME = 100_000


def key_id(number: int) -> str:
    """Return the id of a loaded key; the first is 1, later ones are newer."""
    return f"key_0{number:025}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A whole service in a process of its own, with one developer."""

    program: Program
    grpc: str
    internal: str
    http: str
    metrics: str
    bearer: dict[str, str]
    service_token: dict[str, str]
    developer_id: DeveloperId
    account: str
    """Who may sign in to the portal: `name:password`."""

    async def connect(self, method: str, message: bytes) -> Http2Connection:
        """Open a connection that repeats a call of a method."""
        return await Http2Connection.open(self.grpc, f"{_SERVICE}{method}", self.bearer, message)


class Setting:
    """The run's PostgreSQL, with the durability of production."""

    def __init__(self, folder: Path, server_url: str) -> None:
        pepper = secrets.token_bytes(MINIMUM_PEPPER_BYTES)
        self._folder = folder
        self._server_url = server_url
        self._pepper = f"1:{base64.b64encode(pepper).decode()}"
        self.peppers = Peppers({1: pepper})

    @classmethod
    @asynccontextmanager
    async def prepared(cls) -> AsyncIterator["Setting"]:
        """Start PostgreSQL in a new folder, which goes with it in the end."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            postgres = EmbeddedPostgres(Path(folder))
            try:
                yield cls(Path(folder), await postgres.start())
            finally:
                await postgres.stop()

    async def database(self, name: str) -> str:
        """Make a database with our schema and return its URL."""
        async with connection(self._server_url) as server:
            await server.execute(f"CREATE DATABASE {name}")
        url = urlunsplit(urlsplit(self._server_url)._replace(path=f"/{name}"))
        await migrate(url)
        return url

    async def version(self) -> str:
        """Return PostgreSQL's version."""
        async with connection(self._server_url) as server:
            return str(await server.fetchval("SHOW server_version"))

    @asynccontextmanager
    async def service(self, database_url: str, http: str = "127.0.0.1:0") -> AsyncIterator[Service]:
        """Run `serve` as it is in production, but for a rate limit that is never met; its log goes to /dev/null.

        Browsers must know the address before: for them `http` names a port.
        """
        environment = {
            "DATABASE_URL": database_url,
            "DEVELOPER_DATA_DIR": str(self._folder / "service"),
            "DEVELOPER_KEY_PEPPERS": self._pepper,
            "DEVELOPER_MANAGEMENT_RATE": _NO_LIMIT,
            **{f"DEVELOPER_{name}_ADDRESS": "127.0.0.1:0" for name in _ADDRESSES},
            "DEVELOPER_HTTP_ADDRESS": http,
        }
        async with program("-m", "server", "serve", ready=_READY, environment=environment) as running:
            found = running.found
            bearer = {"authorization": f"Bearer {found['token']}"}
            caller = await Http2Connection.open(
                found["grpc"], f"{_SERVICE}ListApiKeys", bearer, ListApiKeysRequest().SerializeToString()
            )
            await call_once(caller)  # which registers the token's subject
            caller.close()
            async with connection(database_url) as database:
                developer_id = DeveloperId(await database.fetchval("SELECT id FROM developers"))
            token = (self._folder / "service" / "internal-token").read_text().strip()
            yield Service(
                program=running,
                grpc=found["grpc"],
                internal=found["internal"],
                http=found["http"],
                metrics=found["metrics"],
                bearer=bearer,
                service_token={"authorization": f"Bearer {token}"},
                developer_id=developer_id,
                account=(self._folder / "service" / "development-account").read_text().strip(),
            )


@asynccontextmanager
async def connection(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Lend a plain connection."""
    opened = await asyncpg.connect(url)
    try:
        yield opened
    finally:
        await opened.close()


async def load_keys(database_url: str, developer_id: DeveloperId, count: int, *, after: int = 0) -> AsyncIterator[int]:
    """Give a developer keys, without secrets, which neither list nor get reads; yields how many there are so far."""
    async with connection(database_url) as database:
        await database.execute("SET session_replication_role = replica")  # no check of a foreign key we just read
        await database.execute("SET synchronous_commit = off")
        for first in range(after + 1, count + 1, _ROWS_AT_A_TIME):
            last = min(first + _ROWS_AT_A_TIME - 1, count)
            await database.execute(_LOAD_KEYS, developer_id, first, last)
            yield last
        await database.execute("RESET synchronous_commit")
        await database.execute("VACUUM (ANALYZE) api_keys")
        await database.execute("CHECKPOINT")
