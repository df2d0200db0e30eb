"""What the tests of faults share: a PostgreSQL of their own to hurt."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest_asyncio

from server.postgres.embedded import EmbeddedPostgres
from tests.database import short_folder


@pytest_asyncio.fixture(loop_scope="session")
async def folder() -> AsyncIterator[Path]:
    """An empty folder with a short name."""
    async with short_folder() as folder:
        yield folder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_files() -> AsyncIterator[Path]:
    """The files of a fresh PostgreSQL, to be copied: making them anew costs much time on a slow disk."""
    async with short_folder() as folder:
        postgres = EmbeddedPostgres(folder)
        await postgres.start()
        await postgres.stop()
        yield folder / "data"


@pytest_asyncio.fixture(loop_scope="session")
async def own_postgres(folder: Path, database_files: Path) -> AsyncIterator[EmbeddedPostgres]:
    """An embedded PostgreSQL for this test alone, not started."""
    shutil.copytree(database_files, folder / "data")
    postgres = EmbeddedPostgres(folder, settings={"max_connections": "12"})
    yield postgres
    await postgres.stop()


def children_of(pid: int) -> list[int]:
    """Return the processes whose parent is `pid`."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            children.append(int(status.parent.name))
    return children


def runs(pid: int) -> bool:
    """Say whether a process lives; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Hold processes still, as a hanging disk or a paused machine would."""
    _signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal_all(pids, signal.SIGCONT)


def _signal_all(pids: Iterable[int], which: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a worker may have ended meanwhile
            os.kill(pid, which)
