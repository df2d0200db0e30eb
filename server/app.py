"""The composition root: the only module that knows every other. It builds, runs and takes down the parts."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import grpc
import orjson
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import CollectorRegistry, ProcessCollector
from sdk.developer.v1 import developer_service_pb2

from server.accounts.interceptor import DeveloperAuthorisation
from server.accounts.service import AccountService
from server.config import Address, Listen, Settings
from server.errors import InvalidRequest, Kind, Violation
from server.identity.interceptor import Authentication
from server.identity.jwks import RemoteKeySet, StaticKeySet
from server.identity.local_issuer import FIRST_PARTY_CLIENT, LocalIssuer
from server.identity.tokens import TokenVerifier
from server.keys.rpc import DeveloperService
from server.keys.secret import MINIMUM_PEPPER_BYTES, Peppers
from server.keys.service import KeyService
from server.limits.interceptor import TokenRateLimit
from server.limits.service import SlidingWindow
from server.postgres.embedded import EmbeddedPostgres
from server.postgres.migrate import check, migrate
from server.postgres.pool import Database
from server.private_file import PrivateFileError, read_or_create
from server.readiness import Readiness
from server.rpc.access_log import AccessLog
from server.rpc.call import Interceptor
from server.rpc.chain import Chain
from server.rpc.concurrency import ConcurrencyLimit
from server.rpc.error_mapping import map_errors
from server.rpc.health import SERVICE as HEALTH
from server.rpc.health import Health
from server.rpc.reflection import SERVICES as REFLECTION
from server.rpc.reflection import reflection_handlers
from server.rpc.server import GrpcServer, Tls, service_handlers
from server.rpc.status import DOMAIN
from server.transcoding.app import Options, Transcoder
from server.web.app import web_app
from server.web.metrics import metrics_app
from server.web.server import HttpServer

LOCAL_ISSUER = "urn:sdk:developer:local-issuer"
LOCAL_AUDIENCE = "urn:sdk:developer"
PUBLIC_SERVICES: tuple[ServiceDescriptor, ...] = (
    developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"],
)
OPENAPI = Path(__file__).parent.parent / "gen" / "openapi" / "openapi.json"

_METHODS = frozenset(
    [f"/{service.full_name}/{method.name}" for service in PUBLIC_SERVICES for method in service.methods]
    + [f"/{HEALTH}/{method}" for method in ("Check", "Watch")]
    + [f"/{service}/ServerReflectionInfo" for service in REFLECTION]
)
_MAXIMUM_CALLS = 512
_DRAIN_SECONDS = 4.0
_SWEEP_SECONDS = 60.0

_log = structlog.get_logger("server.app")


class Addresses(NamedTuple):
    """Where a running server really listens, as HOST:PORT; of use when port 0 was asked for."""

    grpc: str
    internal_grpc: str
    http: str
    metrics: str


def local_issuer(settings: Settings) -> LocalIssuer:
    """Open the development issuer, whose key is made on the first use."""
    return LocalIssuer.open(settings.data_dir, issuer=LOCAL_ISSUER, audience=LOCAL_AUDIENCE)


def build_peppers(settings: Settings) -> Peppers:
    """Take the configured peppers or, in development, the one in the data directory, drawn on the first start."""
    if settings.key_peppers is not None:
        return settings.key_peppers
    path = settings.data_dir / "pepper"
    drawn = read_or_create(path, lambda: b"1:" + base64.b64encode(secrets.token_bytes(MINIMUM_PEPPER_BYTES)))
    try:
        return Peppers.parse(drawn.decode(errors="replace").strip())
    except ValueError as error:
        raise PrivateFileError(
            f"{path} holds no peppers: {error}. Restore it: no key can be verified without"
        ) from None


def build_verifier(settings: Settings, issuer: LocalIssuer | None) -> tuple[TokenVerifier, RemoteKeySet | StaticKeySet]:
    """Make the verifier of access tokens and the source of its keys: the configured issuer's, or our own."""
    if issuer is not None:
        own = StaticKeySet(issuer.jwks())
        clients = frozenset(settings.oauth_client_ids or [FIRST_PARTY_CLIENT])
        return TokenVerifier(issuer=LOCAL_ISSUER, audience=LOCAL_AUDIENCE, keys=own, client_ids=clients), own
    remote = RemoteKeySet(issuer=settings.oauth_issuer or "", jwks_url=settings.oauth_jwks_url)
    verifier = TokenVerifier(
        issuer=settings.oauth_issuer or "",
        audience=settings.oauth_audience or "",
        keys=remote,
        profile=settings.oauth_token_profile,
        client_ids=frozenset(settings.oauth_client_ids) if settings.oauth_client_ids else None,
    )
    return verifier, remote


