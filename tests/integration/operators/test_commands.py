"""The commands of operators as they are typed: what they print, what they ask, how they end."""

import asyncio
import json
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from server.accounts.service import AccountService
from server.audit.store import Actor
from server.ids import DeveloperId, new_call_id, new_key_id
from server.operators.commands import operator_commands
from server.operators.service import Operations
from server.operators.users import user_commands
from server.postgres.pool import Database
from tests.integration.keys.vault import acting, key_service, register, wish, works

_DOCUMENT = Path(__file__).parents[3] / "docs" / "operators.md"

Type = Callable[..., Awaitable[Result]]


@pytest_asyncio.fixture(loop_scope="session")
async def alice(database: Database) -> DeveloperId:
    alice = await register(database, "alice")
    await database.execute(
        "UPDATE developers SET display_name = 'Alice', contact_email = 'a@example.com' WHERE id = $1", alice
    )
    return alice


@pytest.fixture
def run(database: Database) -> Type:
    """Type a command and wait for its end."""
    loop = asyncio.get_event_loop()

    def over_database(work: Callable[[Database], Awaitable[Any]]) -> Any:
        async def await_it() -> Any:
            return await work(database)

        return asyncio.run_coroutine_threadsafe(await_it(), loop).result(30)

    app = typer.Typer()
    for name, group in operator_commands(lambda work: over_database(lambda db: work(Operations(db)))).items():
        app.add_typer(group, name=name)
    app.add_typer(user_commands(over_database), name="user")

    async def type_(*words: str, answer: str = "") -> Result:
        with capture_logs():  # audit events would stand among what is printed
            return await asyncio.to_thread(lambda: CliRunner().invoke(app, words, input=answer))

    return type_


def _columns(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


async def test_developers_stand_in_columns(run: Type, database: Database, alice: DeveloperId) -> None:
    bob = await register(database, "bob\x1b[31m")
    await key_service(database).create(acting(alice), wish())
    heading, first, second = _columns(await run("developers", "list"))
    assert heading == ["ID", "NAME", "E-MAIL", "TIER", "KEYS", "CREATED", "SUSPENDED"]
    assert first[:6] == [bob, "(bob", "[31m)", "-", "standard", "0"]
    assert second[:5] == [alice, "Alice", "a@example.com", "standard", "1"]
    assert second[-1] == "-"


async def test_a_page_says_how_to_go_on(run: Type, database: Database, alice: DeveloperId) -> None:
    bob = await register(database, "bob")
    first = await run("developers", "list", "--limit", "1")
    assert f"--after {bob}" in first.stderr
    second = await run("developers", "list", "--limit", "1", "--after", bob)
    assert (alice in second.stdout, second.stderr) == (True, "")


async def test_lists_are_json_where_that_is_asked_for(run: Type, database: Database, alice: DeveloperId) -> None:
    await run("developers", "suspend", alice)
    (line,) = json.loads((await run("developers", "list", "--json", "--suspended", "--query", "ALICE")).stdout)
    assert (line["id"], line["subject"], line["live_keys"]) == (alice, "alice", 0)
    assert line["suspended_at"].endswith("Z")
    (tier,) = json.loads((await run("tiers", "--json")).stdout)
    assert (tier["name"], tier["monthly_quota"], tier["developers"]) == ("standard", 1000000, 1)
    assert json.loads((await run("developers", "requests", "--json")).stdout) == []


async def test_empty_lists_say_so(run: Type, database: Database) -> None:
    assert (await run("developers", "list")).stdout == "No developers.\n"
    assert (await run("developers", "requests")).stdout == "Nobody asks for another tier.\n"


async def test_a_developer_is_suspended_and_resumed(run: Type, alice: DeveloperId) -> None:
    suspended = await run("developers", "suspend", alice, "--reason", "Abuse")
    assert (suspended.exit_code, suspended.stdout) == (0, f"{alice} is suspended.\n")
    again = await run("developers", "suspend", alice)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "developers resume" in again.stderr
    assert (await run("developers", "resume", alice)).exit_code == 0


async def test_a_wish_is_shown_and_decided_on(run: Type, database: Database, alice: DeveloperId) -> None:
    terms = {"requests": 6000, "window": 60, "developer-requests": 12000, "quota": 0, "max-keys": 100, "streams": 50}
    options = [f"--{name}={value}" for name, value in terms.items()]
    assert (await run("tiers", "set", "partner", *options)).stdout == "The tier partner is made.\n"
    assert (await run("tiers", "set", "partner", "--quota", "5")).stdout == "The tier partner is changed.\n"
    _, _, partner = _columns(await run("tiers"))
    assert partner == ["partner", "6,000", "12,000", "60", "5", "100", "50", "0"]
    accounts = AccountService(database, auto_register=True)
    for command, told in (
        (("decline", alice), "is declined"),
        (("tier", alice, "partner"), "has the tier partner, as it asked"),
    ):
        await accounts.request_tier(Actor(developer_id=alice, call_id=new_call_id()), "partner", "We\ngrow.")
        _, waiting = _columns(await run("developers", "requests"))
        assert waiting[:5] == [alice, "Alice", "a@example.com", "standard", "partner"]
        assert waiting[-2:] == ["We", "grow."]
        assert told in (await run("developers", *command)).stdout


async def test_a_key_is_shown_before_it_is_revoked(run: Type, database: Database, alice: DeveloperId) -> None:
    issued = await key_service(database).create(acting(alice), wish("Leaked one"))
    prefix = issued.key.key_prefix
    left = await run("keys", "revoke", "--prefix", prefix, answer="n\n")
    assert left.exit_code == 1
    for told in (issued.key.id, "Leaked one", alice, "Alice, a@example.com"):
        assert told in left.stdout
    assert await works(database, issued.secret) == [True]
    done = await run("keys", "revoke", "--prefix", prefix, answer="y\n")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, f"{issued.key.id} is revoked.")
    assert await works(database, issued.secret) == [False]
    again = await run("keys", "revoke", "--prefix", prefix, "--yes")
    assert (again.exit_code, "revoked already" in again.stderr) == (1, True)


