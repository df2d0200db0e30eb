"""The lifecycle of API keys: every rule about creating, reading, changing, rotating and revoking them.

Each change is one transaction with its audit event. A key of another developer is treated as absent everywhere.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.audit.store import Action, Actor, record
from server.errors import Conflict, InvalidRequest, NotFound, Violation
from server.ids import DeveloperId, KeyId, find_key_id, new_key_id
from server.keys.filter import EVERY_KEY, KeyFilter
from server.keys.model import ApiKey, Environment, Status
from server.keys.replay import Issued, Request, once
from server.keys.secret import draw
from server.keys.store import SECRET_PREFIX_CONSTRAINT, KeyStore, NewKey
from server.keys.verifiers import NoVerifiers, Verifiers
from server.paging import DEFAULT_PAGE_SIZE, PageTokens
from server.peppers import Peppers
from server.postgres.pool import Connection, Database
from server.rotation import Rotation, StoredSecret, redrawing
from server.text import normalise_name
from server.times import parse_time

_MUTABLE = ("name", "expires_at")
_MAXIMUM_PATHS = 16
_SWEPT_AT_ONCE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKey:
    """What a developer asks of a new key. `environment` None is the server's default; times are text as it was sent."""

    name: str
    scopes: tuple[str, ...]
    environment: Environment | None
    expires_at: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKey:
    """A change of metadata. `paths` None means the populated fields (AIP-134)."""

    id: str
    name: str
    expires_at: str
    paths: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """A wish for a new secret."""

    id: str
    expire_previous_now: bool
    request_id: str


