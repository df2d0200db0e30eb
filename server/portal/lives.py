"""Where a key stands in its life, as pages say it. Pure."""

from datetime import datetime, timedelta
from typing import Final, Literal

from sdk.developer.v1.api_key_pb2 import API_KEY_STATUS_REVOKED, ApiKey

from server.pages.formats import moment_of

Life = Literal["active", "ending", "expired", "revoked"]

ENDING: Final = timedelta(days=14)
"""How long before its end a key is said to expire."""


def life_of(key: ApiKey, now: datetime) -> Life:
    """Say where a key stands at a moment."""
    if key.status == API_KEY_STATUS_REVOKED:
        return "revoked"
    expires_at = moment_of(key.expires_at)
    if expires_at is None or expires_at > now + ENDING:
        return "active"
    return "ending" if expires_at > now else "expired"
