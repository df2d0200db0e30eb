"""The commands: serve, migrate, reapply, token, check-config. They read the settings, call what does it and print."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from typing import Annotated, Any, BinaryIO, NoReturn

import typer
import uvloop

from server import logs, ports
from server.app import Addresses, running
from server.config import Listen, Settings, read_environment
from server.errors import Error
from server.keys.reapply import Reapplication
from server.postgres.cluster import EmbeddedPostgresError
from server.postgres.migrate import SchemaError, migrate
from server.private_file import PrivateFileError
from server.provisions import local_issuer, open_databases
from server.workers import READY, WorkersError, enlist, supervising

app = typer.Typer(
    help="The developer platform core: API keys over gRPC and REST.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_EXPECTED = (SchemaError, PrivateFileError, EmbeddedPostgresError, WorkersError, Error, OSError, ValueError)
_WORKER = (sys.executable, "-m", "server", "worker")


@app.command()
def serve() -> None:
    """Serve gRPC and REST in the foreground until SIGTERM or Ctrl-C."""
    settings, listen = _settings(check_ports=True)
    logs.configure()
    _run(_serve(settings, listen))


@app.command(hidden=True)
def worker(number: int, parent: int) -> None:
    """Serve as one of the processes that `serve` starts when there are to be several."""
    settings, listen = _settings()
    logs.configure()
    enlist(number, parent)
    _run(_serve_as_worker(settings, listen))


@app.command(name="migrate")
def migrate_command() -> None:
    """Bring the schema of DATABASE_URL up to date (the embedded database does so by itself)."""
    settings, _ = _settings()
    dsn = settings.database_direct_url or settings.database_url
    if dsn is None:
        _refuse(["DATABASE_URL: must be set; the embedded database is brought up to date by serve"])
    applied = _run(migrate(dsn))
    print(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")


@app.command()
def reapply(
    files: Annotated[
        list[typer.FileBinaryRead],
        typer.Argument(metavar="FILE", help="Logs of the server since the backup; - is standard input."),
    ],
) -> None:
    """Apply to a restored database the revocations and rotations that logs tell of, before it serves.

    Doing so again changes nothing more. The status is 1 when a line could not be understood (the others are applied).
    """
    settings, _ = _settings()
    if settings.database_url is None and not settings.data_dir.exists():
        _refuse([f"DEVELOPER_DATA_DIR: there is no database in {settings.data_dir}; restore it first"])
    logs.configure()
    if _run(_reapply(settings, files)):
        raise typer.Exit(1)


@app.command()
def token(subject: Annotated[str, typer.Argument(help="Whose token it is, e.g. alice.")]) -> None:
    """Print one access token of the local issuer, good for an hour, and nothing else."""
    settings, _ = _settings()
    if not settings.uses_local_issuer:
        _refuse(["DEVELOPER_OAUTH_ISSUER: tokens come from that issuer; the local one is off"])
    try:
        print(local_issuer(settings).issue(subject))
    except _EXPECTED as error:
        _refuse([str(error)])


@app.command()
def check_config() -> None:
    """Check the settings and print what they amount to, without secrets."""
    settings, listen = _settings()
    database = "DATABASE_URL" if settings.database_url else f"embedded, in {settings.data_dir}"
    print(f"database       {database}")
    print(f"tokens of      {settings.oauth_issuer or 'the local issuer (development)'}")
    print(f"environment    {settings.default_environment.value}")
    print(f"registration   {'by the first call' if settings.registers_automatically else 'beforehand'}")
    print(f"rate           {settings.management_rate.requests} calls in {settings.management_rate.seconds} s per token")
    print(f"limits         {'shared' if settings.valkey_url else 'of each server alone'}")
    print(f"workers        {settings.workers}")
    for name, address in listen:
        print(f"{name.removesuffix('_address'):14} {address}")


async def _serve(settings: Settings, listen: Listen) -> None:
    stop = _asked_to_stop()
    if settings.database_url is None and not settings.data_dir.exists():
        _say("First start: making a database, a signing key and a pepper. This takes a few seconds.")
    several = settings.workers > 1
    service = supervising(settings, listen, _WORKER, os.environ) if several else running(settings, listen)
    async with service as addresses:
        _say(_welcome(settings, addresses))
        await stop.wait()
        _say("Stopping: calls in flight may finish.")


async def _serve_as_worker(settings: Settings, listen: Listen) -> None:
    stop = _asked_to_stop()
    async with running(settings, listen):
        _say(READY)
        await stop.wait()


async def _reapply(settings: Settings, files: Sequence[BinaryIO]) -> bool:
    """Say what came of it and return whether something was amiss."""
    async with open_databases(settings) as databases:
        reapplication = Reapplication(databases.main, _say)
        for file in files:
            await reapplication.read(file.name, file)
    _say(reapplication.summary if reapplication.lines else "Nothing to read: is this the log?")
    return reapplication.faults > 0 or reapplication.lines == 0


def _asked_to_stop() -> asyncio.Event:
    """Return what is set by a signal to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _welcome(settings: Settings, addresses: Addresses) -> str:
    """Say where everything is and, in development, give lines to paste."""
    drawn = settings.data_dir / "internal-token"
    tokens = "configured" if settings.internal_tokens else f"in {drawn}"
    places = (
        "Ready.\n"
        f"  gRPC      {addresses.grpc}\n"
        f"  internal  {addresses.internal_grpc}  (service tokens: {tokens})\n"
        f"  REST      http://{addresses.http}  (description: /openapi.json)\n"
        f"  metrics   http://{addresses.metrics}/metrics\n"
    )
    if not settings.uses_local_issuer:
        return places
    bearer = '-H "Authorization: Bearer $TOKEN"'
    create = """--json '{"name":"Production","scopes":["read"]}'"""
    method = "sdk.developer.v1.DeveloperService/ListApiKeys"
    return (
        f"{places}"
        "\nPaste these into another terminal. The token is alice's for an hour; `make token SUBJECT=bob` makes one."
        f"\n\nTOKEN={local_issuer(settings).issue('alice')}"
        f"\ncurl -sS http://{addresses.http}/v1/developer/keys {bearer} {create}"
        f"\ngrpcurl -plaintext {bearer} {addresses.grpc} {method}\n"
    )


def _say(text: str) -> None:
    """Print at once. Nobody listening any more is no reason to stop serving."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _settings(*, check_ports: bool = False) -> tuple[Settings, Listen]:
    """Read the settings, or end with every fault named, ports that are taken among them."""
    reading = read_environment(os.environ)
    faults = list(reading.faults)
    if check_ports and reading.listen is not None:
        faults += _taken_ports(reading.listen)
    if faults or reading.settings is None or reading.listen is None:
        _refuse(faults)
    return reading.settings, reading.listen


def _taken_ports(listen: Listen) -> list[str]:
    """Bind every address for a moment, all at once so that two settings of the same port are noticed."""
    faults = []
    with ExitStack() as probes:
        for name, address in listen:
            try:
                probes.enter_context(ports.listen_alone(address.host, address.port))
            except OSError as error:
                faults.append(f"DEVELOPER_{name.upper()}: cannot listen on {address}: {error.strerror}")
    return faults


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return uvloop.run(work)
    except _EXPECTED as error:
        _refuse([str(error)])


def _refuse(faults: Sequence[str]) -> NoReturn:
    print("Cannot start:", *(f"  {fault}" for fault in faults), sep="\n", file=sys.stderr)
    raise typer.Exit(1)
