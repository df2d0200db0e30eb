"""The embedded PostgreSQL: one owner, nothing left behind, started again whatever happened before."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from server.postgres import process
from server.postgres.cluster import EmbeddedPostgresError
from server.postgres.embedded import EmbeddedPostgres

from .conftest import children_of, frozen, runs

_ROOT = Path(__file__).parents[3]
_SERVER = f"""
import asyncio, sys
from pathlib import Path
sys.path[:0] = {[str(_ROOT), str(Path(asyncpg.__file__).parents[1])]!r}
from server.postgres.embedded import EmbeddedPostgres
async def main():
    postgres = EmbeddedPostgres(Path(sys.argv[1]))
    print("up:", await postgres.start(), postgres.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await postgres.stop()
asyncio.run(main())
"""


@asynccontextmanager
async def _server(folder: Path, *prefix: str, python: str = sys.executable) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run a server of our own in another process, until its input ends."""
    command = [*prefix, python, "-c", _SERVER, str(folder)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield server
        await asyncio.to_thread(server.communicate, b"", 15)
    finally:
        server.kill()
        server.communicate()


async def _up(server: "subprocess.Popen[bytes]") -> tuple[str, int]:
    """Wait until the server is up and return its DSN and the number of its postmaster."""
    assert server.stdout
    async with asyncio.timeout(15):
        while line := await asyncio.to_thread(server.stdout.readline):
            if line.startswith(b"up:"):
                _, dsn, pid = line.decode().split()
                return dsn, int(pid)
    raise AssertionError(server.communicate()[1].decode())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def _query(dsn: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@asynccontextmanager
async def _crashed(postgres: EmbeddedPostgres) -> AsyncIterator[int]:
    """Forget a running PostgreSQL, as happens when a server is killed and its PostgreSQL, for once, lives on."""
    assert postgres._watch
    assert postgres._process
    postgres._watch.cancel()
    await asyncio.wait([postgres._watch])
    orphan = postgres._process
    postgres._watch = postgres._process = None
    await postgres.stop()
    try:
        yield orphan.pid
    finally:
        assert orphan._child
        orphan._child.kill()
        orphan._child.wait()
        orphan.close()


async def test_rows_outlive_a_stop(own_postgres: EmbeddedPostgres) -> None:
    dsn = await own_postgres.start()
    await _query(dsn, "CREATE TABLE kept (n integer)")
    first = own_postgres.pid
    assert first
    await own_postgres.stop()
    assert not runs(first)

    assert await own_postgres.start() == dsn
    assert await _query(dsn, "SELECT * FROM kept") == []


async def test_it_is_private_durable_and_reached_by_its_socket_only(
    own_postgres: EmbeddedPostgres, folder: Path
) -> None:
    dsn = await own_postgres.start()
    settings = {
        name: setting
        for name, setting in await _query(dsn, "SELECT name, setting FROM pg_settings")
        if name in {"listen_addresses", "fsync", "synchronous_commit", "full_page_writes", "data_checksums"}
    }
    encoding = await _query(dsn, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'developer'")

    assert settings.pop("listen_addresses") == ""
    assert set(settings.values()) == {"on"}
    assert encoding == [("UTF8",)]
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "data", folder / "run")} == {0o700}


async def test_ctrl_c_in_the_terminal_does_not_reach_it(own_postgres: EmbeddedPostgres) -> None:
    await own_postgres.start()
    assert own_postgres.pid

    assert os.getsid(own_postgres.pid) == own_postgres.pid


async def test_a_second_server_on_the_same_folder_is_refused(own_postgres: EmbeddedPostgres, folder: Path) -> None:
    dsn = await own_postgres.start()

    with pytest.raises(EmbeddedPostgresError, match=r"Another server uses .*DEVELOPER_DATA_DIR"):
        await EmbeddedPostgres(folder).start()

    assert await _query(dsn, "SELECT 1") == [(1,)]


async def test_a_killed_server_leaves_no_postgres_behind_and_loses_nothing(folder: Path) -> None:
    async with _server(folder) as server:
        dsn, pid = await _up(server)
        await _query(dsn, "CREATE TABLE kept (n integer)")
        family = [pid, *children_of(pid)]
        server.kill()
        await _until(lambda: not any(map(runs, family)))

    async with _server(folder) as server:
        dsn, _ = await _up(server)
        assert await _query(dsn, "SELECT * FROM kept") == []


async def test_a_killed_server_can_be_started_again_at_once(folder: Path) -> None:
    async with _server(folder) as server:
        await _up(server)
        server.kill()
        server.wait()
        async with _server(folder) as successor:
            dsn, _ = await _up(successor)
            assert await _query(dsn, "SELECT 1") == [(1,)]


async def test_a_postgres_that_still_runs_is_taken_over(own_postgres: EmbeddedPostgres) -> None:
    await own_postgres.start()

    async with _crashed(own_postgres) as orphan:
        dsn = await own_postgres.start()
        assert own_postgres.pid == orphan
        assert await _query(dsn, "SELECT 1") == [(1,)]
        await own_postgres.stop()
        assert not runs(orphan)


async def test_a_postgres_that_is_shutting_down_is_waited_for(own_postgres: EmbeddedPostgres) -> None:
    await own_postgres.start()

    async with _crashed(own_postgres) as orphan:
        with frozen(*children_of(orphan)):  # so that the shutdown cannot end yet
            os.kill(orphan, signal.SIGINT)
            start = asyncio.create_task(own_postgres.start())
            done, _ = await asyncio.wait([start], timeout=0.5)
            assert not done
        dsn = await start
        assert own_postgres.pid != orphan
        assert await _query(dsn, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("heir", ["nobody", "a stranger"])
async def test_lock_files_of_a_killed_postgres_do_not_hinder(
    own_postgres: EmbeddedPostgres, folder: Path, heir: str
) -> None:
    dsn = await own_postgres.start()
    await _query(dsn, "CREATE TABLE kept (n integer)")

    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        async with _crashed(own_postgres) as orphan:
            os.kill(orphan, signal.SIGKILL)
        if heir == "a stranger":  # the number was given to another process of this user
            for file in (folder / "data" / "postmaster.pid", folder / "run" / ".s.PGSQL.5432.lock"):
                file.write_text(file.read_text().replace(str(orphan), str(stranger.pid), 1))

        assert await own_postgres.start() == dsn

        assert await _query(dsn, "SELECT * FROM kept") == []
        assert runs(stranger.pid)
        stranger.kill()


async def test_a_start_cut_short_during_initdb_leaves_no_trap(folder: Path) -> None:
    (folder / "data.unfinished" / "base").mkdir(parents=True)
    postgres = EmbeddedPostgres(folder)

    try:
        assert await _query(await postgres.start(), "SELECT 1") == [(1,)]
        assert not (folder / "data.unfinished").exists()
    finally:
        await postgres.stop()


async def test_a_failing_start_shows_the_log_and_a_way_out(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder, settings={"shared_buffers": "nonsense"})

    with pytest.raises(EmbeddedPostgresError, match=r'(?s)invalid value for parameter "shared_buffers".*DATABASE_URL'):
        await postgres.start()

    assert postgres.pid is None
    await EmbeddedPostgres(folder).stop()


async def test_a_folder_with_a_long_name_gets_a_short_private_socket(folder: Path) -> None:
    long = folder / ("x" * 120)
    postgres = EmbeddedPostgres(long)
    run = postgres._cluster.run
    try:
        dsn = await postgres.start()
        assert await _query(dsn, "SELECT 1") == [(1,)]
        assert run.parent == Path("/tmp")
        assert run.stat().st_mode & 0o777 == 0o700
    finally:
        await postgres.stop()
        shutil.rmtree(run)


async def test_a_folder_of_someone_else_is_refused(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder that belongs to someone else")
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)

    with pytest.raises(EmbeddedPostgresError, match="belongs to another user"):
        await EmbeddedPostgres(theirs).start()


async def test_a_frozen_postgres_is_stopped_all_the_same(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tuple((step, min(seconds, 0.2)) for step, seconds in process._STOP_STEPS)
    monkeypatch.setattr(process, "_STOP_STEPS", quick)
    await own_postgres.start()
    pid = own_postgres.pid
    assert pid

    os.kill(pid, signal.SIGSTOP)
    await own_postgres.stop()

    assert not runs(pid)


async def test_it_runs_as_a_normal_user(folder: Path) -> None:
    python = f"/usr/bin/python3.{sys.version_info.minor}"  # ours may live in root's home
    if os.geteuid() != 0 or shutil.which("setpriv") is None or not Path(python).exists():
        pytest.skip("needs root, setpriv and the system's Python to become another user")
    os.chown(folder, 65534, 65534)

    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    async with _server(folder, *prefix, python=python) as server:
        dsn, pid = await _up(server)
        assert Path(f"/proc/{pid}").stat().st_uid == 65534
        assert await _query(dsn, "SELECT 1") == [(1,)]
        server.kill()
        await _until(lambda: not runs(pid))


async def test_root_without_user_namespaces_is_refused_with_a_way_out(folder: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh")
    trial = subprocess.run([*prefix, "true"], check=False, capture_output=True)
    if trial.returncode != 0:
        pytest.skip(f"cannot forbid user namespaces here: {trial.stderr!r}")

    async with _server(folder, *prefix) as server:
        _, told = await asyncio.to_thread(server.communicate, b"", 15)

    assert b"PostgreSQL refuses to run as root" in told
    assert b"DATABASE_URL" in told


def test_a_missing_postgresql_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"PG_BIN=.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path, bin_dir=tmp_path)


async def test_other_binaries_can_be_named(folder: Path) -> None:
    debian = Path("/usr/lib/postgresql/15/bin")
    if not debian.exists():
        pytest.skip("no PostgreSQL 15 here")
    postgres = EmbeddedPostgres(folder, bin_dir=debian)
    dsn = await postgres.start()
    try:
        assert (await _query(dsn, "SELECT current_setting('server_version_num')::integer / 10000")) == [(15,)]
    finally:
        await postgres.stop()