async def test_a_leaked_key_need_not_be_cut_and_is_never_repeated(
    run: Type, database: Database, alice: DeveloperId
) -> None:
    issued = await key_service(database).create(acting(alice), wish())
    done = await run("keys", "revoke", "--prefix", issued.secret.reveal(), "--yes")
    assert done.exit_code == 0
    assert issued.secret.reveal()[-49:] not in done.output
    assert await works(database, issued.secret) == [False]


async def test_a_key_gets_a_limit_of_its_own(run: Type, database: Database, alice: DeveloperId) -> None:
    key = (await key_service(database).create(acting(alice), wish())).key
    limited = await run("keys", "limit", key.id, "--requests", "5000", "--window", "60")
    assert limited.stdout == f"{key.id} has 5,000 requests in any 60 s.\n"
    assert (await run("keys", "limit", key.id, "--clear")).stdout == f"{key.id} has the limit of its tier.\n"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--requests", "5"),
        ("--window", "5"),
        ("--clear", "--requests", "5"),
        ("--clear", "--requests", "5", "--window", "5"),
    ],
)
async def test_a_limit_is_whole_or_cleared(run: Type, options: tuple[str, ...]) -> None:
    refused = await run("keys", "limit", new_key_id(), *options)
    assert refused.exit_code == 2
    assert "--clear" in refused.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("developers suspend nobody", "developers list --query"),
        ("developers tier nobody standard", "developers list --query"),
        ("tiers set gold --requests 5", "--window"),
        ("tiers set standard --requests 0", "--requests: must be 1"),
        ("keys revoke --prefix ang --yes", "e.g. ang_live_4fGh1JkL"),
        ("keys limit key_1 --clear", "no key"),
        ("user add Not!A!Name --draw", "username"),
        ("user disable nobody", "There is no user 'nobody'"),
        ("user enable Not!A!Name", "There is no user 'Not!A!Name'"),
        ("user password nobody --draw", "There is no user 'nobody'"),
    ],
)
async def test_what_cannot_be_done_ends_with_the_reason(run: Type, words: str, told: str) -> None:
    refused = await run(*words.split())
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert told in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_a_user_is_added_with_a_drawn_password_or_a_given_one(run: Type, database: Database) -> None:
    drawn = await run("user", "add", "carol", "--draw")
    assert (drawn.exit_code, len(drawn.stdout.strip())) == (0, 24)
    given = await run("user", "add", "dave", answer="seven quiet lanterns drift\n")
    assert (given.exit_code, given.stdout) == (0, "dave may sign in.\n")
    again = await run("user", "add", "dave", "--draw")
    assert (again.exit_code, again.stdout) == (1, "")
    short = await run("user", "add", "erin", answer="pw\n")
    assert short.exit_code == 1
    rows = await database.fetch("SELECT username, password_hash FROM users ORDER BY username")
    assert [row["username"] for row in rows] == ["carol", "dave"]
    assert all(row["password_hash"].startswith("$argon2id$") for row in rows)