def build_chains(
    settings: Settings, database: Database, verifier: TokenVerifier, registry: CollectorRegistry, realm: str
) -> tuple[Chain, Chain]:
    """Put the links around every call in the order of docs/architecture.md: the public port's, the internal port's."""
    accounts = AccountService(database, auto_register=settings.registers_automatically)
    outer: list[Interceptor] = [AccessLog(registry, _METHODS), map_errors]
    inner: list[Interceptor] = [
        ConcurrencyLimit(_MAXIMUM_CALLS),  # not around health and reflection, whose streams anyone may hold open
        Authentication(verifier.verify, realm),
        TokenRateLimit(SlidingWindow(settings.management_rate)),
        DeveloperAuthorisation(accounts),
    ]
    open_services = [HEALTH, *REFLECTION]
    return (
        Chain(outer=outer, inner=inner, open_services=open_services),
        Chain(outer=outer, inner=[], open_services=open_services),
    )


def build_transcoder(handlers: Sequence[grpc.GenericRpcHandler], chain: Chain) -> Transcoder:
    """Make the REST side of the public services, with our codes where the transcoder has to answer for itself."""
    options = Options(
        domain=DOMAIN,
        reason_statuses={Kind.CONFLICT.value: 409, Kind.OVERLOADED.value: 503},
        codes={
            "NOT_FOUND": Kind.NOT_FOUND.value,
            "METHOD_NOT_ALLOWED": "ERROR_CODE_METHOD_NOT_ALLOWED",
            "PAYLOAD_TOO_LARGE": "ERROR_CODE_PAYLOAD_TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE": "ERROR_CODE_UNSUPPORTED_MEDIA_TYPE",
            "INVALID_ARGUMENT": Kind.INVALID_REQUEST.value,
            "INTERNAL": Kind.INTERNAL.value,
            "UNIMPLEMENTED": Kind.UNIMPLEMENTED.value,
        },
        bad_request=lambda violations: InvalidRequest([Violation(*violation) for violation in violations]),
    )
    return Transcoder(PUBLIC_SERVICES, handlers, [chain], options)


def openapi_document(public_url: str) -> bytes:
    """Return the generated OpenAPI document with this installation's address as its server."""
    document = orjson.loads(OPENAPI.read_bytes())
    document["servers"] = [{"url": public_url}]
    return orjson.dumps(document)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[tuple[Database, Database]]:
    """Open the configured database, or start the embedded one and bring it up to date; close both in the end.

    The second pool is one connection for probes, so that a busy service does not look like a dead database.

    Raises:
        SchemaError: the configured database's schema is not that of this code.
        Unavailable: the database cannot be reached.
    """
    async with AsyncExitStack() as stack:
        dsn = settings.database_url
        if dsn is None:
            embedded = EmbeddedPostgres(settings.data_dir / "postgres", bin_dir=settings.pg_bin)
            dsn = await embedded.start()
            stack.push_async_callback(embedded.stop)
            await migrate(dsn)
        pooled = settings.database_pooler == "transaction"
        database, probe = Database(dsn, transaction_pooler=pooled), Database(dsn, size=1, transaction_pooler=pooled)
        for pool in (database, probe):
            await pool.open()
            stack.push_async_callback(pool.close)
        await check(database)
        yield database, probe


