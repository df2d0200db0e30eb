"""The commands `gateway` and `openapi`. They read their words, run what does it, and print.

Neither reads the environment or needs a database.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, NoReturn

import orjson
import typer

from server import logs
from server.gateway.app import Settings, running
from server.gateway.catalogue import link, openapi_json
from server.gateway.files import CannotLearn
from server.gateway.parameters import ErrorWords, Faults, TlsOptions, options_of, settings_of, upstream_of
from server.gateway.reflection import describe
from server.gateway.upstream import Upstream, open_channel
from server.transcoding.app import Options, Transcoder
from server.transcoding.router import Route
from server.transcoding.template import REST, STAR

Run = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a command's work to its end."""
Refuse = Callable[[Sequence[str]], NoReturn]
"""Ends a command that cannot begin, naming every fault."""

_DEFAULTS = Options()


class UnknownQuery(Enum):
    """What becomes of a query parameter that is no field of the request."""

    REFUSE = "refuse"
    IGNORE = "ignore"


UpstreamOption = Annotated[str, typer.Option(metavar="HOST:PORT", help="The gRPC server, which has reflection.")]
TlsOption = Annotated[bool, typer.Option("--tls", help="Speak TLS with the upstream.")]
CaOption = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="FILE", help="Authorities to trust, in PEM, in place of the usual.")
]
CertOption = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="The certificate to show, in PEM.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, in PEM.")]
AuthorityOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The upstream's name in place of HOST, also in its certificate.")
]
ServiceOption = Annotated[
    list[str] | None, typer.Option("--service", metavar="NAME", help="Serve only these, by full name; may be repeated.")
]

ListenOption = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to serve REST.")]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--allow-header", metavar="NAME", help="A request header to pass on; may be repeated."),
]
OriginOption = Annotated[
    list[str] | None,
    typer.Option("--cors-origin", metavar="ORIGIN", help="An origin whose pages may call; may be repeated."),
]
BodyOption = Annotated[int, typer.Option(metavar="BYTES", help="The largest request body.")]
TimeoutOption = Annotated[float, typer.Option(metavar="SECONDS", help="The longest that a unary call may take.")]
QueryOption = Annotated[UnknownQuery, typer.Option(help="What becomes of query parameters that are no fields.")]
DomainOption = Annotated[
    str, typer.Option(metavar="DOMAIN", help="The google.rpc.ErrorInfo domain whose reasons are the errors' codes.")
]
ReasonOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reason-status", metavar="REASON=STATUS", help="The HTTP status of a reason of that domain; may be repeated."
    ),
]
DetailOption = Annotated[
    list[str] | None,
    typer.Option("--hide-detail", metavar="TYPE", help="A message type of error details to hide; may be repeated."),
]


def gateway_commands(
    *, run: Run, say: Callable[[str], None], refuse: Refuse, asked_to_stop: Callable[[], asyncio.Event]
) -> Mapping[str, Callable[..., None]]:
    """Make the commands, by their names."""
    return {"gateway": _gateway(run, say, refuse, asked_to_stop), "openapi": _openapi(run, say, refuse)}