async def test_users_stand_in_columns_without_their_passwords(run: Type) -> None:
    assert (await run("user", "list")).stdout == "No users.\n"
    for name in ("dave", "carol"):
        await run("user", "add", name, "--draw")
    await run("user", "disable", "dave")
    heading, carol, dave = _columns(await run("user", "list"))
    assert heading == ["NAME", "SESSIONS", "CREATED", "DISABLED"]
    assert (carol[:2], carol[-1]) == (["carol", "0"], "-")
    assert (dave[0], dave[-1][-1]) == ("dave", "Z")
    first = await run("user", "list", "--limit", "1", "--json")
    assert "--after carol" in first.stderr
    (line,) = json.loads(first.stdout)
    assert line.keys() == {"username", "sessions", "created_at", "disabled_at"}
    second = await run("user", "list", "--after", "carol")
    assert (second.stdout.splitlines()[-1].split()[0], second.stderr) == ("dave", "")


async def test_a_user_is_shut_out_let_in_and_given_another_password(run: Type, database: Database) -> None:
    await run("user", "add", "carol", "--draw")
    shut_out = await run("user", "disable", "CAROL")
    assert (shut_out.exit_code, "may not sign in any more" in shut_out.stdout) == (0, True)
    again = await run("user", "disable", "carol")
    assert (again.exit_code, again.stdout, "user enable" in again.stderr) == (1, "", True)
    assert (await run("user", "enable", "carol")).stdout == "carol may sign in.\n"
    again = await run("user", "enable", "carol")
    assert (again.exit_code, "nothing to enable" in again.stderr) == (1, True)
    drawn = await run("user", "password", "carol", "--draw")
    assert (drawn.exit_code, len(drawn.stdout.strip())) == (0, 24)
    given = await run("user", "password", "carol", answer="seven quiet lanterns drift\n")
    assert given.stdout == "carol has another password. Ended: 0 sessions, 0 grants.\n"
    short = await run("user", "password", "carol", answer="pw\n")
    assert (short.exit_code, "password" in short.stderr) == (1, True)


def _of_documents() -> list[str]:
    lines = re.findall(r"^python -m server (.*)$", _DOCUMENT.read_text(), re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("line", _of_documents())
async def test_what_the_documents_say_can_be_typed(
    run: Type, database: Database, alice: DeveloperId, line: str
) -> None:
    await database.execute("INSERT INTO tiers VALUES ('partner', 6000, 60, 12000, NULL, 100, 50)")
    key = (await key_service(database).create(acting(alice), wish())).key
    accounts = AccountService(database, auto_register=True)
    await accounts.request_tier(Actor(developer_id=alice, call_id=new_call_id()), "partner", "")
    if " resume " in line:
        await run("developers", "suspend", alice)
    if line.startswith("user") and " add " not in line:
        await run("user", "add", "alice", "--draw")
    if " enable " in line:
        await run("user", "disable", "alice")
    typed = line.replace("dev_…", alice).replace("key_…", key.id).replace("ang_live_4fGh1JkL", key.key_prefix)
    done = await run(*shlex.split(typed), answer="y\n" if "revoke" in line else "seven quiet lanterns drift\n")
    assert (done.exit_code, done.stderr) == (0, "")
