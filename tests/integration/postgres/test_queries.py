"""Every named statement of the product is one that PostgreSQL can prepare against our schema."""

from pathlib import Path

import pytest

from server.postgres.pool import Database
from server.postgres.queries import find_files, load

_SERVER = Path(__file__).parents[3] / "server"


@pytest.mark.parametrize("path", find_files(_SERVER), ids=lambda path: str(path.relative_to(_SERVER)))
async def test_every_statement_prepares(path: Path, database: Database) -> None:
    async with database.connection() as connection:
        for name, statement in load(path).items():
            try:
                await connection.prepare(statement)
            except Exception as error:
                error.add_note(f"{path}: {name}")
                raise
