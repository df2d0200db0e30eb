"""The composition root: the only module that knows every other. It builds, runs and takes down the parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from server.accounts.interceptor import DeveloperAuthorisation
from server.authorization.interceptor import AddressRateLimit, ClientChallenge, FirstPartyOnly, GrantCheck
from server.authorization.service import AuthorizationService
from server.authorization.throttle import AddressLimit
from server.config import Address, Listen, Settings
from server.engine import Engine, in_background, open_engine
from server.identity.interceptor import Authentication
from server.identity.jwks import RemoteKeySet, StaticKeySet
from server.identity.local_issuer import LocalIssuer
from server.identity.service_tokens import CallerAuthentication
from server.identity.tokens import TokenVerifier
from server.keys.service import KeyService
from server.limits.interceptor import TokenRateLimit
from server.limits.model import Rate
from server.portal.issuer import PORTAL_CLIENT
from server.postgres.pool import Database
from server.provisions import (
    LOCAL_AUDIENCE,
    LOCAL_ISSUER,
    build_internal_tokens,
    build_peppers,
    local_issuer,
    public_url,
)
from server.readiness import Readiness
from server.rpc.access_log import AccessLog
from server.rpc.call import Interceptor
from server.rpc.chain import Chain
from server.rpc.concurrency import ConcurrencyLimit
from server.rpc.error_mapping import map_errors
from server.rpc.health import SERVICE as HEALTH
from server.rpc.health import Health
from server.rpc.in_process import InProcessCaller
from server.rpc.reflection import SERVICES as REFLECTION
from server.rpc.reflection import reflection_handlers
from server.rpc.server import GrpcServer, Handlers, Tls
from server.services import (
    AUTH_SERVICE,
    FIRST_PARTY_SERVICES,
    INTERNAL_SERVICES,
    OWN_CLIENTS,
    PUBLIC_SERVICES,
    Commons,
    build_authorization,
    build_commons,
    build_internal_handlers,
    build_public_handlers,
    build_transcoder,
    openapi_document,
)
from server.sessions.service import Sessions
from server.web.app import web_app
from server.web.asgi import App
from server.web.metrics import metrics_app
from server.web.server import HttpServer
from server.website import Surroundings, Website, open_website

_METHODS = frozenset(
    [
        f"/{service.full_name}/{method.name}"
        for service in (*PUBLIC_SERVICES, AUTH_SERVICE, *INTERNAL_SERVICES)
        for method in service.methods
    ]
    + [f"/{HEALTH}/{method}" for method in ("Check", "Watch")]
    + [f"/{service}/ServerReflectionInfo" for service in REFLECTION]
)
_OPEN_SERVICES = (HEALTH, *REFLECTION)
_QUIET_METHODS = frozenset(  # asked for every call that partners make
    [
        "/sdk.verification.v1.VerificationService/VerifyApiKey",
        "/sdk.verification.v1.VerificationService/BatchVerifyApiKeys",
        "/envoy.service.auth.v3.Authorization/Check",
    ]
)
_MAXIMUM_CALLS = 512
_INTERNAL_CALLS = 1000  # at a time on one connection: services and proxies have few connections, and are trusted
_DRAIN_SECONDS = 4.0
_SWEEP_SECONDS = 60.0
_SWEPT_AT_ONCE = 1000
_PORTAL_SHARE = 10
"""How many times as often the portal's tokens may call: one page of it makes several calls."""

_log = structlog.get_logger("server.app")


class Addresses(NamedTuple):
    """Where a running server really listens, as HOST:PORT; of use when port 0 was asked for."""

    grpc: str
    internal_grpc: str
    http: str
    metrics: str = ""
    """Empty for one of several workers, whose metrics their parent shows."""