def _gateway(
    run: Run, say: Callable[[str], None], refuse: Refuse, asked_to_stop: Callable[[], asyncio.Event]
) -> Callable[..., None]:
    def gateway(  # noqa: PLR0913, PLR0917 - one for each option
        upstream: UpstreamOption,
        listen: ListenOption = "127.0.0.1:8080",
        tls: TlsOption = False,
        tls_ca: CaOption = None,
        tls_cert: CertOption = None,
        tls_key: KeyOption = None,
        authority: AuthorityOption = None,
        service: ServiceOption = None,
        allow_header: HeaderOption = None,
        cors_origin: OriginOption = None,
        max_body: BodyOption = _DEFAULTS.max_body,
        timeout: TimeoutOption = _DEFAULTS.timeout,
        unknown_query: QueryOption = UnknownQuery.REFUSE,
        error_domain: DomainOption = "",
        reason_status: ReasonOption = None,
        hide_detail: DetailOption = None,
    ) -> None:
        """Serve REST for a gRPC server: its google.api.http rules, learned from its reflection."""
        faults = Faults()
        server = upstream_of(upstream, TlsOptions(tls, tls_ca, tls_cert, tls_key, authority), service or (), faults)
        options = options_of(
            headers=allow_header or (),
            max_body=max_body,
            timeout=timeout,
            errors=ErrorWords(error_domain, reason_status or (), hide_detail or ()),
            ignores_unknown_query=unknown_query is UnknownQuery.IGNORE,
            faults=faults,
        )
        settings = settings_of(server, listen, options, cors_origin or (), faults)
        if faults:
            refuse(faults)
        logs.configure()
        run(_serve(settings, say, asked_to_stop))

    return gateway


def _openapi(run: Run, say: Callable[[str], None], refuse: Refuse) -> Callable[..., None]:
    def openapi(
        upstream: UpstreamOption,
        tls: TlsOption = False,
        tls_ca: CaOption = None,
        tls_cert: CertOption = None,
        tls_key: KeyOption = None,
        authority: AuthorityOption = None,
        service: ServiceOption = None,
    ) -> None:
        """Print the OpenAPI 3.1 document of a gRPC server's google.api.http rules, learned from its reflection."""
        faults = Faults()
        server = upstream_of(upstream, TlsOptions(tls, tls_ca, tls_cert, tls_key, authority), service or (), faults)
        if faults:
            refuse(faults)
        run(_print_openapi(server, say))

    return openapi


async def _serve(settings: Settings, say: Callable[[str], None], asked_to_stop: Callable[[], asyncio.Event]) -> None:
    stop = asked_to_stop()

    def welcome(address: str, transcoder: Transcoder) -> None:
        say(_welcome(settings.upstream.address, address, transcoder.routes))

    try:
        async with running(settings, welcome=welcome, tell=say) as address:
            say(f"Serving REST on http://{address} as soon as the gRPC server at {settings.upstream.address} is there.")
            await stop.wait()
            say("Stopping: calls in flight may finish.")
    except OSError as fault:
        raise OSError(f"--listen: {fault}") from None


async def _print_openapi(upstream: Upstream, say: Callable[[str], None]) -> None:
    async with open_channel(upstream) as channel:
        try:
            document = openapi_json(link(await describe(channel, upstream.services)), orjson.OPT_INDENT_2)
        except CannotLearn as fault:
            typer.echo(str(fault), err=True)
            raise typer.Exit(1) from None
    say(document.decode())


def _welcome(upstream: str, address: str, routes: Sequence[Route]) -> str:
    """Say what is served where, and give a line to paste."""
    services = sorted({route.rpc.containing_service.full_name for route in routes})
    return (
        "Ready.\n"
        f"  REST      http://{address}  (description: /openapi.json)\n"
        f"  upstream  {upstream}\n"
        f"  routes    {len(routes)}, of {', '.join(services)}\n"
        "\nPaste this into another terminal:\n"
        f"\n{_curl(address, routes)}\n"
    )


def _curl(address: str, routes: Sequence[Route]) -> str:
    """Write a call of the simplest route: reading before writing, and few variables."""
    route = min(routes, key=lambda each: (each.verb != "GET", len(each.template.variables)))
    segments = [{STAR: "1", REST: "1"}.get(segment, segment) for segment in route.template.segments]
    verb = f":{route.template.verb}" if route.template.verb else ""
    method = "" if route.verb == "GET" else f"-X {quote(route.verb)} "
    body = " --json '{}'" if route.body else ""
    # The verb and the path are the upstream's words, and this is for a shell.
    url = quote(f"http://{address}/{'/'.join(segments)}{verb}")
    return f"curl -sS {method}{url}{body}"
