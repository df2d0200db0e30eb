"""A server whose log nobody reads any more."""

import asyncio
import re
import signal
import subprocess

import httpx2

from .installation import ROOT, Installation

_ANONYMOUS_CALLS = 1000  # two lines each, several times what a pipe holds


async def test_a_log_reader_that_stops_reading_holds_up_nobody(installation: Installation) -> None:
    command, environment = installation.command("serve"), installation.variables()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            rest = await asyncio.to_thread(_address, process)
            async with httpx2.AsyncClient(base_url=rest, timeout=5, trust_env=False) as client:
                statuses = {(await client.get("/v1/developer/keys")).status_code for _ in range(_ANONYMOUS_CALLS)}
                health = await client.get("/healthz")
            process.send_signal(signal.SIGTERM)
            exit_code = await asyncio.to_thread(process.wait, 10)
        finally:
            process.kill()

    assert statuses == {401}
    assert health.status_code == 200
    assert exit_code == 0


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"REST +(http://\S+)", line):
            return found[1]
    raise AssertionError("the server ended before it was ready")
