"""The lifecycle of OAuth clients: every rule about creating, reading, changing, rotating and deleting them.

Each change is one transaction with its audit event. A client of another developer is treated as absent everywhere.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from server.audit.store import Action, Actor, record
from server.clients.model import MAXIMUM_LIVE_CLIENTS, ClientType, OAuthClient
from server.clients.redirects import check_redirect_uris
from server.clients.store import SECRET_PREFIX_CONSTRAINT, ClientStore, NewClient
from server.errors import Conflict, InvalidRequest, NotFound, Violation
from server.ids import DeveloperId, find_client_id, new_client_id
from server.paging import DEFAULT_PAGE_SIZE, PageTokens
from server.peppers import Peppers
from server.postgres.pool import Connection, Database
from server.rotation import Rotation, StoredSecret, redrawing
from server.secret import Secret, draw_secret
from server.text import normalise_public_name

SECRET_KIND = "oauth"  # noqa: S105 - what stands in a secret's text

_MUTABLE = ("name", "redirect_uris", "allowed_scopes")
_MAXIMUM_PATHS = 16
_TOLD_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateClient:
    """What a developer asks of a new client."""

    name: str
    type: ClientType
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateClient:
    """A change of a client. `paths` None means the populated fields (AIP-134)."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]
    paths: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedClient:
    """A client and, if it got one just now, the secret that its owner sees this once; None for a public client.

    After a rotation also when the previous secret ends.
    """

    client: OAuthClient
    secret: Secret | None
    previous_expires_at: datetime | None = None


class ClientService:
    """Manages the OAuth clients of developers."""

    def __init__(self, database: Database, peppers: Peppers, *, rotation_grace: timedelta) -> None:
        self._database = database
        self._peppers = peppers
        self._rotation = Rotation(rotation_grace, "client")
        self._page_tokens = PageTokens(peppers, "ListOAuthClients")

    async def create(self, actor: Actor, wish: CreateClient) -> IssuedClient:
        """Make a client, with a secret if it is confidential.

        Raises:
            InvalidRequest: a field is at fault.
            Conflict: the developer has as many clients as may be.
        """
        name, name_fault = normalise_public_name(wish.name)
        _refuse([name_fault, *check_redirect_uris(wish.redirect_uris), *_check_scopes(wish.allowed_scopes)])

        async def work(connection: Connection) -> IssuedClient:
            store = ClientStore(connection)
            await _refuse_another_client(store, actor.developer_id)
            new = NewClient(
                id=new_client_id(),
                developer_id=actor.developer_id,
                name=name,
                type=wish.type,
                redirect_uris=wish.redirect_uris,
                allowed_scopes=wish.allowed_scopes,
            )
            client = await store.create(new)
            secret = await self._first_secret(store, client)
            client = await _with_secrets(store, client)
            details = {"name": client.name, "type": client.type.value, "scopes": client.allowed_scopes}
            details |= {"redirect_uris": _told(client.redirect_uris), "secret_prefix": client.secret_prefix}
            await record(connection, actor, Action.CLIENT_CREATED, client.id, details)
            return IssuedClient(client=client, secret=secret)

        return await redrawing(self._database, work, SECRET_PREFIX_CONSTRAINT)

    async def get(self, developer_id: DeveloperId, client_id: str) -> OAuthClient:
        """Return one client with its secrets that work.

        Raises:
            NotFound: this developer has no such client.
        """
        known, store = find_client_id(client_id), ClientStore(self._database)
        client = await store.find(developer_id, known) if known else None
        if client is None:
            raise _no_such_client()
        return await _with_secrets(store, client)

    async def list(self, developer_id: DeveloperId, page_size: int, page_token: str) -> tuple[list[OAuthClient], str]:
        """Return a page of clients, newest first, and the token of the next page (empty at the end).

        `page_size` is 1 to 100, or 0 for 20. Keyset paging: nothing is skipped or doubled by changes during the scan.

        Raises:
            InvalidRequest: the page token was not made for this list.
        """
        limit = page_size or DEFAULT_PAGE_SIZE
        after = self._page_tokens.read(page_token, developer_id) if page_token else None
        store = ClientStore(self._database)
        found = await store.list_newest(developer_id, limit + 1, after)
        page = found[:limit]
        secrets = await store.list_live_secrets([client.id for client in page])
        clients = [replace(client, secrets=tuple(secrets.get(client.id, ()))) for client in page]
        more = self._page_tokens.after(developer_id, page[-1].created_at, page[-1].id) if len(found) > limit else ""
        return clients, more

    async def update(self, actor: Actor, wish: UpdateClient) -> OAuthClient:
        """Change the name, the redirect URIs or the scopes of a client.

        Raises:
            InvalidRequest: the mask names something else or nothing, or a field is at fault.
            NotFound: this developer has no such client.
        """
        change = _checked_change(wish)

        async def work(connection: Connection) -> OAuthClient:
            store = ClientStore(connection)
            before, _ = await _lock(store, actor.developer_id, wish.id)
            after = await store.update(change(before))
            await record(connection, actor, Action.CLIENT_UPDATED, after.id, changes_between(before, after))
            return await _with_secrets(store, after)

        return await self._database.transaction(work)

    async def rotate(self, actor: Actor, client_id: str, *, expire_previous_now: bool) -> IssuedClient:
        """Give a client a new secret; the previous one ends after the grace period, or at once.

        Raises:
            NotFound: this developer has no such client.
            Conflict: the client is public, or five of its secrets still work.
        """

        async def work(connection: Connection) -> IssuedClient:
            store = ClientStore(connection)
            before, now = await _lock(store, actor.developer_id, client_id)
            if before.type is ClientType.PUBLIC:
                raise Conflict("This client is public: it has no secret to rotate.")
            deadline = await self._rotation.retire(store, before.id, now, at_once=expire_previous_now)
            secret = draw_secret(SECRET_KIND)
            version = await store.add_secret(before.id, StoredSecret.of(secret, self._peppers), now)
            after = await _with_secrets(store, before)
            details = {"secret_prefix": after.secret_prefix, "version": version}
            details |= {"previous_expires_at": deadline.isoformat()}
            await record(connection, actor, Action.CLIENT_SECRET_ROTATED, after.id, details)
            return IssuedClient(client=after, secret=secret, previous_expires_at=deadline)

        return await redrawing(self._database, work, SECRET_PREFIX_CONSTRAINT)

    async def delete(self, actor: Actor, client_id: str) -> None:
        """Remove a client for ever, with its secrets and all that users allowed it.

        Raises:
            NotFound: this developer has no such client.
        """
        known = find_client_id(client_id)
        if known is None:
            raise _no_such_client()

        async def work(connection: Connection) -> None:
            deletion = await ClientStore(connection).delete(actor.developer_id, known)
            if deletion is None:
                raise _no_such_client()
            details = {"name": deletion.name, "grants_revoked": deletion.grants}
            await record(connection, actor, Action.CLIENT_DELETED, known, details)

        await self._database.transaction(work)

    async def _first_secret(self, store: ClientStore, client: OAuthClient) -> Secret | None:
        if client.type is ClientType.PUBLIC:
            return None
        secret = draw_secret(SECRET_KIND)
        await store.add_secret(client.id, StoredSecret.of(secret, self._peppers), client.created_at)
        return secret