def build_keys(settings: Settings, database: Database, peppers: Peppers) -> KeyService:
    """Make the key service with this installation's rules."""
    return KeyService(
        database,
        peppers,
        default_environment=settings.default_environment,
        rotation_grace=timedelta(seconds=settings.rotation_grace_seconds),
    )


def build_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Make the TLS settings of a port, None for plaintext; that files belong together was checked before."""
    return Tls(certificate=certificate, key=key, client_ca=client_ca) if certificate and key else None


def build_public_grpc(
    settings: Settings, address: Address, chain: Chain, handlers: Sequence[grpc.GenericRpcHandler], health: Health
) -> GrpcServer:
    """Make the gRPC server for developers: our services, health and reflection."""
    tls = build_tls(settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    shown = [*(service.full_name for service in PUBLIC_SERVICES), HEALTH]
    handlers = [*handlers, health.handlers(), *reflection_handlers(shown)]
    return GrpcServer(chain, handlers, address.host, address.port, tls)


def build_internal_grpc(settings: Settings, address: Address, chain: Chain, health: Health) -> GrpcServer:
    """Make the gRPC server for internal services: health and reflection, until verification and metering come."""
    tls = build_tls(
        settings.internal_grpc_tls_cert, settings.internal_grpc_tls_key, settings.internal_grpc_tls_client_ca
    )
    handlers = [health.handlers(), *reflection_handlers([HEALTH])]
    return GrpcServer(chain, handlers, address.host, address.port, tls)


@asynccontextmanager
async def running(settings: Settings, listen: Listen) -> AsyncIterator[Addresses]:
    """Run the whole service; on leaving, drain calls in flight for some seconds and take everything down.

    Raises:
        OSError: an address cannot be listened on.
        PrivateFileError: a secret of the data directory cannot be used.
        SchemaError, Unavailable: as `open_database`.
    """
    async with AsyncExitStack() as stack:
        peppers = build_peppers(settings)
        issuer = local_issuer(settings) if settings.uses_local_issuer else None
        verifier, signing_keys = build_verifier(settings, issuer)
        signing_keys.start()
        stack.push_async_callback(signing_keys.close)
        database, probe = await stack.enter_async_context(open_database(settings))
        keys = build_keys(settings, database, peppers)

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        public_url = settings.public_url or f"http://{listen.http_address}"
        chain, internal_chain = build_chains(settings, database, verifier, registry, public_url)
        handlers = [service_handlers(service, DeveloperService(keys)) for service in PUBLIC_SERVICES]
        health = Health([service.full_name for service in PUBLIC_SERVICES])
        readiness = build_readiness(probe, signing_keys, health)
        web = web_app(
            build_transcoder(handlers, chain),
            ready=readiness.snapshot,
            openapi=openapi_document(public_url),
            jwks=issuer.jwks() if issuer else None,
            cors_origins=settings.cors_origins,
            trusted_proxies=settings.trusted_proxies,
        )
        servers: list[GrpcServer | HttpServer] = [
            build_public_grpc(settings, listen.grpc_address, chain, handlers, health),
            build_internal_grpc(settings, listen.internal_grpc_address, internal_chain, health),
            HttpServer(web, listen.http_address.host, listen.http_address.port),
            HttpServer(metrics_app(registry), listen.metrics_address.host, listen.metrics_address.port),
        ]
        await readiness.probe()
        await stack.enter_async_context(_serving(servers, readiness))
        await stack.enter_async_context(_in_background(readiness.watch(), _sweep(keys)))
        yield Addresses(*(server.address for server in servers))


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


@asynccontextmanager
async def _in_background(*work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run endless work beside the block and cancel it on leaving."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sweep(keys: KeyService) -> None:
    """Once a minute erase what must not outlive its time; an outage only delays it: reads judge age themselves."""
    while True:
        try:
            await keys.sweep()
        except Exception as fault:
            _log.warning("sweep_failed", fault=type(fault).__name__)
        await asyncio.sleep(_SWEEP_SECONDS)
