"""The commands: serve, migrate, reapply, token, check-config. They read the settings, call what does it and print.

Those of operators and of the gateway are made in `operators/` and `gateway/` and hooked in here.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Annotated, Any, BinaryIO, NoReturn

import typer
import uvloop

from server import logs, ports
from server.app import Addresses, running
from server.config import Listen, Settings, read_environment
from server.errors import Error
from server.gateway.commands import gateway_commands
from server.leaks.commands import leak_check_command
from server.operators.beside import find_running
from server.operators.commands import operator_commands
from server.operators.reapply import Reapplication
from server.operators.service import Operations
from server.operators.users import user_commands
from server.postgres.cluster import EmbeddedPostgresError
from server.postgres.migrate import SchemaError, check, migrate
from server.postgres.pool import Database
from server.private_file import PrivateFileError
from server.provisions import build_peppers, local_issuer, open_databases, provided_database, public_url
from server.workers import READY, WorkersError, enlist, supervising

app = typer.Typer(
    help="The developer platform core: API keys over gRPC and REST.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_EXPECTED = (SchemaError, PrivateFileError, EmbeddedPostgresError, WorkersError, Error, OSError, ValueError)
_PATIENCE_SECONDS = 30.0
"""How long a statement of an operator may take; nobody waits behind it."""
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
    """Apply to a restored database the revocations and other ends that logs tell of, before it serves.

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
    settings, listen = _settings()
    if not settings.uses_local_issuer:
        _refuse(["DEVELOPER_OAUTH_ISSUER: tokens come from that issuer; the local one is off"])
    try:
        print(local_issuer(settings, listen).issue(subject))
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
        _say(_welcome(settings, listen, addresses))
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
        await reapplication.finish()
    _say(reapplication.summary if reapplication.lines else "Nothing to read: is this the log?")
    return reapplication.faults > 0 or reapplication.lines == 0


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the database beside whatever serves from it; an embedded one that nobody runs is run meanwhile."""
    async with AsyncExitStack() as stack:
        dsn = None if settings.database_url else find_running(settings.data_dir / "postgres", settings.pg_bin)
        if dsn is None:
            dsn = await stack.enter_async_context(provided_database(settings))
        pooled = settings.database_pooler == "transaction"
        database = Database(dsn, size=2, budget=_PATIENCE_SECONDS, transaction_pooler=pooled)
        await database.open()
        stack.push_async_callback(database.close)
        await check(database)
        yield database


def _over_database(work: Callable[[Database], Awaitable[Any]]) -> Any:
    """Do some work of an operator over the database; what the work refuses is passed on."""
    settings, _ = _settings()
    if settings.database_url is None and not settings.data_dir.exists():
        _refuse([f"DEVELOPER_DATA_DIR: there is no database in {settings.data_dir} yet; `serve` makes one"])
    logs.configure()  # audit events go to standard error, as those of a server do

    async def opened() -> Any:
        async with _opened(settings) as database:
            return await work(database)

    try:
        return uvloop.run(opened())
    except Error:
        raise
    except _EXPECTED as error:
        _refuse([str(error)])


def _add_operators() -> None:
    """Let the commands of operators stand beside ours."""
    for name, group in operator_commands(lambda work: _over_database(lambda db: work(Operations(db)))).items():
        app.add_typer(group, name=name)
    app.add_typer(user_commands(_over_database), name="user")
    check = leak_check_command(_over_database, lambda: build_peppers(_settings()[0]), _say)
    app.command("leak-check")(check)


def _add_gateway() -> None:
    """Let the commands of the gateway stand beside ours."""
    commands = gateway_commands(run=_run, say=_say, refuse=_refuse, asked_to_stop=_asked_to_stop)
    for name, command in commands.items():
        app.command(name)(command)


def _asked_to_stop() -> asyncio.Event:
    """Return what is set by a signal to end."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _welcome(settings: Settings, listen: Listen, addresses: Addresses) -> str:
    """Say where everything is and, in development, give lines to paste."""
    drawn = settings.data_dir / "internal-token"
    tokens = "configured" if settings.internal_tokens else f"in {drawn}"
    url = public_url(settings, listen) if settings.public_url else f"http://{addresses.http}"
    places = (
        "Ready.\n"
        f"  portal    {f'{url}/portal/' if settings.has_portal else 'off: set DEVELOPER_PORTAL_CLIENT_ID'}\n"
        f"  gRPC      {addresses.grpc}\n"
        f"  internal  {addresses.internal_grpc}  (service tokens: {tokens})\n"
        f"  REST      http://{addresses.http}  (description: /openapi.json)\n"
        f"  metrics   http://{addresses.metrics}/metrics\n"
    )
    if not settings.uses_local_issuer or settings.is_production:
        return places
    if settings.upstream_issuer is None:
        places += f"\nSign in to the portal as {_development_account(settings)}.\n"
    bearer = '-H "Authorization: Bearer $TOKEN"'
    create = """--json '{"name":"Production","scopes":["read"]}'"""
    method = "sdk.developer.v1.DeveloperService/ListApiKeys"
    return (
        f"{places}"
        "\nPaste these into another terminal. The token is alice's for an hour; `make token SUBJECT=bob` makes one."
        f"\n\nTOKEN={local_issuer(settings, listen).issue('alice')}"
        f"\ncurl -sS http://{addresses.http}/v1/developer/keys {bearer} {create}"
        f"\ngrpcurl -plaintext {bearer} {addresses.grpc} {method}\n"
    )


def _development_account(settings: Settings) -> str:
    """Name the account that a development installation begins with, and its password."""
    name, _, password = (settings.data_dir / "development-account").read_text().strip().partition(":")
    return f"{name} with the password {password}"


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


_add_operators()
_add_gateway()
