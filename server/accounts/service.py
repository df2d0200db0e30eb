"""Who is a developer: a subject of a token issuer, registered beforehand or, when allowed, by its first call."""

from cachetools import TTLCache

from server.accounts.model import Developer
from server.accounts.store import DeveloperStore
from server.audit.store import Action, Actor, record
from server.errors import PermissionDenied
from server.ids import new_developer_id
from server.postgres.pool import Connection, Database

_REMEMBERED = 10_000
_REMEMBERED_SECONDS = 5.0


class AccountService:
    """Finds and registers developers. A found one is remembered for 5 seconds; a suspension takes hold within that."""

    def __init__(self, database: Database, *, auto_register: bool) -> None:
        self._database = database
        self._auto_register = auto_register
        self._remembered: TTLCache[tuple[str, str], Developer] = TTLCache(_REMEMBERED, _REMEMBERED_SECONDS)

    async def authorise(self, issuer: str, subject: str, call_id: str) -> Developer:
        """Return the developer behind a token's subject.

        Raises:
            PermissionDenied: the subject is no developer, and first calls do not register one; or it is suspended.
        """
        developer = self._remembered.get((issuer, subject))
        if developer is None:
            developer = await self._find_or_register(issuer, subject, call_id)
            self._remembered[issuer, subject] = developer
        if developer.suspended_at is not None:
            raise PermissionDenied("This developer account is suspended. Ask the platform's support why.")
        return developer

    async def _find_or_register(self, issuer: str, subject: str, call_id: str) -> Developer:
        developer = await DeveloperStore(self._database).find(issuer, subject)
        if developer is not None:
            return developer
        if not self._auto_register:
            raise PermissionDenied(
                "The token is valid, but its user is not registered as a developer. "
                "Register in the Developer Portal with this account, then call again."
            )
        return await self._database.transaction(lambda connection: _register(connection, issuer, subject, call_id))


async def _register(connection: Connection, issuer: str, subject: str, call_id: str) -> Developer:
    store = DeveloperStore(connection)
    developer = await store.register(new_developer_id(), issuer, subject)
    if developer is not None:
        actor = Actor(developer_id=developer.id, call_id=call_id)
        await record(connection, actor, Action.DEVELOPER_REGISTERED, developer.id)
        return developer
    winner = await store.find(issuer, subject)
    if winner is None:
        raise LookupError("a developer that exists was not found")
    return winner
