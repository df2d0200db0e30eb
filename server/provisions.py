"""What an installation has before it serves: its secrets, its issuer of tokens and its database."""

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from server.config import Listen, Settings
from server.identity.local_issuer import LocalIssuer
from server.identity.service_tokens import ServiceTokens, draw_service_token
from server.peppers import MINIMUM_PEPPER_BYTES, Peppers
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import check, migrate
from server.postgres.pool import Database
from server.private_file import PrivateFileError, read_or_create

LOCAL_ISSUER = "urn:sdk:developer:local-issuer"
"""The issuer of local accounts in the database, whatever the address at which it is reached."""
LOCAL_AUDIENCE = "urn:sdk:developer"

_POOL_SIZES = (8, 4, 4, 2, 2, 1)  # of Databases, in its order


class Databases(NamedTuple):
    """Pools over one database, apart so that no kind of work can starve another.

    `probe` is one connection, so that a busy service does not look like a dead database. `direct_dsn` leads past a
    transaction pooler.
    """

    main: Database
    verification: Database
    ledger: Database
    metering: Database
    reports: Database
    probe: Database
    direct_dsn: str


def public_url(settings: Settings, listen: Listen) -> str:
    """Return the address at which people and clients reach this installation, without a slash at its end."""
    return settings.public_url or f"http://{listen.http_address}"


def local_issuer(settings: Settings, listen: Listen) -> LocalIssuer:
    """Open the local issuer, whose key is made on the first use. Its name is the public URL (RFC 8414 section 2)."""
    return LocalIssuer.open(settings.data_dir, issuer=public_url(settings, listen), audience=LOCAL_AUDIENCE)


def build_peppers(settings: Settings) -> Peppers:
    """Take the configured peppers or, in development, the one in the data directory, drawn on the first start."""
    if settings.key_peppers is not None:
        return settings.key_peppers.using(settings.key_pepper_current)
    path = settings.data_dir / "pepper"
    drawn = read_or_create(path, lambda: b"1:" + base64.b64encode(secrets.token_bytes(MINIMUM_PEPPER_BYTES)))
    try:
        return Peppers.parse(drawn.decode(errors="replace").strip())
    except ValueError as error:
        raise PrivateFileError(
            f"{path} holds no peppers: {error}. Restore it: no key can be verified without"
        ) from None


def build_internal_tokens(settings: Settings) -> ServiceTokens:
    """Take the configured service tokens or the one in the data directory, drawn on the first start."""
    if settings.internal_tokens is not None:
        return settings.internal_tokens
    path = settings.data_dir / "internal-token"
    drawn = read_or_create(path, lambda: draw_service_token().encode())
    try:
        return ServiceTokens.of("internal-token", drawn.decode(errors="replace").strip())
    except ValueError as error:
        raise PrivateFileError(f"{path} holds no service token: {error}. Remove it, and one is drawn") from None


@asynccontextmanager
async def provided_database(settings: Settings) -> AsyncIterator[str]:
    """Give the URL of the configured database or of the embedded one, started, brought up to date, stopped in the end.

    Raises:
        EmbeddedPostgresError: it does not start.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    connections = 30 + 25 * settings.workers  # the pools and the listener of each; a migration, psql
    embedded = EmbeddedPostgres(
        settings.data_dir / "postgres", bin_dir=settings.pg_bin, settings={"max_connections": str(connections)}
    )
    dsn = await embedded.start()
    try:
        await migrate(dsn)
        yield dsn
    finally:
        await embedded.stop()


@asynccontextmanager
async def open_databases(settings: Settings) -> AsyncIterator[Databases]:
    """Open the configured database or the embedded one, and close it in the end.

    Raises:
        SchemaError: the configured database's schema is not that of this code.
        Unavailable: the database cannot be reached.
    """
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(provided_database(settings))
        pooled = settings.database_pooler == "transaction"
        main, verification, ledger, metering, reports, probe = pools = [
            Database(dsn, size=size, transaction_pooler=pooled) for size in _POOL_SIZES
        ]
        for pool in pools:
            await pool.open()
            stack.push_async_callback(pool.close)
        await check(pools[0])
        yield Databases(main, verification, ledger, metering, reports, probe, settings.database_direct_url or dsn)
