"""What operators do to accounts, tiers and keys. Each change is one transaction with its audit event, by `operator`.

Servers hear of a change by the notices that its transaction sends.
"""

from collections.abc import Mapping
from datetime import datetime

from server.accounts.model import check_reason
from server.accounts.store import AccountStore
from server.audit.store import Action, Actor, record, record_for_all
from server.errors import Conflict, InvalidRequest, NotFound, Violation
from server.ids import DeveloperId, KeyId, find_developer_id, find_key_id, new_call_id
from server.keys.secret import find_prefix
from server.keys.store import KeyStore
from server.limits.model import Rate
from server.operators.model import (
    TIER_FIELDS,
    DeveloperLine,
    FoundKey,
    TierLine,
    WaitingRequest,
    check_bounds,
    check_key_prefix,
    check_tier_name,
    option_of,
)
from server.operators.store import HeldKey, OperatorStore
from server.postgres.pool import Connection, Database
from server.times import format_time

OPERATOR = "operator"
"""The actor in audit events."""


class Operations:
    """The work of one command, whose audit events carry one call id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._call_id = new_call_id()

    async def list_developers(
        self, *, query: str = "", suspended: bool = False, limit: int = 50, after: str = ""
    ) -> tuple[list[DeveloperLine], str]:
        """Return developers, the newest first, and the id to go on after (empty at the end).

        `query` is part of a name, an address, a company or a subject, or a whole id.
        """
        lines = await OperatorStore(self._database).list_developers(
            query.replace("\0", "") or None, limit + 1, after.replace("\0", "") or None, suspended=suspended
        )
        return lines[:limit], lines[limit - 1].id if len(lines) > limit else ""

    async def suspend(self, developer: str, reason: str) -> None:
        """Shut a developer and all its keys out, until it is resumed. The audit log tells the developer the reason.

        Raises:
            NotFound, InvalidRequest: there is no such developer; the reason is no text.
            Conflict: the developer is suspended.
        """
        known = _developer_id(developer)
        reason, fault = check_reason(reason)
        if fault:
            raise InvalidRequest([Violation("--reason", fault.description)])

        async def work(connection: Connection) -> None:
            if not await OperatorStore(connection).suspend(known):
                since = await self._standing(connection, known)
                raise Conflict(f"{known} is suspended since {format_time(since)}; `developers resume` ends that.")
            details = {"reason": reason} if reason else {}
            await record(connection, self._actor(known), Action.DEVELOPER_SUSPENDED, known, details)

        await self._database.transaction(work)

    async def resume(self, developer: str) -> None:
        """Let a suspended developer and its keys in again.

        Raises:
            NotFound, Conflict: there is no such developer; it is not suspended.
        """
        known = _developer_id(developer)

        async def work(connection: Connection) -> None:
            if not await OperatorStore(connection).resume(known):
                await self._standing(connection, known)
                raise Conflict(f"{known} is in good standing: there is nothing to resume.")
            await record(connection, self._actor(known), Action.DEVELOPER_RESUMED, known)

        await self._database.transaction(work)

    async def change_tier(self, developer: str, tier: str) -> bool:
        """Give a developer another tier and say whether it had asked for this one.

        Raises:
            NotFound: there is no such developer, or no such tier.
            Conflict: the developer has the tier.
        """
        known = _developer_id(developer)

        async def work(connection: Connection) -> bool:
            accounts, store = AccountStore(connection), OperatorStore(connection)
            before = await _held_tier(accounts, known)
            names = [each.name for each in await accounts.list_tiers()]
            if tier not in names:
                raise NotFound(f"There is no tier {tier[:40]!a}, only {', '.join(names)}. `tiers set` makes one.")
            if before == tier:
                raise Conflict(f"{known} has the tier {tier} already.")
            await store.change_tier(known, tier)
            await record(connection, self._actor(known), Action.DEVELOPER_TIER_CHANGED, known, {"tier": [before, tier]})
            return await self._settle(connection, known, tier, "granted")

        return await self._database.transaction(work)

    async def list_requests(self, limit: int) -> list[WaitingRequest]:
        """Return wishes for tiers that wait, the oldest first."""
        return await OperatorStore(self._database).list_waiting_requests(limit)

    async def decline(self, developer: str) -> None:
        """Decline the wish of a developer that waits.

        Raises:
            NotFound, Conflict: there is no such developer; it asks for nothing.
        """
        known = _developer_id(developer)

        async def work(connection: Connection) -> None:
            await _held_tier(AccountStore(connection), known)
            if not await self._settle(connection, known, None, "declined"):
                raise Conflict(f"{known} asks for no tier. `developers requests` shows who does.")

        await self._database.transaction(work)

    async def list_tiers(self) -> list[TierLine]:
        """Return all tiers, the smallest first."""
        return await OperatorStore(self._database).list_tiers()

    async def set_tier(self, name: str, given: Mapping[str, int]) -> bool:
        """Change what is given of a tier, or make one of which all is given, and say whether it is new.

        `given` is of `TIER_FIELDS`; a quota of 0 is none. It takes hold at once for every developer of the tier.

        Raises:
            InvalidRequest: a value is out of its bounds, or missing for a new tier, or nothing is given.
        """
        _refuse([check_tier_name(name), *check_bounds(given)])
        wanted: dict[str, int | None] = {
            field: value or None if field == "monthly_quota" else value for field, value in given.items()
        }

        async def work(connection: Connection) -> bool:
            store = OperatorStore(connection)
            before = await store.hold_tier(name)
            _refuse_incomplete(name, given, is_new=before is None)
            old = before or dict.fromkeys(TIER_FIELDS)
            after = {**old, **wanted}
            await store.write_tier(name, after)
            details = {field: [old[field], after[field]] for field in TIER_FIELDS if old[field] != after[field]}
            await record_for_all(connection, self._call_id, OPERATOR, Action.TIER_SET, name, details)
            return before is None

        return await self._database.transaction(work)

    async def find_key(self, prefix: str) -> FoundKey:
        """Find the key that has or had a secret of a prefix; a whole key is taken for its prefix.

        Raises:
            InvalidRequest, NotFound: the text is no prefix; no key has it.
        """
        prefix = find_prefix(prefix.strip()) or prefix.strip()
        _refuse([check_key_prefix(prefix)])
        found = await OperatorStore(self._database).find_key(prefix)
        if found is None:
            raise NotFound(f"No key has or had the prefix {prefix} here.")
        return found

    async def revoke_key(self, key: FoundKey) -> None:
        """Kill a key and all its secrets, for ever.

        Raises:
            Conflict: the key is revoked.
        """

        async def work(connection: Connection) -> None:
            revoked = await KeyStore(connection).revoke(key.developer_id, key.id)
            if revoked is None:
                raise Conflict(f"{key.id} is revoked already.")
            details = {"key_prefix": revoked.key_prefix}
            await record(connection, self._actor(key.developer_id), Action.KEY_REVOKED, key.id, details)

        await self._database.transaction(work)

    async def limit_key(self, key: str, rate: Rate | None) -> None:
        """Give a key a limit of its own, or with None the one of its tier again. The developer's always holds as well.

        Raises:
            InvalidRequest, NotFound: the rate is out of bounds; there is no such key.
            Conflict: the key is revoked.
        """
        if rate:
            _refuse([*check_bounds({"requests": rate.requests, "window_seconds": rate.seconds})])
        wanted = (rate.requests, rate.seconds) if rate else None

        async def work(connection: Connection) -> None:
            store = OperatorStore(connection)
            key_id, held = await _held_key(store, key)
            await store.limit_key(key_id, wanted)
            details = {"rate_limit": [_written(held.rate), _written(wanted)]}
            await record(connection, self._actor(held.developer_id), Action.KEY_UPDATED, key_id, details)

        await self._database.transaction(work)

    def _actor(self, developer_id: DeveloperId) -> Actor:
        return Actor(developer_id=developer_id, call_id=self._call_id, name=OPERATOR)

    async def _settle(self, connection: Connection, known: DeveloperId, tier: str | None, settlement: str) -> bool:
        settled = await AccountStore(connection).settle_tier_request(known, tier, settlement)
        if settled is not None:
            details = {"tier": settled, "settlement": settlement}
            await record(connection, self._actor(known), Action.TIER_REQUEST_SETTLED, known, details)
        return settled is not None

    async def _standing(self, connection: Connection, known: DeveloperId) -> datetime | None:
        account = await AccountStore(connection).find(known)
        if account is None:
            raise _no_such_developer(known)
        return account.suspended_at


async def _held_tier(accounts: AccountStore, known: DeveloperId) -> str:
    """Hold a developer until the transaction ends and return its tier."""
    if await accounts.hold(known) is None:
        raise _no_such_developer(known)
    return (await accounts.get(known)).tier


async def _held_key(store: OperatorStore, key: str) -> tuple[KeyId, HeldKey]:
    known = find_key_id(key)
    held = await store.hold_key(known) if known else None
    if known is None or held is None:
        raise NotFound(f"There is no key {key[:40]!a}. Its id begins with key_ and stands in the audit log.")
    if held.is_revoked:
        raise Conflict(f"{known} is revoked: it needs no limit any more.")
    return known, held


def _developer_id(text: str) -> DeveloperId:
    known = find_developer_id(text)
    if known is None:
        raise _no_such_developer(text)
    return known


def _no_such_developer(text: str) -> NotFound:
    return NotFound(f"There is no developer {text[:40]!a}. `developers list --query` finds ids by name or address.")


def _refuse_incomplete(name: str, given: Mapping[str, int], *, is_new: bool) -> None:
    missing = [option_of(field) for field in TIER_FIELDS if field not in given]
    if is_new and missing:
        raise InvalidRequest(
            [Violation("NAME", f"there is no tier {name} yet; to make it, give {', '.join(missing)} too")]
        )
    if not given:
        raise InvalidRequest([Violation("NAME", f"nothing to change: give one of {', '.join(missing)}")])


def _written(rate: tuple[int, int] | None) -> str | None:
    return f"{rate[0]}/{rate[1]}" if rate else None


def _refuse(faults: list[Violation | None]) -> None:
    violations = [fault for fault in faults if fault is not None]
    if violations:
        raise InvalidRequest(violations)