class KeyService:
    """Manages the keys of developers."""

    def __init__(
        self,
        database: Database,
        peppers: Peppers,
        *,
        default_environment: Environment,
        rotation_grace: timedelta,
        verifiers: Verifiers | None = None,
    ) -> None:
        self._database = database
        self._peppers = peppers
        self._page_tokens = PageTokens(peppers, "ListApiKeys")
        self._default_environment = default_environment
        self._rotation = Rotation(rotation_grace, "key")
        self._verifiers = verifiers or NoVerifiers()

    async def create(self, actor: Actor, wish: CreateKey) -> Issued:
        """Make a key.

        Raises:
            InvalidRequest: a field is at fault, or the request id was used for a different request.
            Conflict: the developer has as many live keys as the tier allows, or the request id was answered more than
                10 minutes ago.
        """
        name, name_fault = normalise_name(wish.name)
        expires_at, expiry_fault = parse_time(wish.expires_at, "expires_at")
        _refuse([name_fault, expiry_fault])
        environment = wish.environment or self._default_environment
        request = Request(
            method="CreateApiKey",
            request_id=wish.request_id,
            payload=(name, sorted(wish.scopes), environment.value, expires_at),
        )

        async def work(connection: Connection) -> Issued:
            store = KeyStore(connection)
            return await once(store, self._peppers, actor, request, lambda: add(connection, store))

        async def add(connection: Connection, store: KeyStore) -> Issued:
            await _refuse_another_key(store, actor.developer_id)
            secret = draw(environment)
            new = NewKey(
                id=new_key_id(),
                developer_id=actor.developer_id,
                name=name,
                environment=environment,
                scopes=wish.scopes,
                expires_at=expires_at,
            )
            key = await store.create(new, StoredSecret.of(secret, self._peppers))
            if key is None:
                raise InvalidRequest([_not_in_future()])
            details = {"name": key.name, "key_prefix": key.key_prefix, "scopes": key.scopes}
            await record(connection, actor, Action.KEY_CREATED, key.id, details)
            return Issued(key=key, secret=secret)

        return await redrawing(self._database, work, SECRET_PREFIX_CONSTRAINT)

    async def get(self, developer_id: DeveloperId, key_id: str) -> ApiKey:
        """Return one key.

        Raises:
            NotFound: this developer has no such key.
        """
        known = find_key_id(key_id)
        key = await KeyStore(self._database).find(developer_id, known) if known else None
        if key is None:
            raise _no_such_key()
        return key

    async def list(
        self, developer_id: DeveloperId, page_size: int, page_token: str, wanted: KeyFilter = EVERY_KEY
    ) -> tuple[list[ApiKey], str]:
        """Return a page of the wanted keys, newest first, and the token of the next page (empty at the end).

        `page_size` is 1 to 100, or 0 for 20. Keyset paging: nothing is skipped or doubled by changes during the scan.

        Raises:
            InvalidRequest: the filter is at fault, or the page token was not made for this list with this filter.
        """
        _refuse([wanted.fault])
        limit, owner = page_size or DEFAULT_PAGE_SIZE, wanted.list_of(developer_id)
        after = self._page_tokens.read(page_token, owner) if page_token else None
        keys = await KeyStore(self._database).list_newest(developer_id, limit + 1, after, wanted)
        if len(keys) <= limit:
            return keys, ""
        last = keys[limit - 1]
        return keys[:limit], self._page_tokens.after(owner, last.created_at, last.id)

    async def update(self, actor: Actor, wish: UpdateKey) -> ApiKey:
        """Change the name or the expiry of a key.

        Raises:
            InvalidRequest: the mask names something else or nothing, or a field is at fault.
            NotFound: this developer has no such key.
            Conflict: the key is revoked, or it has expired and a new expiry is asked for.
        """
        paths = _checked_paths(wish)
        new_expiry = "expires_at" in paths
        name, name_fault = normalise_name(wish.name) if "name" in paths else (None, None)
        expires_at, expiry_fault = parse_time(wish.expires_at, "expires_at") if new_expiry else (None, None)
        _refuse([name_fault, expiry_fault])

        async def work(connection: Connection) -> ApiKey:
            store = KeyStore(connection)
            before, now = await _lock(store, actor.developer_id, wish.id)
            _refuse_revoked(before)
            if new_expiry:
                _refuse_expired(before, now)
                if expires_at is not None and expires_at <= now:
                    raise InvalidRequest([_not_in_future()])
            after = await store.update(before, name=name, new_expiry=new_expiry, expires_at=expires_at)
            await record(connection, actor, Action.KEY_UPDATED, after.id, _changes(before, after))
            return after

        changed = await self._database.transaction(work)
        self._verifiers.forget(changed.id)
        return changed

    async def rotate(self, actor: Actor, wish: RotateKey) -> Issued:
        """Give a key a new secret; the previous one ends after the grace period, or at the key's expiry, or at once.

        Raises:
            InvalidRequest: the request id was used for a different request.
            NotFound: this developer has no such key.
            Conflict: the key is revoked or expired, or five of its secrets still work, or the request id was answered
                more than 10 minutes ago.
        """
        request = Request(
            method="RotateApiKey", request_id=wish.request_id, payload=(wish.id, wish.expire_previous_now)
        )

        async def work(connection: Connection) -> Issued:
            store = KeyStore(connection)
            return await once(store, self._peppers, actor, request, lambda: renew(connection, store))

        async def renew(connection: Connection, store: KeyStore) -> Issued:
            before, now = await _lock(store, actor.developer_id, wish.id)
            _refuse_revoked(before)
            _refuse_expired(before, now)
            deadline = await self._rotation.retire(
                store, before.id, now, at_once=wish.expire_previous_now, latest=before.expires_at
            )
            secret = draw(before.environment)
            after, version = await store.add_secret(before.id, StoredSecret.of(secret, self._peppers), now)
            details = {"key_prefix": after.key_prefix, "version": version, "previous_expires_at": deadline.isoformat()}
            await record(connection, actor, Action.KEY_ROTATED, after.id, details)
            return Issued(key=after, secret=secret, previous_expires_at=deadline)

        issued = await redrawing(self._database, work, SECRET_PREFIX_CONSTRAINT)
        self._verifiers.forget(issued.key.id)
        return issued

    async def revoke(self, actor: Actor, key_id: str, *, wait: bool = False) -> ApiKey:
        """Kill a key and all its secrets, for ever; with `wait`, return only when no server can accept it any more.

        Raises:
            NotFound: this developer has no such key.
            Conflict: the key is revoked already.
        """
        known = find_key_id(key_id)
        if known is None:
            raise _no_such_key()

        async with self._verifiers.waiting() as confirmation:

            async def work(connection: Connection) -> ApiKey | None:
                store = KeyStore(connection)
                key = await store.revoke(actor.developer_id, known)
                if key is None:
                    await _found(store, actor.developer_id, known)
                else:
                    await record(connection, actor, Action.KEY_REVOKED, key.id, {"key_prefix": key.key_prefix})
                if wait:
                    await confirmation.ask(connection)
                return key

            revoked = await self._database.transaction(work)
            self._verifiers.forget(known)
            if wait:  # also for who asks again because the first answer was lost
                await confirmation.everywhere()
        if revoked is None:
            raise _is_revoked()
        return revoked

    async def sweep(self) -> None:
        """Erase the sealed answers and request ids whose time is over, in small steps whatever has piled up."""
        while await KeyStore(self._database).sweep_requests(_SWEPT_AT_ONCE):
            pass