def build_verifier(
    settings: Settings, issuer: LocalIssuer | None, url: str
) -> tuple[TokenVerifier, RemoteKeySet | StaticKeySet]:
    """Make the verifier of access tokens and the source of its keys: the configured issuer's, or our own at `url`."""
    clients = frozenset(settings.oauth_client_ids) if settings.oauth_client_ids else None
    if issuer is not None:
        own = StaticKeySet(issuer.jwks())
        verifier = TokenVerifier(issuer=url, audience=LOCAL_AUDIENCE, keys=own, client_ids=clients)
        return verifier.call_issuer(LOCAL_ISSUER), own
    remote = RemoteKeySet(issuer=settings.oauth_issuer or "", jwks_url=settings.oauth_jwks_url)
    verifier = TokenVerifier(
        issuer=settings.oauth_issuer or "",
        audience=settings.oauth_audience or "",
        keys=remote,
        profile=settings.oauth_token_profile,
        client_ids=clients,
    )
    return verifier, remote


def build_public_chain(
    settings: Settings, engine: Engine, verifier: TokenVerifier, commons: Commons, log: AccessLog, realm: str
) -> Chain:
    """Put the links around every management call in the order of docs/architecture.md."""
    busy = ConcurrencyLimit(_MAXIMUM_CALLS)  # not around health and reflection, whose streams anyone may hold open
    rate = settings.management_rate
    portal = Rate(min(rate.requests * _PORTAL_SHARE, 999_999_999), rate.seconds)
    inner: list[Interceptor] = [
        busy,
        Authentication(verifier.verify, realm),
        *([GrantCheck(engine.databases.main, realm)] if commons.authorization else []),
        TokenRateLimit(engine.limiter, rate, by_client={settings.portal_client_id or PORTAL_CLIENT: portal}),
        *([FirstPartyOnly(FIRST_PARTY_SERVICES, OWN_CLIENTS)] if commons.authorization else []),
        DeveloperAuthorisation(commons.accounts),
    ]
    return Chain(
        outer=[log, map_errors],
        inner=inner,
        open_services=_OPEN_SERVICES,
        anonymous_services=[AUTH_SERVICE.full_name],
        anonymous=[busy, AddressRateLimit(AddressLimit(engine.limiter)), ClientChallenge(realm)],
    )


def build_internal_chain(settings: Settings, log: AccessLog) -> Chain:
    """Put the links around every call of an internal service."""
    callers = CallerAuthentication(
        build_internal_tokens(settings),
        mutual_tls=settings.internal_grpc_tls_client_ca is not None,
        open_services=_OPEN_SERVICES,
    )
    return Chain(
        outer=[log, map_errors, callers],
        inner=[ConcurrencyLimit(_MAXIMUM_CALLS)],
        open_services=_OPEN_SERVICES,
        names_successes=False,
    )


