"""ghz as the load: VerifyApiKey with good keys, a bounded number of calls at a time, until it is told to end."""

import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from bench.fleet import Daemon, running
from bench.process import ROOT

OPERATION = "ghz"
"""Under which usage counts its calls."""
_METHOD = "sdk.verification.v1.VerificationService.VerifyApiKey"
_CONNECTIONS = 4
_CODE = re.compile(r"(?<=[a-z])(?=[A-Z])")  # ghz says DeadlineExceeded
_FRACTION = re.compile(r"\.(\d{6})\d+")  # of seconds: ghz writes nanoseconds, which Python does not read
_PATIENCE_SECONDS = 15.0


class Call(NamedTuple):
    """One call. `ended` in Unix seconds; `code` as in `DEADLINE_EXCEEDED`."""

    ended: float
    milliseconds: float
    code: str


class Phase(NamedTuple):
    """The calls that ended between two moments."""

    name: str
    seconds: float
    milliseconds: Sequence[float]
    """How long each call took that was answered."""
    failures: Counter[str]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, percent: int) -> float:
        """Return a percentile of the times, in milliseconds."""
        return quantiles(self.milliseconds, n=100)[percent - 1] if len(self.milliseconds) > 1 else float("nan")


class Ghz:
    """One run of it."""

    def __init__(self, program: Daemon, output: Path) -> None:
        self._program = program
        self._output = output

    @classmethod
    @asynccontextmanager
    async def loading(
        cls, address: str, secrets: Sequence[str], token: str, folder: Path, *, most_seconds: float, at_a_time: int
    ) -> AsyncIterator["Ghz"]:
        """Begin to load an address with keys, as the bearer of a service token, until `calls` is asked for.

        The block's end ends it if need be, and so does it itself after `most_seconds`.

        Raises:
            RuntimeError: ghz is not installed.
        """
        program = shutil.which("ghz", path=f"{ROOT / '.tools' / 'bin'}:{os.environ.get('PATH', os.defpath)}")
        if program is None:
            raise RuntimeError("ghz is not installed: run .ci/tools")
        requests, metadata, output = (folder / name for name in ("requests.json", "metadata.json", "ghz.json"))
        requests.write_text(json.dumps([{"api_key": secret, "operation": OPERATION} for secret in secrets]))
        metadata.write_text(json.dumps({"authorization": f"Bearer {token}"}))
        options = (
            f"--insecure --protoset {ROOT / 'gen' / 'sdk.binpb'} --call {_METHOD} --disable-template-data"
            f" --data-file {requests} --metadata-file {metadata} --concurrency {at_a_time} --connections {_CONNECTIONS}"
            f" --duration {most_seconds}s --duration-stop wait --timeout 5s --format json --output {output}"
        )
        daemon = Daemon(program, *options.split(), address, log=folder / "ghz.log", stop=signal.SIGINT)
        async with running(daemon):
            yield cls(daemon, output)

    async def calls(self) -> list[Call]:
        """Let it wait for the answers to its last calls and end; return every call.

        Raises:
            RuntimeError: it failed.
        """
        status = await self._program.stop(_PATIENCE_SECONDS)
        if status != 0:
            raise RuntimeError(f"ghz failed: {status}")
        return [_call(detail) for detail in json.loads(self._output.read_text())["details"]]


def phases(calls: Sequence[Call], moments: Sequence[tuple[str, float]], end: float) -> list[Phase]:
    """Sort calls into phases, each of which begins at a moment in Unix seconds."""
    ends = [*(begin for _, begin in moments[1:]), end]
    made = []
    for (name, begin), until in zip(moments, ends, strict=True):
        inside = [call for call in calls if begin <= call.ended < until]
        answered = [call.milliseconds for call in inside if call.code == "OK"]
        failed = Counter(call.code for call in inside if call.code != "OK")
        made.append(Phase(name, until - begin, answered, failed))
    return made


def _call(detail: Mapping[str, Any]) -> Call:
    ended = datetime.fromisoformat(_FRACTION.sub(r".\1", detail["timestamp"]))
    return Call(ended.timestamp(), detail["latency"] / 1e6, _CODE.sub("_", detail["status"]).upper())
