"""Who is a developer: a subject of a token issuer, registered by itself or, where that is allowed, by its first call.

Each change of an account is one transaction with its audit event.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from cachetools import TTLCache

from server.accounts.model import (
    Account,
    Developer,
    Profile,
    TierOffer,
    check_address,
    check_organisation,
    check_reason,
)
from server.accounts.store import AccountStore, DeveloperStore
from server.audit.store import Action, Actor, record
from server.errors import Conflict, InvalidRequest, PermissionDenied, Violation
from server.ids import DeveloperId, new_developer_id, new_tier_request_id
from server.postgres.pool import Connection, Database
from server.text import normalise_public_name

_REMEMBERED = 10_000
_REMEMBERED_SECONDS = 5.0
_MUTABLE = ("display_name", "contact_email", "organisation", "terms_version")
_MAXIMUM_PATHS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateProfile:
    """A change of a profile. `paths` None means the populated fields (AIP-134)."""

    profile: Profile
    paths: tuple[str, ...] | None


class AccountService:
    """Finds, registers and changes developers.

    A found one is remembered for 5 seconds; a suspension takes hold within that. Who is no developer is not remembered,
    so registering takes hold at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        auto_register: bool,
        terms_version: str = "1",
        terms_url: str = "",
        register_at: str = "",
    ) -> None:
        """Take the version of the terms in force, and where they can be read and people register; empty: nowhere."""
        self._database = database
        self._auto_register = auto_register
        self._register_at = register_at
        self._remembered: TTLCache[tuple[str, str], Developer] = TTLCache(_REMEMBERED, _REMEMBERED_SECONDS)
        self.terms_version = terms_version
        self.terms_url = terms_url

    async def authorise(self, issuer: str, subject: str, call_id: str) -> Developer:
        """Return the developer behind a token's subject.

        Raises:
            PermissionDenied: the subject is no developer, and first calls do not register one; or it is suspended.
        """
        developer = self._remembered.get((issuer, subject))
        if developer is None:
            developer = await self._find_or_register(issuer, subject, call_id)
            self._remembered[issuer, subject] = developer
        _refuse_suspended(developer)
        return developer

    async def register(self, issuer: str, subject: str, call_id: str, profile: Profile) -> Account:
        """Make a subject a developer with a profile, or complete the profile of one that its first call registered.

        Raises:
            InvalidRequest: a field is at fault.
            PermissionDenied: the developer is suspended.
            Conflict: the subject is registered, with a profile.
        """
        told = self._checked(profile)

        async def work(connection: Connection) -> Account:
            held = await DeveloperStore(connection).hold(issuer, subject)
            developer = held or await _register(connection, issuer, subject, call_id)
            _refuse_suspended(developer)
            store = AccountStore(connection)
            if not await store.complete(developer.id, told):
                raise Conflict("You are registered already. Change your account with UpdateDeveloper.")
            actor = Actor(developer_id=developer.id, call_id=call_id)
            details = {"display_name": told.display_name, "terms_version": told.terms_version}
            await record(connection, actor, Action.DEVELOPER_PROFILE_COMPLETED, developer.id, details)
            return await store.get(developer.id)

        return await self._database.transaction(work)

    async def get(self, developer_id: DeveloperId) -> Account:
        """Return the account of a developer who was authorised."""
        return await AccountStore(self._database).get(developer_id)

    async def update(self, actor: Actor, wish: UpdateProfile) -> Account:
        """Change a profile.

        Raises:
            InvalidRequest: the mask names something else or nothing, or a field is at fault.
            Conflict: the account has no profile yet.
        """
        paths = _checked_paths(wish)
        told = self._checked(wish.profile, paths)
        changes = {path: getattr(told, path) for path in paths}

        async def work(connection: Connection) -> Account:
            store = AccountStore(connection)
            await store.hold(actor.developer_id)
            before = await store.get(actor.developer_id)
            if not await store.update(actor.developer_id, changes):
                raise Conflict("This account has no profile yet. Complete it with RegisterDeveloper.")
            after = await store.get(actor.developer_id)
            await record(connection, actor, Action.DEVELOPER_UPDATED, after.id, _changes(before, after))
            return after

        return await self._database.transaction(work)

    async def list_tiers(self) -> list[TierOffer]:
        """Return what tiers there are, the smallest first."""
        return await AccountStore(self._database).list_tiers()

    async def request_tier(self, actor: Actor, tier: str, reason: str) -> Account:
        """Note a developer's wish for another tier, in the place of one that waits.

        Raises:
            InvalidRequest: there is no such tier, or the reason is no text.
            Conflict: the developer has this tier.
        """
        reason, fault = check_reason(reason)
        _refuse([fault])

        async def work(connection: Connection) -> Account:
            store = AccountStore(connection)
            await store.hold(actor.developer_id)
            account = await store.get(actor.developer_id)
            _refuse_tier(tier, account.tier, [each.name for each in await store.list_tiers()])
            replaced = await store.settle_tier_request(actor.developer_id, None, "replaced")
            await store.add_tier_request(new_tier_request_id(), actor.developer_id, tier, reason)
            details = {"tier": tier, "replaced": replaced} if replaced else {"tier": tier}
            await record(connection, actor, Action.TIER_REQUESTED, actor.developer_id, details)
            return replace(account, requested_tier=tier)

        return await self._database.transaction(work)

    async def _find_or_register(self, issuer: str, subject: str, call_id: str) -> Developer:
        developer = await DeveloperStore(self._database).find(issuer, subject)
        if developer is not None:
            return developer
        if not self._auto_register:
            raise self._not_registered()
        return await self._database.transaction(lambda connection: _register(connection, issuer, subject, call_id))

    def _not_registered(self) -> PermissionDenied:
        place = f" at {self._register_at}" if self._register_at else ""
        metadata = {"reason": "not_registered", "terms_version": self.terms_version}
        if self.terms_url:
            metadata["terms_url"] = self.terms_url
        if self._register_at:
            metadata["register_at"] = self._register_at
        return PermissionDenied(
            "The token is valid, but its user is not registered as a developer. "
            f"Register in the Developer Portal{place} with this account, then call again.",
            metadata=metadata,
        )

    def _checked(self, profile: Profile, paths: Collection[str] = _MUTABLE) -> Profile:
        """Bring those fields of a profile that are asked for to their stored form."""
        name, name_fault = normalise_public_name(profile.display_name, "display_name")
        organisation, organisation_fault = check_organisation(profile.organisation)
        faults = {
            "display_name": name_fault,
            "contact_email": check_address(profile.contact_email),
            "organisation": organisation_fault,
            "terms_version": self._check_terms(profile.terms_version),
        }
        _refuse([fault for path, fault in faults.items() if path in paths])
        return replace(profile, display_name=name, organisation=organisation)

    def _check_terms(self, version: str) -> Violation | None:
        if version == self.terms_version:
            return None
        return Violation("terms_version", f"must be {self.terms_version}, the version of the terms in force: read them")