def build_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Make the TLS settings of a port, None for plaintext; that files belong together was checked before."""
    return Tls(certificate=certificate, key=key, client_ca=client_ca) if certificate and key else None


def build_public_grpc(
    settings: Settings, address: Address, chain: Chain, handlers: Handlers, health: Health
) -> GrpcServer:
    """Make the gRPC server for developers: our services, health and reflection."""
    tls = build_tls(settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    shown = [*handlers.values(), health.handlers(), *reflection_handlers([*handlers, HEALTH])]
    return GrpcServer(chain, shown, address.host, address.port, tls, reuse_port=settings.shares_ports)


def build_internal_grpc(
    settings: Settings, address: Address, handlers: Handlers, log: AccessLog, health: Health
) -> GrpcServer:
    """Make the gRPC server for internal services and proxies: verification, metering, health and reflection."""
    tls = build_tls(
        settings.internal_grpc_tls_cert, settings.internal_grpc_tls_key, settings.internal_grpc_tls_client_ca
    )
    return GrpcServer(
        build_internal_chain(settings, log),
        [*handlers.values(), health.handlers(), *reflection_handlers([*handlers, HEALTH])],
        address.host,
        address.port,
        tls,
        reuse_port=settings.shares_ports,
        calls_per_connection=_INTERNAL_CALLS,
    )


@asynccontextmanager
async def running(settings: Settings, listen: Listen) -> AsyncIterator[Addresses]:
    """Run the whole service; on leaving, drain calls in flight for some seconds and take everything down.

    With more than one worker this is one of them (`workers.py`): it shares its ports and shows no metrics.

    Raises:
        OSError: an address cannot be listened on.
        PrivateFileError: a secret of the data directory cannot be used.
        SchemaError, Unavailable: as `open_databases`.
    """
    async with AsyncExitStack() as stack:
        url = public_url(settings, listen)
        issuer = local_issuer(settings, listen) if settings.uses_local_issuer else None
        verifier, signing_keys = build_verifier(settings, issuer, url)
        signing_keys.start()
        stack.push_async_callback(signing_keys.close)
        peppers = build_peppers(settings)
        engine = await stack.enter_async_context(open_engine(settings, peppers))
        authorization = build_authorization(engine, peppers, issuer, url, verifier) if issuer else None
        commons = build_commons(settings, engine, peppers, authorization, url)

        log = AccessLog(engine.registry, _METHODS, _QUIET_METHODS)
        chain = build_public_chain(settings, engine, verifier, commons, log, url)
        handlers = build_public_handlers(settings, engine, peppers, commons)
        internal = build_internal_handlers(engine, peppers)
        health = Health([*handlers, *internal])
        readiness = build_readiness(engine.databases.probe, signing_keys, health)
        caller, document = InProcessCaller(chain, [*handlers.values()]), openapi_document(settings, url)
        surroundings = Surroundings(authorization, caller, verifier.verify, url, document)
        website = await stack.enter_async_context(open_website(settings, engine, peppers, surroundings))
        transcoder = build_transcoder(settings, handlers, chain, log)
        web = build_web(settings, transcoder, website, readiness, issuer, document)
        servers: list[GrpcServer | HttpServer] = [
            build_public_grpc(settings, listen.grpc_address, chain, handlers, health),
            build_internal_grpc(settings, listen.internal_grpc_address, internal, log, health),
            build_http(settings, listen.http_address, web),
        ]
        if not settings.shares_ports:
            metrics = metrics_app(engine.registry)
            servers.append(HttpServer(metrics, listen.metrics_address.host, listen.metrics_address.port))
        await readiness.probe()
        await stack.enter_async_context(_serving(servers, readiness))
        sweeping = _sweep(commons.keys, website.sessions, authorization)
        await stack.enter_async_context(in_background(readiness.watch(), sweeping))
        yield Addresses(*(server.address for server in servers))


def build_http(settings: Settings, address: Address, web: App) -> HttpServer:
    """Make the HTTP server for pages and REST."""
    return HttpServer(web, address.host, address.port, reuse_port=settings.shares_ports)


def build_web(
    settings: Settings, api: App, website: Website, readiness: Readiness, issuer: LocalIssuer | None, document: bytes
) -> App:
    """Make the root of the HTTP port: pages for people, documents for programs, and the API below `/v1/`."""
    return web_app(
        api,
        ready=readiness.snapshot,
        openapi=document,
        jwks=issuer.jwks() if issuer else None,
        site=website.app,
        site_paths=website.paths,
        cors_origins=settings.cors_origins,
        trusted_proxies=settings.trusted_proxies,
    )


def build_readiness(probe: Database, signing_keys: RemoteKeySet | StaticKeySet, health: Health) -> Readiness:
    """Say what must be there for calls to be answered: the database and the issuer's keys."""

    async def keys_ready() -> bool:
        return signing_keys.ready()

    return Readiness({"database": probe.ready, "signing_keys": keys_ready}, [health])


@asynccontextmanager
async def _serving(servers: Sequence[GrpcServer | HttpServer], readiness: Readiness) -> AsyncIterator[None]:
    """Accept calls; on leaving report "not ready", stop accepting everywhere and let calls in flight end."""
    try:
        for server in servers:
            await server.start()
        yield
    finally:
        await readiness.drain()
        await asyncio.gather(*(server.stop(_DRAIN_SECONDS) for server in servers))


async def _sweep(keys: KeyService, sessions: Sessions, authorization: AuthorizationService | None) -> None:
    """Once a minute erase what must not outlive its time; an outage only delays it: reads judge age themselves."""
    while True:
        try:
            await keys.sweep()
            while await sessions.sweep(_SWEPT_AT_ONCE):
                pass
            if authorization is not None:
                await authorization.sweep()
        except Exception as fault:
            _log.warning("sweep_failed", fault=type(fault).__name__)
        await asyncio.sleep(_SWEEP_SECONDS)
