"""An installation for each test. Only some begin with nothing: the others get a copy of a used data directory."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.database import short_folder

from .installation import Installation


@pytest_asyncio.fixture(loop_scope="session")
async def fresh() -> AsyncIterator[Installation]:
    """An installation that was never started."""
    async with short_folder() as folder:
        yield Installation(folder=folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def used_data_dir() -> AsyncIterator[Path]:
    """The data directory that a server has left behind, with no keys in it."""
    async with short_folder() as folder:
        installation = Installation(folder=folder)
        async with installation.serving():
            pass
        yield installation.data_dir


@pytest_asyncio.fixture(loop_scope="session")
async def installation(fresh: Installation, used_data_dir: Path) -> Installation:
    """An installation that was started before and holds no keys."""
    shutil.copytree(used_data_dir, fresh.data_dir, ignore=shutil.ignore_patterns("run"))
    return fresh
