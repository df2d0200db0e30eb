"""Page tokens: opaque, authenticated, and bound to the list they continue and to whose it is (contract section 4)."""

import base64
import binascii
import hmac
from datetime import UTC, datetime, timedelta

from server.errors import InvalidRequest, Violation
from server.peppers import Peppers

DEFAULT_PAGE_SIZE = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG_BYTES = 16


class PageTokens:
    """Writes and reads the page tokens of one list. They stay good for as long as the pepper that made them is kept."""

    def __init__(self, peppers: Peppers, method: str) -> None:
        """Name the list by the method that returns it; a filter is part of what `owner` says."""
        self._peppers = peppers
        self._method = method.encode()

    def after(self, owner: str, moment: datetime, item_id: str) -> str:
        """Write the token that continues an owner's list after an item, by its time and its id (of ASCII, no dots)."""
        position = f"{self._peppers.current}.{(moment - _EPOCH) // _MICROSECOND}.{item_id}".encode()
        return base64.urlsafe_b64encode(self._tag(owner, position) + position).rstrip(b"=").decode()

    def read(self, token: str, owner: str) -> tuple[datetime, str]:
        """Return the time and the id that a token continues after.

        Raises:
            InvalidRequest: the token was not made by this server for this list of this owner.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _unknown_token() from None
        tag, position = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        expected = self._tag(owner, position)
        if not expected or not hmac.compare_digest(tag, expected):
            raise _unknown_token()
        _, moment, item_id = position.decode().split(".", 2)
        return _EPOCH + int(moment) * _MICROSECOND, item_id

    def _tag(self, owner: str, position: bytes) -> bytes:
        """Authenticate a position; empty when it names no pepper that we hold."""
        version = position.partition(b".")[0]
        if not version.isdigit() or len(version) > 9:
            return b""
        key = self._peppers.derive("page-token/v1", int(version))
        if key is None:
            return b""
        return hmac.digest(key, self._method + b"\0" + owner.encode() + b"\0" + position, "sha256")[:_TAG_BYTES]


def _unknown_token() -> InvalidRequest:
    sentence = "is not a token of this list: pass next_page_token unchanged, or leave it empty for the first page"
    return InvalidRequest([Violation("page_token", sentence)])
