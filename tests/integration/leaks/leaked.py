"""What the tests of leaks share: leaks somebody found, events as they stand in the audit log, forged secrets."""

import json
from typing import Any

from server.leaks.model import Leak
from server.postgres.pool import Database
from server.secret import Secret, checksum

URL = "https://github.com/octocat/hello/blob/1/config.txt"


def leak(secret: Secret, url: str = URL, source: str = "content") -> Leak:
    """Find a secret somewhere."""
    return Leak(secret=secret, url=url, source=source)


def forged(secret: Secret) -> Secret:
    """Write another secret behind the same prefix, with a right checksum."""
    body = secret.reveal()[:-49] + "0" * 43
    return Secret(body + checksum(body))


async def events(database: Database) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    """Read action, target, actor and details of what was not done by developers, oldest first."""
    rows = await database.fetch(
        "SELECT action, target_id, actor, details FROM audit_events WHERE actor IS NOT NULL ORDER BY created_at, id"
    )
    return [(row["action"], row["target_id"], row["actor"], json.loads(row["details"])) for row in rows]
