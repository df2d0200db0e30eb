"""What `leak-check` does: read files of any size, find our secrets in them, say what each is good for."""

import asyncio
import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from enum import IntEnum
from typing import Annotated, Any, BinaryIO

import typer

from server.errors import Error
from server.leaks.finder import Candidate, find_candidates, redact
from server.leaks.model import State
from server.leaks.service import SecretExaminer
from server.peppers import Peppers
from server.postgres.pool import Database
from server.secret import Secret

Examine = Callable[[Sequence[Secret]], Awaitable[Sequence[State]]]
Tell = Callable[[str], None]
OverDatabase = Callable[[Callable[[Database], Awaitable[Any]]], Any]
"""Runs some work over the installation's database and returns its result; ends the command when there is none."""

_CHUNK = 1024 * 1024  # a MiB, in which progress is told
_AT_ONCE = 200
"""Secrets looked up together; no more are held in memory."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds until progress is told for the first time, doubled each time after."""


class Status(IntEnum):
    """The exit status of the command."""

    CLEAN = 0
    FOUND = 1
    TROUBLE = 2


def leak_check_command(over_database: OverDatabase, peppers: Callable[[], Peppers], say: Tell) -> Callable[..., None]:
    """Make the command `leak-check`; what is found goes to `say`, all else to standard error."""

    def leak_check(
        files: Annotated[list[str], typer.Argument(metavar="FILE", help="What to search; - is standard input.")],
        offline: Annotated[
            bool, typer.Option("--offline", help="Ask no database: form and checksum alone count.")
        ] = False,
    ) -> None:
        """Find secrets of this platform in files of any kind and say which are live. No secret is printed.

        The status is 1 when one is live (with --offline: when there is one), 2 when something could not be read or
        judged, else 0.
        """

        async def check(database: Database) -> Status:
            return await check_files(files, say=say, note=_note, examine=SecretExaminer(database, peppers()).examine)

        try:
            status = asyncio.run(check_files(files, say=say, note=_note)) if offline else over_database(check)
        except Error as fault:
            _note(fault.message)
            status = Status.TROUBLE
        except typer.Exit:  # there is no database; its status would say that a live secret was found
            status = Status.TROUBLE
        raise typer.Exit(status)

    return leak_check


async def check_files(
    names: Sequence[str],
    *,
    say: Tell,
    note: Tell,
    examine: Examine | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Status:
    """Search files, `-` being standard input, and return FOUND when a secret in one of them is live.

    `say` takes one line for each secret found, `note` takes progress, faults and the summary. Without `examine` there
    is no database to ask, and every secret whose checksum is right counts as found. TROUBLE, which goes before FOUND,
    says that something could not be read or judged; all else is.
    """
    check = _Check(say, note, examine, monotonic)
    try:
        for name in names:
            await check.read(name)
    except Error as fault:
        check.fail(fault.message)
    note(check.summary)
    return check.status


class _Check:
    def __init__(self, say: Tell, note: Tell, examine: Examine | None, monotonic: Callable[[], float]) -> None:
        self._say = say
        self._note = note
        self._examine = examine
        self._monotonic = monotonic
        self._found = 0
        self._live = 0
        self._alike = 0
        self._in_trouble = False
        self._pause = _FIRST_PAUSE
        self._tell_at = monotonic() + self._pause

    @property
    def status(self) -> Status:
        if self._in_trouble:
            return Status.TROUBLE
        return Status.FOUND if self._live else Status.CLEAN

    @property
    def summary(self) -> str:
        """Say in one line what came of it."""
        told = "" if self._examine is None else f" Live among them: {self._live:,}."
        return f"Secrets found: {self._found:,}.{told} Look alike, but have a wrong checksum: {self._alike:,}."

    async def read(self, name: str) -> None:
        """Search one file. One that cannot be read is told of and does not keep the others from being searched.

        Raises:
            Error: secrets cannot be judged, in this file or any other.
        """
        shown = "standard input" if name == "-" else redact(name)
        try:
            if name == "-":
                await self._search(shown, sys.stdin.buffer)
            else:
                with open(name, "rb", buffering=0) as file:  # noqa: ASYNC230 - nothing else runs meanwhile
                    await self._search(shown, file)
        except OSError as fault:
            self.fail(f"{shown}: {fault.strerror or 'cannot be read'}")

    def fail(self, sentence: str) -> None:
        """Tell of something that could not be read or judged."""
        self._in_trouble = True
        self._note(sentence)

    async def _search(self, name: str, file: BinaryIO) -> None:
        batch: list[Candidate] = []
        for candidate in find_candidates(self._chunks(name, file)):
            if not candidate.is_genuine:
                self._alike += 1
                continue
            self._found += 1
            batch.append(candidate)
            if len(batch) == _AT_ONCE:
                await self._judge(name, batch)
                batch = []
        if batch:
            await self._judge(name, batch)

    async def _judge(self, name: str, batch: Sequence[Candidate]) -> None:
        if self._examine is None:
            self._live += len(batch)
            for candidate in batch:
                self._say(f"{_place(name, candidate)}: {candidate.prefix}")
            return
        states = await self._examine([candidate.secret for candidate in batch])
        for candidate, state in zip(batch, states, strict=True):
            self._live += state.is_live
            self._say(f"{_place(name, candidate)}: {candidate.prefix}: {state.value}")

    def _chunks(self, name: str, file: BinaryIO) -> Iterator[bytes]:
        read, size = 0, _size(file)
        while chunk := file.read(_CHUNK):
            yield chunk
            read += len(chunk)
            if self._monotonic() >= self._tell_at:
                of = f" of {size // _CHUNK:,}" if size else ""
                self._note(f"{name}: {read // _CHUNK:,}{of} MiB read. Secrets found so far: {self._found:,}.")
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self._tell_at = self._monotonic() + self._pause


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _place(name: str, candidate: Candidate) -> str:
    return f"{name}:{candidate.line}:{candidate.column}"


def _size(file: BinaryIO) -> int:
    """Return the size of a regular file, 0 for what has none that is known."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, ValueError):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
