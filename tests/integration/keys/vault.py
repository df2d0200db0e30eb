"""What a verifier would see: the test's own look-up of secrets by digest, and rows as they stand in the database."""

from datetime import timedelta

from server.audit.store import Actor
from server.ids import DeveloperId, new_call_id, new_developer_id
from server.keys.model import Environment
from server.keys.secret import find_prefix
from server.keys.service import CreateKey, KeyService, RotateKey
from server.peppers import Peppers
from server.postgres.pool import Database, Record
from server.secret import Secret

PEPPERS = Peppers({1: b"an old pepper of sufficient length", 2: b"the current one, which is as long."})
GRACE = timedelta(hours=1)


def key_service(database: Database) -> KeyService:
    """Make the service under test."""
    return KeyService(database, PEPPERS, default_environment=Environment.TEST, rotation_grace=GRACE)


async def register(database: Database, subject: str) -> DeveloperId:
    """Add a developer."""
    developer_id = new_developer_id()
    await database.execute(
        "INSERT INTO developers (id, issuer, subject, created_at) VALUES ($1, 'test', $2, clock())",
        developer_id,
        subject,
    )
    return developer_id


def acting(developer_id: DeveloperId) -> Actor:
    """Make a developer's next call."""
    return Actor(developer_id=developer_id, call_id=new_call_id())


def wish(
    name: str = "Production", *, expires_at: str = "", request_id: str = "", environment: Environment | None = None
) -> CreateKey:
    """Ask for a key of no particular kind."""
    return CreateKey(name=name, scopes=("read",), environment=environment, expires_at=expires_at, request_id=request_id)


def rotation(key_id: str, *, expire_previous_now: bool = False, request_id: str = "") -> RotateKey:
    """Ask for a new secret."""
    return RotateKey(id=key_id, expire_previous_now=expire_previous_now, request_id=request_id)


async def works(database: Database, *secrets: Secret) -> list[bool]:
    """Tell of each secret whether it is good now: its row exists and proves it, and nothing has ended."""
    rows = await database.fetch(
        "SELECT s.key_prefix, s.digest, s.pepper_version,"
        "       k.revoked_at IS NULL"
        "       AND (k.expires_at IS NULL OR now.now < k.expires_at)"
        "       AND (s.expires_at IS NULL OR now.now < s.expires_at) AS live"
        " FROM api_key_secrets s JOIN api_keys k ON k.id = s.key_id, (SELECT clock() AS now) AS now"
    )
    found = {row["key_prefix"]: row for row in rows}
    return [_is_good(secret, found.get(find_prefix(secret.reveal()) or "")) for secret in secrets]


def _is_good(secret: Secret, row: Record | None) -> bool:
    return row is not None and PEPPERS.proves(secret, row["digest"], row["pepper_version"]) and row["live"]


async def live_secrets(database: Database, key_id: str) -> int:
    """Count the secrets of a key that work now, by their deadlines alone."""
    row = await database.fetchrow(
        "SELECT count(*) AS count FROM api_key_secrets"
        " WHERE key_id = $1 AND (expires_at IS NULL OR clock() < expires_at)",
        key_id,
    )
    assert row
    return int(row["count"])


async def column(database: Database, query: str, *arguments: object) -> list[object]:
    """Return the first column of a query."""
    return [row[0] for row in await database.fetch(query, *arguments)]
