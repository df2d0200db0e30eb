"""Adding users and letting them in."""

import asyncio
import stat
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from server.errors import Conflict, InvalidRequest, NotFound, RateLimited, Unauthenticated
from server.postgres.errors import ConstraintViolation
from server.postgres.pool import Database
from server.private_file import PrivateFileError
from server.users.model import find_username
from server.users.passwords import Passwords
from server.users.service import UserService
from server.users.store import UserStore

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "a good password"
ADDRESS = "192.0.2.7"


class Failures:
    """Lets so many failures of a name through, and remembers whose they were."""

    def __init__(self, allowed: int = 100) -> None:
        self.allowed = allowed
        self.seen: list[tuple[str, str]] = []

    async def wait_seconds(self, username: str, address: str) -> float:
        return 12.3 if [name for name, _ in self.seen].count(username) >= self.allowed else 0

    async def count_failure(self, username: str, address: str) -> None:
        self.seen.append((username, address))


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def users(database: Database, failures: Failures) -> UserService:
    return UserService(database, Passwords(QUICK), failures)


async def refusal(users: UserService, username: str, password: str) -> tuple[str, object]:
    with pytest.raises(Unauthenticated) as caught:
        await users.verify(username, password, ADDRESS)
    return caught.value.message, caught.value.metadata


async def test_a_user_signs_in(users: UserService, failures: Failures) -> None:
    await users.create("alice", PASSWORD)
    user = await users.verify("alice", PASSWORD, ADDRESS)
    assert user.username == "alice"
    assert PASSWORD not in repr(user)
    assert user.password_hash not in repr(user)
    assert failures.seen == []


async def test_the_name_may_be_typed_in_any_case(users: UserService) -> None:
    await users.create("alice", PASSWORD)
    assert (await users.verify(" Alice", PASSWORD, ADDRESS)).username == "alice"


async def test_the_password_may_be_typed_on_any_keyboard(users: UserService) -> None:
    await users.create("alice", "cafe\u0301 au lait")
    await users.verify("alice", "caf\u00e9 au lait", ADDRESS)


async def test_every_failure_is_the_same_and_counts(users: UserService, failures: Failures, database: Database) -> None:
    for name in ("alice", "carol"):
        await users.create(name, PASSWORD)
    await UserStore(database).disable("carol")
    cases = [("alice", "wrong password"), ("nobody", PASSWORD), ("carol", PASSWORD), ("no\x00name", PASSWORD), ("", "")]
    answers = {repr(await refusal(users, *case)) for case in cases}
    assert len(answers) == 1
    assert failures.seen == [(name, ADDRESS) for name in ("alice", "nobody", "carol", "no\x00name", "")]


