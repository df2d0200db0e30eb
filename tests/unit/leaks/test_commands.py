"""`leak-check`: what it says of files, what it never says, and the exit status."""

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from server.errors import Unavailable
from server.leaks import commands
from server.leaks.commands import Examine, Status, check_files, leak_check_command
from server.leaks.model import State
from server.peppers import Peppers
from server.secret import Secret, draw_secret

KEY = draw_secret("live").reveal()
CLIENT = draw_secret("oauth").reveal()
ALIKE = f"{KEY[:-1]}{'0' if KEY[-1] != '0' else '1'}"


class Console:
    """What a run said on standard output and noted on standard error."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.noted: list[str] = []

    async def check(self, *names: object, examine: Examine | None = None) -> Status:
        return await check_files(
            [str(name) for name in names], say=self.said.append, note=self.noted.append, examine=examine
        )


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    yield console
    assert not [line for line in console.said + console.noted if KEY[-49:] in line or CLIENT[-49:] in line]


def judging(*states: State) -> Examine:
    """Make an examiner that judges secrets in this order."""
    left = list(states)

    async def examine(secrets: Sequence[Secret]) -> list[State]:
        return [left.pop(0) for _ in secrets]

    return examine


async def test_secrets_are_told_by_file_line_column_and_prefix(console: Console, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text(f"first\n  key = '{KEY}'\n")
    two.write_bytes(b"\xff\x00\n\n" + CLIENT.encode())

    assert await console.check(one, two) is Status.FOUND

    assert console.said == [f"{one}:2:10: {KEY[:17]}", f"{two}:3:1: {CLIENT[:18]}"]
    assert console.noted == ["Secrets found: 2. Look alike, but have a wrong checksum: 0."]


async def test_what_looks_alike_is_counted_and_is_no_finding(console: Console, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text(ALIKE)

    assert await console.check(file) is Status.CLEAN
    assert console.said == []
    assert console.noted == ["Secrets found: 0. Look alike, but have a wrong checksum: 1."]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.LIVE, Status.FOUND),
        (State.IN_GRACE, Status.FOUND),
        (State.SUSPENDED, Status.FOUND),
        (State.ROTATED_OUT, Status.CLEAN),
        (State.REVOKED, Status.CLEAN),
        (State.EXPIRED, Status.CLEAN),
        (State.UNKNOWN, Status.CLEAN),
    ],
)
async def test_only_what_is_live_fails_the_check(
    console: Console, tmp_path: Path, state: State, status: Status
) -> None:
    (file := tmp_path / "file").write_text(KEY)

    assert await console.check(file, examine=judging(state)) is status
    assert console.said == [f"{file}:1:1: {KEY[:17]}: {state.value}"]
    assert console.noted[-1].startswith(f"Secrets found: 1. Live among them: {status.value}.")


async def test_one_live_secret_among_many_dead_ones_is_enough(console: Console, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text(f"{KEY}\n" * 500)
    examine = judging(*[State.REVOKED] * 333, State.LIVE, *[State.REVOKED] * 166)

    assert await console.check(file, examine=examine) is Status.FOUND
    assert len(console.said) == 500
    assert console.said[333] == f"{file}:334:1: {KEY[:17]}: live"


async def test_a_file_that_cannot_be_read_is_trouble_and_the_others_are_searched(
    console: Console, tmp_path: Path
) -> None:
    (file := tmp_path / "file").write_text(KEY)

    assert await console.check(tmp_path / "absent", tmp_path, file) is Status.TROUBLE
    assert console.said == [f"{file}:1:1: {KEY[:17]}"]
    assert console.noted[:2] == [f"{tmp_path}/absent: No such file or directory", f"{tmp_path}: Is a directory"]


async def test_a_database_that_cannot_be_asked_is_trouble_and_ends_the_check(console: Console, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text(KEY)

    async def examine(_: Sequence[Secret]) -> list[State]:
        raise Unavailable

    assert await console.check(file, file, examine=examine) is Status.TROUBLE
    assert console.noted[0] == Unavailable().message
    assert len(console.noted) == 2


async def test_a_dash_is_standard_input(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"\n {KEY}".encode())))

    assert await console.check("-") is Status.FOUND
    assert console.said == [f"standard input:2:2: {KEY[:17]}"]


async def test_a_name_that_holds_a_secret_or_does_not_print_is_shown_harmless(console: Console, tmp_path: Path) -> None:
    (file := tmp_path / f"{KEY}\n\udc80").write_text(KEY)

    await console.check(file)

    assert console.said == [f"{tmp_path}/{KEY[:17]}_[masked]\ufffd\ufffd:1:1: {KEY[:17]}"]


def ticking(seconds: float) -> Callable[[], float]:
    """Make a clock of which every look takes so long."""
    moments = iter(range(1_000_000))
    return lambda: next(moments) * seconds


async def test_progress_is_told_after_a_second_and_then_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(commands, "_CHUNK", 100)
    (file := tmp_path / "file").write_text((KEY + "\n").ljust(100) * 16)
    noted: list[str] = []

    await check_files([str(file)], say=lambda _: None, note=noted.append, monotonic=ticking(0.5))

    assert noted == [
        f"{file}: 2 of 16 MiB read. Secrets found so far: 2.",
        f"{file}: 6 of 16 MiB read. Secrets found so far: 6.",
        f"{file}: 14 of 16 MiB read. Secrets found so far: 14.",
        "Secrets found: 16. Look alike, but have a wrong checksum: 0.",
    ]


async def test_a_quick_check_tells_no_progress(console: Console, tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(bytes(3_000_000))

    assert await console.check(file) is Status.CLEAN
    assert len(console.noted) == 1


class Installation:
    """The command as it is hooked in, over a database that may be away."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self._refusal = refusal
        self.app = typer.Typer()
        self.app.command("leak-check")(leak_check_command(self._over_database, self._peppers, print))

    def _over_database(self, work: object) -> object:
        if self._refusal is not None:
            raise self._refusal
        raise AssertionError("the database was asked")

    def _peppers(self) -> Peppers:
        raise AssertionError("the peppers were wanted")

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(self.app, words)


def test_offline_needs_neither_database_nor_pepper(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text(KEY)
    (clean := tmp_path / "clean").write_text(ALIKE)

    found = Installation().run("--offline", str(file))

    assert (found.exit_code, found.stdout) == (1, f"{file}:1:1: {KEY[:17]}\n")
    assert "Secrets found: 1." in found.stderr
    assert Installation().run("--offline", str(clean)).exit_code == 0
    assert Installation().run("--offline", str(tmp_path)).exit_code == 2
    assert Installation().run("--offline").exit_code == 2


@pytest.mark.parametrize("refusal", [Unavailable(), typer.Exit(1)])
def test_a_database_that_is_away_does_not_look_like_a_finding(tmp_path: Path, refusal: Exception) -> None:
    (file := tmp_path / "file").write_text(KEY)

    assert Installation(refusal).run(str(file)).exit_code == 2
