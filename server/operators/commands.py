"""The commands of operators: `developers`, `tiers` and `keys`. They read their words, call what does it and print."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from server.errors import Error
from server.limits.model import Rate
from server.operators.model import FoundKey
from server.operators.service import Operations
from server.operators.tables import in_one_line, show
from server.times import format_time

Operate = Callable[[Callable[[Operations], Awaitable[Any]]], Any]
"""Runs some work over the installation's database and returns its result."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with everything that is known.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")]
DeveloperArgument = Annotated[str, typer.Argument(metavar="ID", help="The developer's id, dev_….")]


def operator_commands(operate: Operate) -> Mapping[str, typer.Typer]:
    """Make the groups of commands, by their names."""

    def do(work: Callable[[Operations], Awaitable[Any]]) -> Any:
        try:
            return operate(work)
        except Error as error:
            typer.echo(error.message, err=True)
            raise typer.Exit(1) from None

    return {"developers": _developers(do), "tiers": _tiers(do), "keys": _keys(do)}


def _developers(do: Operate) -> typer.Typer:
    group = typer.Typer(help="Look developers up, suspend them, decide on their tiers.", no_args_is_help=True)
    group.command("list")(_listing_of_developers(do))
    group.command("requests")(_listing_of_requests(do))

    @group.command()
    def suspend(
        developer: DeveloperArgument,
        reason: Annotated[str, typer.Option(help="Why; it stands in the developer's audit log.")] = "",
    ) -> None:
        """Shut a developer and all its keys out, everywhere within 5 seconds."""
        do(lambda operations: operations.suspend(developer, reason))
        typer.echo(f"{developer} is suspended.")

    @group.command()
    def resume(developer: DeveloperArgument) -> None:
        """Let a suspended developer and its keys in again."""
        do(lambda operations: operations.resume(developer))
        typer.echo(f"{developer} is in good standing again.")

    @group.command()
    def tier(developer: DeveloperArgument, name: Annotated[str, typer.Argument(help="The tier.")]) -> None:
        """Give a developer another tier. If it has asked for this one, its wish is granted thereby."""
        granted = do(lambda operations: operations.change_tier(developer, name))
        typer.echo(f"{developer} has the tier {name}{', as it asked' if granted else ''}.")

    @group.command()
    def decline(developer: DeveloperArgument) -> None:
        """Decline the tier that a developer asks for."""
        do(lambda operations: operations.decline(developer))
        typer.echo(f"The wish of {developer} is declined.")

    return group


def _listing_of_developers(do: Operate) -> Callable[..., None]:
    columns = {
        "id": "ID",
        "called": "NAME",
        "contact_email": "E-MAIL",
        "tier": "TIER",
        "live_keys": "KEYS",
        "created_at": "CREATED",
        "suspended_at": "SUSPENDED",
    }

    def list_developers(
        query: Annotated[str, typer.Option(help="Part of a name, address, company or subject; or an id.")] = "",
        suspended: Annotated[bool, typer.Option("--suspended", help="Only those who are.")] = False,
        limit: Limit = 50,
        after: Annotated[str, typer.Option(metavar="ID", help="Go on after this developer.")] = "",
        as_json: AsJson = False,
    ) -> None:
        """List developers, the newest first, with how many live keys they have."""
        lines, rest = do(
            lambda operations: operations.list_developers(query=query, suspended=suspended, limit=limit, after=after)
        )
        rows = [asdict(line) for line in lines]
        named = rows if as_json else [{**row, "called": row["display_name"] or f"({row['subject']})"} for row in rows]
        show(named, columns, as_json=as_json, empty="No developers.")
        if rest:
            typer.echo(f"There are more: --after {rest}", err=True)

    return list_developers


def _listing_of_requests(do: Operate) -> Callable[..., None]:
    columns = {
        "developer_id": "ID",
        "display_name": "NAME",
        "contact_email": "E-MAIL",
        "tier": "HAS",
        "requested_tier": "ASKS FOR",
        "created_at": "SINCE",
        "reason": "REASON",
    }

    def requests(limit: Limit = 100, as_json: AsJson = False) -> None:
        """List who asks for another tier, the longest waiting first. `tier` grants, `decline` does not."""
        lines = do(lambda operations: operations.list_requests(limit))
        show([asdict(line) for line in lines], columns, as_json=as_json, empty="Nobody asks for another tier.")

    return requests


