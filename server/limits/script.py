"""`window.lua` on a Valkey: one connection, over which many runs travel together. How long to wait is the caller's."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valkey.asyncio.connection import ConnectionPool
from valkey.exceptions import NoScriptError, ValkeyError

from server.limits.model import Claim

_SOURCE = Path(__file__).with_name("window.lua").read_bytes()
_DIGEST = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest()  # the name by which EVALSHA knows a script
_TLS_SCHEMES = ("valkeys:", "rediss:")

Command = tuple[str | bytes | int, ...]


class WindowScript:
    """The script and the connection to where it runs. After any exception but `ValueError`, close and connect anew."""

    def __init__(self, url: str) -> None:
        """Take the address: `valkey://HOST:PORT/DATABASE`, `valkeys://` for TLS, or `unix:///PATH`.

        Raises:
            ValueError: it is not of this form.
        """
        # The library checks a certificate's host only when asked. It waits without end, since our callers do not.
        options = {"ssl_check_hostname": True} if url.lower().startswith(_TLS_SCHEMES) else {}
        try:
            addresses: Any = ConnectionPool.from_url(url, **{"socket_timeout": None, **options})
            self._connection = addresses.make_connection()
        except (ValueError, TypeError, ValkeyError):
            raise ValueError("must be a URL like valkey://HOST:PORT/0, valkeys://HOST:PORT/0 or unix:///PATH") from None

    async def connect(self) -> None:
        """Connect and hand over the script."""
        await self._connection.connect()
        await self._load()

    async def close(self) -> None:
        """Hang up at once, whatever is on its way; harmless when there is no connection."""
        await self._connection.disconnect(nowait=True)

    async def run(self, commands: Sequence[Command]) -> list[list[int]]:
        """Run the script for each command and return its answers in order; see `window.lua` for what they say."""
        answers = await self._exchange(commands)
        missing = [place for place, answer in enumerate(answers) if answer is None]
        if missing:  # a restart or SCRIPT FLUSH took the script; none of these runs has had any effect
            await self._load()
            for place, answer in zip(
                missing, await self._exchange([commands[place] for place in missing]), strict=True
            ):
                answers[place] = answer
        return [_checked(answer) for answer in answers]

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send all and read all their answers; None stands for a script that is not there."""
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        return [await self._answer() for _ in commands]

    async def _answer(self) -> Any:
        try:
            return await self._connection.read_response()
        except NoScriptError:
            return None

    async def _load(self) -> None:
        await self._connection.send_command("SCRIPT LOAD", _SOURCE)
        await self._connection.read_response()


def command(claims: Sequence[Claim], cost: int, *, counted: bool) -> Command:
    """Write one run of the script, to count a call or only to look."""
    rates = [number for claim in claims for number in (claim.rate.requests, claim.rate.seconds)]
    return ("EVALSHA", _DIGEST, len(claims), *(_key(claim.window) for claim in claims), cost, int(counted), *rates)


def _key(window: bytes) -> bytes:
    """Name a window among other people's keys; the owner in braces keeps a call's windows in one slot of a cluster."""
    return b"developer:{%b}:%b" % (window.partition(b":")[2].partition(b":")[0], window)


def _checked(answer: Any) -> list[int]:
    if isinstance(answer, list) and len(answer) == 5 and all(isinstance(number, int) for number in answer):
        return answer
    raise ValkeyError("the script was not found again, or gave another answer than it does")
