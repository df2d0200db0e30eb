"""The service in several processes: a parent that serves nothing but metrics, and workers that share its ports.

Workers are started anew, not forked, so nothing is shared but what is handed over: numbers of ports, the database's
URL and a folder for metrics, all in their environment. The parent makes no object of gRPC.
"""

import asyncio
import ctypes
import fcntl
import os
import random
import shutil
import signal
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, ProcessCollector, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from server import ports
from server.app import Addresses
from server.config import Address, Listen, Settings
from server.provisions import (
    build_internal_tokens,
    build_peppers,
    local_issuer,
    open_databases,
    provided_database,
    public_url,
)
from server.web.metrics import metrics_app
from server.web.server import HttpServer

READY = "ready"
"""What a worker prints, alone in a line, once it serves."""

_REFUSED = 1
"""Exit status of a worker that has said why it cannot start."""
_PARENT_GONE = 75
_START_SECONDS = 60.0
_DRAIN_SECONDS = 8.0
"""How long a worker may take to end its calls and itself: longer than it should ever need."""
_STEADY_SECONDS = 10.0
"""A worker that lives longer is not at fault when it dies."""
_TRIES = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_DOUBLINGS = 10
_MEMORY = "/dev/shm"  # noqa: S108 - for a private folder with a drawn name
_FOLDER = "developer-metrics-"
_PR_SET_PDEATHSIG = 1

_log = structlog.get_logger("server.workers")


class WorkersError(Exception):
    """The workers do not start. The sentence is for the operator."""