async def _register(connection: Connection, issuer: str, subject: str, call_id: str) -> Developer:
    """Add a developer without a profile, or find the one whom another call just added, held either way."""
    store = DeveloperStore(connection)
    developer = await store.register(new_developer_id(), issuer, subject)
    if developer is not None:
        actor = Actor(developer_id=developer.id, call_id=call_id)
        await record(connection, actor, Action.DEVELOPER_REGISTERED, developer.id)
        return developer
    winner = await store.hold(issuer, subject)
    if winner is None:
        raise LookupError("a developer that exists was not found")
    return winner


def _checked_paths(wish: UpdateProfile) -> Collection[str]:
    """Return the fields to change, the given ones or the populated ones."""
    if wish.paths is None:
        populated = [path for path in _MUTABLE if getattr(wish.profile, path)]
        if not populated:
            raise InvalidRequest(
                [Violation("update_mask", f"names nothing to change: set one of {', '.join(_MUTABLE)}")]
            )
        return populated
    allowed = f"only {', '.join(_MUTABLE)}"
    if len(wish.paths) > _MAXIMUM_PATHS:
        raise InvalidRequest([Violation("update_mask", f"names too many fields: {allowed} can change")])
    unknown = [path for path in dict.fromkeys(wish.paths) if path not in _MUTABLE]
    _refuse([Violation("update_mask", f"cannot change {path[:64]!a}: {allowed}") for path in unknown])
    return wish.paths


def _changes(before: Account, after: Account) -> Mapping[str, object]:
    pairs = {field: (getattr(before, field), getattr(after, field)) for field in _MUTABLE}
    return {field: [old, new] for field, (old, new) in pairs.items() if old != new}


def _refuse_tier(tier: str, own: str, known: Collection[str]) -> None:
    if tier not in known:
        raise InvalidRequest([Violation("tier", "is none of the tiers that ListTiers returns")])
    if tier == own:
        raise Conflict("You have this tier already.")


def _refuse_suspended(developer: Developer) -> None:
    if developer.suspended_at is not None:
        raise PermissionDenied(
            "This developer account is suspended. Ask the platform's support why.", metadata={"reason": "suspended"}
        )


def _refuse(faults: Collection[Violation | None]) -> None:
    violations = [fault for fault in faults if fault is not None]
    if violations:
        raise InvalidRequest(violations)