async def test_an_unknown_name_costs_a_computation(users: UserService, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    verify = QUICK.verify

    def watched(_: PasswordHasher, hashed: str, typed: str) -> bool:
        computed.append(hashed)
        return verify(hashed, typed)

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    await refusal(users, "nobody", PASSWORD)
    await refusal(users, "no one", PASSWORD)
    await users.create("alice", PASSWORD)
    await refusal(users, "alice", "wrong password")
    assert len(computed) == 3


async def test_after_too_many_failures_even_the_right_password_is_not_looked_at(
    users: UserService, failures: Failures
) -> None:
    await users.create("alice", PASSWORD)
    failures.allowed = 3
    for name in ("alice", "nobody"):
        for _ in range(3):
            await refusal(users, name, "wrong password")
        with pytest.raises(RateLimited) as caught:
            await users.verify(name, PASSWORD, ADDRESS)
        assert caught.value.retry_after == 13


async def test_a_burst_of_guesses_is_let_through_no_further_than_the_two_at_work(
    users: UserService, failures: Failures
) -> None:
    failures.allowed = 3
    guesses = [users.verify("alice", "wrong password", ADDRESS) for _ in range(30)]
    await asyncio.gather(*guesses, return_exceptions=True)
    assert len(failures.seen) <= 4


async def test_who_is_throttled_waits_in_no_queue(users: UserService, failures: Failures) -> None:
    await users.create("alice", PASSWORD)
    failures.allowed = 0
    async with users._passwords.turn(), users._passwords.turn():
        for name in ("alice", "nobody"):
            with pytest.raises(RateLimited):
                await asyncio.wait_for(users.verify(name, PASSWORD, ADDRESS), 10)


async def test_a_name_is_taken_once(users: UserService) -> None:
    outcomes = await asyncio.gather(*(users.create("alice", PASSWORD) for _ in range(5)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["User"]
    with pytest.raises(Conflict):
        await users.create("alice", "another password")
    await users.verify("alice", PASSWORD, ADDRESS)


@pytest.mark.parametrize(
    ("username", "password", "fields"),
    [("Alice", PASSWORD, {"username"}), ("alice", "short", {"password"}), ("", "", {"username", "password"})],
)
async def test_rules_are_kept(users: UserService, username: str, password: str, fields: set[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await users.create(username, password)
    assert {violation.field for violation in caught.value.violations} == fields


@pytest.mark.parametrize("name", ["Alice", ".a", "", "a b", "x" * 64, "alice\n"])
async def test_the_table_keeps_the_rule_for_names_too(database: Database, name: str) -> None:
    assert find_username(name) != name
    with pytest.raises(ConstraintViolation) as caught:
        await UserStore(database).create(name, "*")
    assert caught.value.constraint_name == "users_username_form"


async def test_a_new_password_ends_the_old_one(users: UserService) -> None:
    await users.create("alice", PASSWORD)
    await users.set_password("alice", "another password")
    await refusal(users, "alice", PASSWORD)
    await users.verify("alice", "another password", ADDRESS)


async def test_a_disabled_user_comes_back(users: UserService, database: Database) -> None:
    await users.create("alice", PASSWORD)
    await UserStore(database).disable("alice")
    assert not await users.is_active("alice")
    await UserStore(database).enable("alice")
    assert await users.is_active("alice")
    await users.verify("alice", PASSWORD, ADDRESS)


async def test_nobody_is_not_changed(users: UserService) -> None:
    await users.create("alice", PASSWORD)
    with pytest.raises(NotFound):
        await users.set_password("nobody", PASSWORD)
    assert not await users.is_active("nobody")


async def test_a_hash_of_old_parameters_is_renewed_at_sign_in(users: UserService, database: Database) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await UserStore(database).create("alice", old)
    await refusal(users, "alice", "wrong password")
    assert await kept_hash(database) == old
    await users.verify("alice", PASSWORD, ADDRESS)
    renewed = await kept_hash(database)
    assert renewed.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    await users.verify("alice", PASSWORD, ADDRESS)
    assert await kept_hash(database) == renewed


async def test_a_renewed_hash_does_not_bring_an_old_password_back(users: UserService, database: Database) -> None:
    old = QUICK.hash(PASSWORD)
    await UserStore(database).create("alice", old)
    await users.set_password("alice", "another password")
    await UserStore(database).renew_hash("alice", old, QUICK.hash(PASSWORD))
    await refusal(users, "alice", PASSWORD)


async def test_the_database_holds_no_password(users: UserService, database: Database) -> None:
    await users.create("alice", PASSWORD)
    assert PASSWORD not in await kept_hash(database)


async def test_the_development_account_can_sign_in_and_stays_the_same(users: UserService, tmp_path: Path) -> None:
    username, password = await users.ensure_development_user(tmp_path)
    assert username == "alice"
    assert password.reveal() not in f"{password!r}{password}"
    await users.verify(username, password.reveal(), ADDRESS)
    again = await users.ensure_development_user(tmp_path)
    assert again[1].reveal() == password.reveal()
    assert stat.S_IMODE((tmp_path / "development-account").stat().st_mode) == 0o600


async def test_the_development_account_is_what_its_file_says(users: UserService, tmp_path: Path) -> None:
    _, first = await users.ensure_development_user(tmp_path)
    (tmp_path / "development-account").unlink()
    _, second = await users.ensure_development_user(tmp_path)
    await refusal(users, "alice", first.reveal())
    await users.verify("alice", second.reveal(), ADDRESS)


async def test_several_processes_make_one_development_account(users: UserService, tmp_path: Path) -> None:
    made = await asyncio.gather(*(users.ensure_development_user(tmp_path) for _ in range(4)))
    assert len({password.reveal() for _, password in made}) == 1
    await users.verify("alice", made[0][1].reveal(), ADDRESS)


async def test_a_spoilt_file_is_named_without_its_content(users: UserService, tmp_path: Path) -> None:
    path = tmp_path / "development-account"
    path.write_text("hunter2")
    path.chmod(0o600)
    with pytest.raises(PrivateFileError) as caught:
        await users.ensure_development_user(tmp_path)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def kept_hash(database: Database) -> str:
    row = await database.fetchrow("SELECT password_hash FROM users WHERE username = 'alice'")
    assert row
    return str(row["password_hash"])