class Workers:
    """So many processes of one command, numbered from 0, each replaced when it dies."""

    def __init__(
        self, command: Sequence[str], count: int, environment: Mapping[str, str], registry: CollectorRegistry
    ) -> None:
        """Remember the command, which gets a worker's number and ours as arguments."""
        self._command = command
        self._count = count
        self._environment = environment
        self._pids: dict[int, int] = {}
        self._all_serve = asyncio.Event()
        serving = Gauge("developer_workers", "Worker processes that serve.", registry=registry)
        serving.set_function(lambda: len(self._pids))
        self._ended = Counter("developer_workers_ended", "Worker processes that ended unasked.", registry=registry)

    @property
    def pids(self) -> Mapping[int, int]:
        """The process ids of the workers that serve, by worker."""
        return self._pids

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Enter the block when all serve and keep them up during it; on leaving let them end their calls and go.

        Raises:
            WorkersError: they do not start.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep_up(number)) for number in range(self._count)]
                await self._all_serve.wait()
                yield
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    async def _keep_up(self, number: int) -> None:
        """Start a worker again and again, with pauses that grow while it dies soon. Once all served, never give up."""
        deaths = 0
        while True:
            started = time.monotonic()
            status = await self._live(number)
            deaths = deaths + 1 if time.monotonic() - started < _STEADY_SECONDS else 1
            if not self._all_serve.is_set() and (status == _REFUSED or deaths == _TRIES):
                raise WorkersError(f"Worker {number} ended before it was ready (status {status}).")
            pause = min(_FIRST_PAUSE * 2 ** min(deaths - 1, _DOUBLINGS), _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret

    async def _live(self, number: int) -> int | None:
        """Run a worker to its end, or to ours, and return its exit status."""
        try:
            process = await self._spawn(number)
        except OSError as error:
            _log.error("worker_cannot_be_started", worker=number, reason=error.strerror)
            return None
        try:
            if await _becomes_ready(process):
                self._pids[number] = process.pid
                if len(self._pids) == self._count:
                    self._all_serve.set()
                await process.wait()
        finally:
            self._pids.pop(number, None)
            await _end(process)
            mark_process_dead(number, self._environment["PROMETHEUS_MULTIPROC_DIR"])  # type: ignore[no-untyped-call]
        self._ended.inc()
        tell = _log.error if process.returncode else _log.info  # whoever asks a single worker to end gets a new one
        tell("worker_ended", worker=number, pid=process.pid, status=process.returncode)
        return process.returncode

    async def _spawn(self, number: int) -> asyncio.subprocess.Process:
        """Start a worker in a session of its own, where Ctrl-C does not reach it."""
        return await asyncio.create_subprocess_exec(
            *self._command,
            str(number),
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )


@asynccontextmanager
async def supervising(
    settings: Settings, listen: Listen, command: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Addresses]:
    """Run the whole service in `settings.workers` processes; on leaving, as `running`, drain and take everything down.

    What can be refused is looked at here first, so that it is told once.

    Raises:
        WorkersError: the workers do not start.
        OSError, PrivateFileError, SchemaError, Unavailable: as `running`.
    """
    async with AsyncExitStack() as stack:
        build_peppers(settings)
        build_internal_tokens(settings)
        if settings.uses_local_issuer:
            local_issuer(settings, listen)
        shared = (listen.grpc_address, listen.internal_grpc_address, listen.http_address)
        grpc, internal_grpc, http = (_hold(address, stack) for address in shared)
        folder = stack.enter_context(_metrics_folder(Path(_MEMORY if os.access(_MEMORY, os.W_OK) else gettempdir())))
        dsn = await stack.enter_async_context(provided_database(settings))
        async with open_databases(settings.model_copy(update={"database_url": dsn})):
            pass

        handed_over = {
            "DATABASE_URL": dsn,
            "DEVELOPER_GRPC_ADDRESS": grpc,
            "DEVELOPER_INTERNAL_GRPC_ADDRESS": internal_grpc,
            "DEVELOPER_HTTP_ADDRESS": http,
            "DEVELOPER_PUBLIC_URL": public_url(settings, listen),
            "PROMETHEUS_MULTIPROC_DIR": folder,
        }
        registry = CollectorRegistry()
        workers = Workers(command, settings.workers, {**environment, **handed_over}, registry)
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        registry.register(_ProcessMetrics(lambda: workers.pids))
        metrics = HttpServer(metrics_app(registry), listen.metrics_address.host, listen.metrics_address.port)
        stack.push_async_callback(metrics.stop, 1.0)
        await metrics.start()
        await stack.enter_async_context(workers.serving())
        yield Addresses(grpc, internal_grpc, http, metrics.address)


def enlist(number: int, parent: int) -> None:
    """Make this process a worker: it goes when its parent does, its logs and metrics carry its number.

    To be called before any metric is made and after logs are configured.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(_PARENT_GONE)
    # Files named by number: a successor goes on counting in them, so they do not become more.
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]

    def add_number(_: object, __: str, event: Any) -> Any:
        return {**event, "worker": number}

    structlog.configure(processors=[add_number, *structlog.get_config()["processors"]])


class _ProcessMetrics(Collector):
    """Processor time, memory and files of every process, told apart by the label `worker`, empty for the parent."""

    def __init__(self, workers: Callable[[], Mapping[int, int]]) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        pids = {"": os.getpid(), **{str(number): pid for number, pid in self._workers().items()}}
        for worker, pid in pids.items():
            for metric in _metrics_of(pid):
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
        return families.values()


def _metrics_of(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


@contextmanager
def _metrics_folder(place: Path) -> Iterator[str]:
    """Make a folder for the block, and remove those whose makers were killed before they could."""
    for abandoned in place.glob(f"{_FOLDER}*"):
        with suppress(OSError):
            _remove_unless_locked(abandoned)
    with TemporaryDirectory(prefix=_FOLDER, dir=place) as folder, Path(folder, "draft").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Path(folder, "draft").rename(Path(folder, "lock"))  # nobody can find it before it is ours
        yield folder


def _remove_unless_locked(folder: Path) -> None:
    """Remove a folder of ours. Anybody may write beside it: what others made is not touched, nothing is waited for."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _hold(address: Address, stack: AsyncExitStack) -> str:
    """Keep an address until the stack unwinds and return it, with a port drawn where none was asked for."""
    try:
        holder = stack.enter_context(ports.hold(address.host, address.port))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    return str(Address(address.host, holder.getsockname()[1]))


async def _becomes_ready(process: asyncio.subprocess.Process) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            return process.stdout is not None and await process.stdout.readline() == f"{READY}\n".encode()
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, unless it has; kill it when it takes too long."""
    with suppress(ProcessLookupError):
        if process.returncode is None:
            process.terminate()
    ended = asyncio.ensure_future(process.wait())
    # No asyncio.timeout: in a task that was cancelled, Python before 3.11.3 makes another cancellation of its end.
    await asyncio.wait([ended], timeout=_DRAIN_SECONDS)
    if not ended.done():
        _log.error("worker_killed", pid=process.pid, reason="it did not end in time")
        process.kill()
    await ended
