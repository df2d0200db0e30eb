"""`leak-check` over a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import typer

from server.ids import DeveloperId
from server.keys.service import KeyService
from server.leaks.commands import leak_check_command
from server.postgres.pool import Database
from tests.integration.keys.vault import PEPPERS, acting, wish


async def test_live_and_dead_keys_are_told_apart(
    keys: KeyService, alice: DeveloperId, database_url: str, tmp_path: Path
) -> None:
    live, dead = [await keys.create(acting(alice), wish()) for _ in range(2)]
    await keys.revoke(acting(alice), dead.key.id)
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"{dead.secret.reveal()}\n{live.secret.reveal()}")
    two.write_text(dead.secret.reveal())
    said: list[str] = []

    def over_database(work: Callable[[Database], Awaitable[object]]) -> object:
        async def opened() -> object:
            database = Database(database_url)
            await database.open()
            try:
                return await work(database)
            finally:
                await database.close()

        return asyncio.run(opened())

    command = leak_check_command(over_database, lambda: PEPPERS, said.append)
    statuses = []
    for files in ([str(one)], [str(two)]):
        with pytest.raises(typer.Exit) as ended:
            await asyncio.to_thread(command, files)
        statuses.append(ended.value.exit_code)

    assert statuses == [1, 0]
    assert said == [
        f"{one}:1:1: {dead.key.key_prefix}: revoked",
        f"{one}:2:1: {live.key.key_prefix}: live",
        f"{two}:1:1: {dead.key.key_prefix}: revoked",
    ]