async def _lock(store: ClientStore, developer_id: DeveloperId, client_id: str) -> tuple[OAuthClient, datetime]:
    known = find_client_id(client_id)
    held = await store.lock(developer_id, known) if known else None
    if held is None:
        raise _no_such_client()
    return held


async def _with_secrets(store: ClientStore, client: OAuthClient) -> OAuthClient:
    secrets = await store.list_live_secrets([client.id])
    return replace(client, secrets=tuple(secrets.get(client.id, ())))


async def _refuse_another_client(store: ClientStore, developer_id: DeveloperId) -> None:
    """Refuse a client beyond the maximum; until the transaction ends nobody else adds one for the developer."""
    await store.hold_developer(developer_id)
    if await store.count(developer_id, MAXIMUM_LIVE_CLIENTS) >= MAXIMUM_LIVE_CLIENTS:
        raise Conflict(f"You have {MAXIMUM_LIVE_CLIENTS} OAuth clients, as many as may be. Delete one.")


def _checked_change(wish: UpdateClient) -> Callable[[OAuthClient], OAuthClient]:
    """Judge the fields to change and return what puts them into a client."""
    paths = _checked_paths(wish)
    name, name_fault = normalise_public_name(wish.name) if "name" in paths else (None, None)
    uris = wish.redirect_uris if "redirect_uris" in paths else None
    scopes = wish.allowed_scopes if "allowed_scopes" in paths else None
    _refuse(
        [
            name_fault,
            *(check_redirect_uris(uris) if uris is not None else ()),
            *(_check_scopes(scopes) if scopes is not None else ()),
        ]
    )
    return lambda client: replace(
        client,
        name=client.name if name is None else name,
        redirect_uris=client.redirect_uris if uris is None else uris,
        allowed_scopes=client.allowed_scopes if scopes is None else scopes,
    )


def _checked_paths(wish: UpdateClient) -> Collection[str]:
    """Return the fields to change, the given ones or the populated ones."""
    allowed = f"{', '.join(_MUTABLE[:-1])} and {_MUTABLE[-1]}"
    if wish.paths is None:
        populated = [path for path in _MUTABLE if getattr(wish, path)]
        if not populated:
            raise InvalidRequest([Violation("update_mask", f"names nothing to change: set some of {allowed}")])
        return populated
    if len(wish.paths) > _MAXIMUM_PATHS:
        raise InvalidRequest([Violation("update_mask", f"names too many fields: only {allowed} can change")])
    unknown = [path for path in dict.fromkeys(wish.paths) if path not in _MUTABLE]
    _refuse([Violation("update_mask", f"cannot change {path[:64]!a}: only {allowed}") for path in unknown])
    return wish.paths


def _check_scopes(scopes: Sequence[str]) -> list[Violation]:
    """Judge how many scopes there are; which ones there may be is said by the messages."""
    return [] if scopes else [Violation("allowed_scopes", "must name at least one scope")]


def changes_between(before: OAuthClient, after: OAuthClient) -> dict[str, object]:
    """Tell what changed; of redirect URIs only those that came and went, since there may be many."""
    changes: dict[str, object] = {}
    if before.name != after.name:
        changes["name"] = [before.name, after.name]
    if before.allowed_scopes != after.allowed_scopes:
        changes["allowed_scopes"] = [" ".join(before.allowed_scopes), " ".join(after.allowed_scopes)]
    for verb, some, others in (("added", after, before), ("removed", before, after)):
        uris = [uri for uri in some.redirect_uris if uri not in others.redirect_uris]
        if uris:
            changes[f"redirect_uris_{verb}"] = _told(uris)
    return changes


def _told(uris: Sequence[str]) -> str:
    """Write URIs in one line, as far as there is room: together they may be longer than an audit log can use."""
    text = " ".join(uris)
    return text if len(text) <= _TOLD_LENGTH else f"{text[:_TOLD_LENGTH]}… ({len(uris)} URIs)"


def _refuse(faults: Collection[Violation | None]) -> None:
    violations = [fault for fault in faults if fault is not None]
    if violations:
        raise InvalidRequest(violations)


def _no_such_client() -> NotFound:
    return NotFound("There is no such OAuth client, or it is not yours.")
