"""What a look-up costs: an index serves it, however large the tables grow."""

import re

import asyncpg
import pytest

from server.clients import store
from server.keys.versions import store as versions_store

CLIENTS = sorted(name for name in store._SQL if name != "create_client")
VERSIONS = sorted(versions_store._SQL)


@pytest.mark.parametrize("name", CLIENTS)
async def test_no_statement_about_clients_reads_a_whole_table(database_url: str, name: str) -> None:
    assert await scanned(database_url, store._SQL[name]) == []


@pytest.mark.parametrize("name", VERSIONS)
async def test_no_statement_about_secret_versions_reads_a_whole_table(database_url: str, name: str) -> None:
    assert await scanned(database_url, versions_store._SQL[name]) == []


async def scanned(database_url: str, statement: str) -> list[str]:
    """List the tables that a plan reads in full, made while they are empty: a connection keeps its plans.

    Servers before 16 read an empty table in full for its emptiness; of those it is asked whether an index can serve.
    """
    parameters = max(map(int, re.findall(r"\$(\d+)", statement)))
    connection = await asyncpg.connect(database_url)
    try:
        if connection.get_server_version().major < 16:
            await connection.execute("SET enable_seqscan = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE planned AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE planned({', '.join(['NULL'] * parameters)})")
    finally:
        await connection.close()
    return re.findall(r"Seq Scan on (\S+)", "\n".join(row[0] for row in rows))
