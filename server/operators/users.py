"""The commands of operators about people who sign in with a password, where no other issuer is configured."""

import secrets
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from server.errors import Error
from server.operators.tables import show
from server.operators.user_accounts import Closed, UserAccounts
from server.postgres.pool import Database
from server.users.passwords import Passwords
from server.users.service import UserService

OverDatabase = Callable[[Callable[[Database], Awaitable[Any]]], Any]

UserArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
Drawn = Annotated[bool, typer.Option("--draw", help="Draw a password and print it, this once.")]


class NoThrottle:
    """Stands where nobody signs in."""

    async def wait_seconds(self, username: str, address: str) -> float:
        """Let everybody try."""
        return 0.0

    async def count_failure(self, username: str, address: str) -> None:
        """Count nothing."""


def user_commands(over_database: OverDatabase) -> typer.Typer:
    """Make the group of commands about people who sign in here."""

    def do(work: Callable[[Database], Awaitable[Any]]) -> Any:
        try:
            return over_database(work)
        except Error as error:
            typer.echo(error.message, err=True)
            raise typer.Exit(1) from None

    group = typer.Typer(help="People who may sign in with a password.", no_args_is_help=True)
    group.command()(_adding(do))
    group.command("list")(_listing(do))
    group.command()(_setting_of_passwords(do))

    @group.command()
    def disable(name: UserArgument) -> None:
        """Keep a user from signing in, and end the sessions and tokens of the user, everywhere within 5 seconds."""
        closed = do(lambda database: UserAccounts(database).disable(name))
        typer.echo(f"{name} may not sign in any more. {_told(closed)}")

    @group.command()
    def enable(name: UserArgument) -> None:
        """Let a disabled user sign in again."""
        do(lambda database: UserAccounts(database).enable(name))
        typer.echo(f"{name} may sign in.")

    return group


def _adding(do: OverDatabase) -> Callable[..., None]:
    def add(
        name: Annotated[str, typer.Argument(help="The user's name; it is the subject of the user's tokens.")],
        draw: Drawn = False,
    ) -> None:
        """Add a user; the password is asked for, or read as one line from standard input."""
        password = _new_password(draw=draw)

        async def work(database: Database) -> None:
            with closing(Passwords()) as passwords:
                await UserService(database, passwords, NoThrottle()).create(name, password)

        do(work)
        typer.echo(password if draw else f"{name} may sign in.")

    return add


def _listing(do: OverDatabase) -> Callable[..., None]:
    columns = {"username": "NAME", "sessions": "SESSIONS", "created_at": "CREATED", "disabled_at": "DISABLED"}

    def list_users(
        limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")] = 50,
        after: Annotated[str, typer.Option(metavar="NAME", help="Go on after this user.")] = "",
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    ) -> None:
        """List users by name, with how many browsers they are signed in with."""
        lines, rest = do(lambda database: UserAccounts(database).list_users(limit, after))
        show([asdict(line) for line in lines], columns, as_json=as_json, empty="No users.")
        if rest:
            typer.echo(f"There are more: --after {rest}", err=True)

    return list_users


def _setting_of_passwords(do: OverDatabase) -> Callable[..., None]:
    def password(name: UserArgument, draw: Drawn = False) -> None:
        """Give a user another password, asked for as `add` does, and end what was opened with the old one."""
        chosen = _new_password(draw=draw)

        async def work(database: Database) -> Closed:
            with closing(Passwords()) as passwords:
                return await UserAccounts(database).set_password(name, chosen, passwords)

        closed = do(work)
        typer.echo(chosen if draw else f"{name} has another password. {_told(closed)}")

    return password


def _told(closed: Closed) -> str:
    return f"Ended: {closed.sessions:,} sessions, {closed.grants:,} grants."


def _new_password(*, draw: bool) -> str:
    if draw:
        return secrets.token_urlsafe(18)
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().removesuffix("\n")
