"""The link that bounds how many calls are in flight, so that overload is refused at once and not queued to death."""

from typing import Any

from server.errors import Overloaded
from server.rpc.call import Call, Proceed


class ConcurrencyLimit:
    """Lets `maximum` calls in; one more is refused with Overloaded."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._in_flight = 0

    async def __call__(self, proceed: Proceed, call: Call, request: Any) -> Any:
        """Handle the call if there is room.

        Raises:
            Overloaded: there is none.
        """
        if self._in_flight >= self._maximum:
            raise Overloaded
        self._in_flight += 1
        try:
            return await proceed(call, request)
        finally:
            self._in_flight -= 1
