"""What a token issuer asks about OAuth clients: which there are, and whether a secret is one's own.

A client whose developer is suspended is treated as absent.
"""

from server.clients.model import ClientEntry
from server.clients.service import SECRET_KIND
from server.clients.store import ClientStore
from server.ids import find_client_id
from server.peppers import Peppers
from server.postgres.pool import Database
from server.rotation import StoredSecret
from server.secret import Secret, SecretFormat

_find_prefix = SecretFormat(SECRET_KIND).find_prefix
_NO_DIGEST = bytes(32)


class ClientDirectory:
    """Looks clients up and proves their secrets. It remembers nothing: what changed counts from the next question."""

    def __init__(self, database: Database, peppers: Peppers) -> None:
        self._database = database
        self._peppers = peppers

    async def find(self, client_id: str) -> ClientEntry | None:
        """Return a client by its `client_id`; None when there is none, or its developer is suspended."""
        known = find_client_id(client_id)
        return await ClientStore(self._database).find_entry(known) if known else None

    async def authenticate(self, client_id: str, secret: Secret) -> bool:
        """Tell whether a secret is one of a client's that work now, in the same time whatever is wrong with it.

        A good one has its use noted, once a minute, and its digest renewed when it is of an old pepper. What is
        not even written like a secret is refused without a look at the database: its form is public.
        """
        known, prefix = find_client_id(client_id), _find_prefix(secret.reveal())
        if known is None or prefix is None:
            return False
        store = ClientStore(self._database)
        found = await store.find_secret(prefix, known)
        if found is None:
            self._peppers.proves(secret, _NO_DIGEST, self._peppers.current)
            return False
        if not self._peppers.proves(secret, found.digest, found.pepper_version):
            return False
        if not found.noted or found.pepper_version != self._peppers.current:
            await store.note_secret_use(StoredSecret.of(secret, self._peppers), found.pepper_version)
        return True