def _tiers(do: Operate) -> typer.Typer:
    group = typer.Typer(help="List tiers; set them.", invoke_without_command=True)
    columns = {
        "name": "NAME",
        "requests": "PER KEY",
        "developer_requests": "PER DEVELOPER",
        "window_seconds": "SECONDS",
        "monthly_quota": "QUOTA",
        "max_keys": "KEYS",
        "concurrent_streams": "STREAMS",
        "developers": "DEVELOPERS",
    }

    @group.callback()
    def tiers(context: typer.Context, as_json: AsJson = False) -> None:
        """List tiers, the smallest first: requests in a window, quota a month, live keys, streams at a time."""
        if context.invoked_subcommand is None:
            lines = do(lambda operations: operations.list_tiers())
            show([asdict(line) for line in lines], columns, as_json=as_json, empty="No tiers.")

    group.command("set")(_setting_of_tiers(do))
    return group


def _setting_of_tiers(do: Operate) -> Callable[..., None]:
    def set_tier(
        name: Annotated[str, typer.Argument(help="The tier's name, e.g. partner.")],
        requests: Annotated[int | None, typer.Option(help="Requests of each key in any window.")] = None,
        window: Annotated[int | None, typer.Option(help="The window, in seconds.")] = None,
        developer_requests: Annotated[int | None, typer.Option(help="Requests of all keys together.")] = None,
        quota: Annotated[int | None, typer.Option(help="Units a month (UTC); 0 for no quota.")] = None,
        max_keys: Annotated[int | None, typer.Option(help="How many keys may live at a time.")] = None,
        streams: Annotated[int | None, typer.Option(help="How many streams may play at a time.")] = None,
    ) -> None:
        """Make a tier, for which all options are needed, or change those that are given, at once for everybody."""
        given = {
            "requests": requests,
            "window_seconds": window,
            "developer_requests": developer_requests,
            "monthly_quota": quota,
            "max_keys": max_keys,
            "concurrent_streams": streams,
        }
        chosen = {field: value for field, value in given.items() if value is not None}
        is_new = do(lambda operations: operations.set_tier(name, chosen))
        typer.echo(f"The tier {name} is {'made' if is_new else 'changed'}.")

    return set_tier


def _keys(do: Operate) -> typer.Typer:
    group = typer.Typer(help="Revoke keys; give them limits of their own.", no_args_is_help=True)

    @group.command()
    def revoke(
        prefix: Annotated[str, typer.Option(help="The beginning of one of its secrets, e.g. ang_live_4fGh1JkL.")],
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    ) -> None:
        """Revoke a key for ever, with all its secrets, everywhere within 5 seconds."""

        async def work(operations: Operations) -> str:
            key = await operations.find_key(prefix)
            typer.echo(_described(key))
            if key.revoked_at is None and not yes:
                typer.confirm("Revoke it? Nothing brings it back.", abort=True)
            await operations.revoke_key(key)
            return key.id

        typer.echo(f"{do(work)} is revoked.")

    @group.command()
    def limit(
        key: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key's id, key_….")],
        requests: Annotated[int | None, typer.Option(help="Requests in any window.")] = None,
        window: Annotated[int | None, typer.Option(help="The window, in seconds.")] = None,
        clear: Annotated[bool, typer.Option("--clear", help="Let its tier's limit hold again.")] = False,
    ) -> None:
        """Give a key a limit of its own. That of its developer holds as well, always."""
        whole = requests is not None and window is not None
        if clear == whole or (clear and (requests is not None or window is not None)):
            raise typer.BadParameter("give --requests and --window, or --clear")
        rate = Rate(requests, window) if requests is not None and window is not None else None
        do(lambda operations: operations.limit_key(key, rate))
        typer.echo(f"{key} has {f'{requests:,} requests in any {window:,} s' if rate else 'the limit of its tier'}.")

    return group


def _described(key: FoundKey) -> str:
    """Say what a key is and whose."""
    owner = in_one_line(", ".join(filter(None, [key.display_name, key.contact_email])) or "no profile")
    times = {
        "created": key.created_at,
        "last used": key.last_used_at,
        "expires": key.expires_at,
        "revoked": key.revoked_at,
    }
    told = "\n".join(f"  {name:10} {format_time(moment)}" for name, moment in times.items() if moment)
    return (
        f"{key.key_prefix}_… is secret {key.version} of {key.id}\n"
        f"  {'name':10} {in_one_line(key.name)}\n"
        f"  {'of':10} {key.developer_id} ({owner})\n"
        f"{told}"
    )
