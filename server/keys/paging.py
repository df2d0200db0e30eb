"""The page token of ListApiKeys: opaque, authenticated, and bound to whose list it continues (contract section 4)."""

import base64
import binascii
import hmac
from datetime import UTC, datetime, timedelta

from server.errors import InvalidRequest, Violation
from server.ids import DeveloperId, find_key_id
from server.keys.model import ApiKey
from server.keys.secret import Peppers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TAG_BYTES = 16


class PageTokens:
    """Writes and reads page tokens. They stay good for as long as the pepper that made them is kept."""

    def __init__(self, peppers: Peppers) -> None:
        self._peppers = peppers

    def after(self, key: ApiKey) -> str:
        """Write the token that continues its owner's list after a key."""
        moment = (key.created_at - _EPOCH) // _MICROSECOND
        position = f"{self._peppers.current}.{moment}.{key.id}".encode()
        return base64.urlsafe_b64encode(self._tag(key.developer_id, position) + position).rstrip(b"=").decode()

    def read(self, token: str, developer_id: DeveloperId) -> tuple[datetime, str]:
        """Return the (created_at, id) that a token continues after.

        Raises:
            InvalidRequest: the token was not made by this server for this developer's list.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _unknown_token() from None
        tag, position = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        expected = self._tag(developer_id, position)
        if not expected or not hmac.compare_digest(tag, expected):
            raise _unknown_token()
        _, moment, key_id = position.decode().split(".")
        return _EPOCH + int(moment) * _MICROSECOND, find_key_id(key_id) or ""

    def _tag(self, developer_id: DeveloperId, position: bytes) -> bytes:
        """Authenticate a position; empty when it names no pepper that we hold."""
        version = position.partition(b".")[0]
        if not version.isdigit() or len(version) > 9:
            return b""
        key = self._peppers.derive("page-token/v1", int(version))
        if key is None:
            return b""
        return hmac.digest(key, b"ListApiKeys\0" + developer_id.encode() + b"\0" + position, "sha256")[:_TAG_BYTES]


def _unknown_token() -> InvalidRequest:
    sentence = "is not a token of this list: pass next_page_token unchanged, or leave it empty for the first page"
    return InvalidRequest([Violation("page_token", sentence)])
