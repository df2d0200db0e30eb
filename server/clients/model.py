"""What an OAuth client is. No I/O, no protocol."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from server.ids import ClientId, DeveloperId

MAXIMUM_LIVE_CLIENTS = 100
"""How many clients a developer may have at a time."""


class ClientType(Enum):
    """Whether a client can keep a secret (RFC 6749 section 2.1)."""

    PUBLIC = "public"
    CONFIDENTIAL = "confidential"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """One secret version of a confidential client, without the secret. `expires_at` None: it is the current one."""

    version: int
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """An application of a developer that asks users for access; `secrets` are those that work, newest first."""

    id: ClientId
    developer_id: DeveloperId
    name: str
    type: ClientType
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]
    created_at: datetime
    secrets: tuple[ClientSecret, ...] = ()

    @property
    def secret_prefix(self) -> str:
        """The visible head of the newest secret, empty for a public client."""
        return self.secrets[0].prefix if self.secrets else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEntry:
    """A client as a token issuer sees it, with whose it is; `developer_name` is empty while its developer has none."""

    id: ClientId
    name: str
    type: ClientType
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]
    created_at: datetime
    developer_id: DeveloperId
    developer_name: str

    @property
    def is_confidential(self) -> bool:
        """Whether it has to prove who it is by its secret."""
        return self.type is ClientType.CONFIDENTIAL