async def _lock(store: KeyStore, developer_id: DeveloperId, key_id: str) -> tuple[ApiKey, datetime]:
    known = find_key_id(key_id)
    held = await store.lock(developer_id, known) if known else None
    if held is None:
        raise _no_such_key()
    return held


async def _found(store: KeyStore, developer_id: DeveloperId, key_id: KeyId) -> ApiKey:
    key = await store.find(developer_id, key_id)
    if key is None:
        raise _no_such_key()
    return key


async def _refuse_another_key(store: KeyStore, developer_id: DeveloperId) -> None:
    """Refuse a new key beyond the tier's maximum; until the transaction ends nobody else adds one for the developer."""
    most = await store.hold_developer(developer_id)
    if await store.count_live_keys(developer_id, most) >= most:
        raise Conflict(f"Your tier allows {most} live API keys. Revoke one, or ask for a higher tier.")


def _checked_paths(wish: UpdateKey) -> Collection[str]:
    """Return the fields to change, the given ones or the populated ones."""
    if wish.paths is None:
        populated = [path for path in _MUTABLE if getattr(wish, path)]
        if not populated:
            raise InvalidRequest([Violation("update_mask", f"names nothing to change: set {' or '.join(_MUTABLE)}")])
        return populated
    allowed = f"only {' and '.join(_MUTABLE)}"
    if len(wish.paths) > _MAXIMUM_PATHS:
        raise InvalidRequest([Violation("update_mask", f"names too many fields: {allowed} can change")])
    unknown = [path for path in dict.fromkeys(wish.paths) if path not in _MUTABLE]
    _refuse([Violation("update_mask", f"cannot change {path[:64]!a}: {allowed}") for path in unknown])
    return wish.paths


def _changes(before: ApiKey, after: ApiKey) -> dict[str, object]:
    pairs = {field: (getattr(before, field), getattr(after, field)) for field in _MUTABLE}
    return {field: [old and str(old), new and str(new)] for field, (old, new) in pairs.items() if old != new}


def _refuse(faults: Collection[Violation | None]) -> None:
    violations = [fault for fault in faults if fault is not None]
    if violations:
        raise InvalidRequest(violations)


def _refuse_revoked(key: ApiKey) -> None:
    if key.status is Status.REVOKED:
        raise _is_revoked()


def _is_revoked() -> Conflict:
    return Conflict("This key is revoked, for ever. Create a new one.")


def _refuse_expired(key: ApiKey, now: datetime) -> None:
    if key.expires_at is not None and key.expires_at <= now:
        raise Conflict("This key has expired. Create a new one.")


def _no_such_key() -> NotFound:
    return NotFound("There is no such API key, or it is not yours.")


def _not_in_future() -> Violation:
    return Violation("expires_at", "must be in the future; to end a key now, revoke it")
