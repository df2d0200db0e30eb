"""The composition root: the only module that knows every other. It builds, runs and takes down the parts."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import grpc
import orjson
import structlog
from envoyproxy.envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.descriptor import ServiceDescriptor
from sdk.developer.v1 import developer_service_pb2
from sdk.metering.v1 import metering_service_pb2
from sdk.usage.v1 import usage_service_pb2
from sdk.verification.v1 import verification_service_pb2

from server.accounts.interceptor import DeveloperAuthorisation
from server.accounts.service import AccountService
from server.config import Address, Listen, Settings
from server.engine import Engine, in_background, open_engine
from server.errors import InvalidRequest, Kind, Violation
from server.identity.interceptor import Authentication
from server.identity.jwks import RemoteKeySet, StaticKeySet
from server.identity.local_issuer import FIRST_PARTY_CLIENT, LocalIssuer
from server.identity.service_tokens import CallerAuthentication
from server.identity.tokens import TokenVerifier
from server.keys.rpc import DeveloperService
from server.keys.secret import Peppers
from server.keys.service import KeyService
from server.keys.verifiers import Verifiers
from server.limits.interceptor import TokenRateLimit
from server.metering.ledger.rpc import AcquisitionRecorder
from server.metering.ledger.service import StreamLedger
from server.metering.reports import UsageReports
from server.metering.rpc import MeteringService
from server.postgres.pool import Database
from server.provisions import (
    LOCAL_AUDIENCE,
    LOCAL_ISSUER,
    build_internal_tokens,
    build_peppers,
    local_issuer,
)
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
from server.usage.rpc import UsageService
from server.usage.service import LimitService
from server.verification.envoy import Authorization
from server.verification.rpc import VerificationRpc
from server.verification.service import VerificationService
from server.web.app import web_app
from server.web.metrics import metrics_app
from server.web.server import HttpServer

PUBLIC_SERVICES: tuple[ServiceDescriptor, ...] = (
    developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"],
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"],
)
INTERNAL_SERVICES: tuple[ServiceDescriptor, ...] = (
    verification_service_pb2.DESCRIPTOR.services_by_name["VerificationService"],
    metering_service_pb2.DESCRIPTOR.services_by_name["MeteringService"],
    external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"],
)
OPENAPI = Path(__file__).parent.parent / "gen" / "openapi" / "openapi.json"

_METHODS = frozenset(
    [
        f"/{service.full_name}/{method.name}"
        for service in (*PUBLIC_SERVICES, *INTERNAL_SERVICES)
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

_log = structlog.get_logger("server.app")

Handlers = Mapping[str, grpc.GenericRpcHandler]


class Addresses(NamedTuple):
    """Where a running server really listens, as HOST:PORT; of use when port 0 was asked for."""

    grpc: str
    internal_grpc: str
    http: str
    metrics: str = ""
    """Empty for one of several workers, whose metrics their parent shows."""


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


def build_public_chain(
    settings: Settings, engine: Engine, verifier: TokenVerifier, log: AccessLog, realm: str
) -> Chain:
    """Put the links around every management call in the order of docs/architecture.md."""
    accounts = AccountService(engine.databases.main, auto_register=settings.registers_automatically)
    inner: list[Interceptor] = [
        ConcurrencyLimit(_MAXIMUM_CALLS),  # not around health and reflection, whose streams anyone may hold open
        Authentication(verifier.verify, realm),
        TokenRateLimit(engine.limiter, settings.management_rate),
        DeveloperAuthorisation(accounts),
    ]
    return Chain(outer=[log, map_errors], inner=inner, open_services=_OPEN_SERVICES)


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


def build_keys(settings: Settings, database: Database, peppers: Peppers, verifiers: Verifiers) -> KeyService:
    """Make the key service with this installation's rules."""
    return KeyService(
        database,
        peppers,
        default_environment=settings.default_environment,
        rotation_grace=timedelta(seconds=settings.rotation_grace_seconds),
        verifiers=verifiers,
    )


def build_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> Tls | None:
    """Make the TLS settings of a port, None for plaintext; that files belong together was checked before."""
    return Tls(certificate=certificate, key=key, client_ca=client_ca) if certificate and key else None


def build_public_handlers(engine: Engine, keys: KeyService) -> Handlers:
    """Make the handlers of the public services, by the services' names."""
    reports, limits = UsageReports(engine.databases.reports), LimitService(engine.databases.main, engine.limiter)
    servicers = DeveloperService(keys), UsageService(reports, limits)
    return dict(zip(_names(PUBLIC_SERVICES), map(service_handlers, PUBLIC_SERVICES, servicers), strict=True))


def build_internal_handlers(engine: Engine) -> Handlers:
    """Make the handlers of the internal services, by the services' names."""
    verification = VerificationService(engine.cache, engine.limiter, engine.counters, engine.registry)
    recorder = AcquisitionRecorder(StreamLedger(engine.databases.ledger))
    metering = MeteringService(UsageReports(engine.databases.reports), recorder)
    servicers = VerificationRpc(verification), metering, Authorization(verification)
    return dict(zip(_names(INTERNAL_SERVICES), map(service_handlers, INTERNAL_SERVICES, servicers), strict=True))


def build_public_grpc(
    settings: Settings, address: Address, chain: Chain, handlers: Handlers, health: Health
) -> GrpcServer:
    """Make the gRPC server for developers: our services, health and reflection."""
    tls = build_tls(settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_tls_client_ca)
    shown = [*handlers.values(), health.handlers(), *reflection_handlers([*handlers, HEALTH])]
    return GrpcServer(chain, shown, address.host, address.port, tls, reuse_port=settings.shares_ports)


def build_internal_grpc(
    settings: Settings, address: Address, engine: Engine, log: AccessLog, health: Health
) -> GrpcServer:
    """Make the gRPC server for internal services and proxies: verification, metering, health and reflection."""
    tls = build_tls(
        settings.internal_grpc_tls_cert, settings.internal_grpc_tls_key, settings.internal_grpc_tls_client_ca
    )
    handlers = build_internal_handlers(engine)
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
        issuer = local_issuer(settings) if settings.uses_local_issuer else None
        verifier, signing_keys = build_verifier(settings, issuer)
        signing_keys.start()
        stack.push_async_callback(signing_keys.close)
        peppers = build_peppers(settings)
        engine = await stack.enter_async_context(open_engine(settings, peppers))
        keys = build_keys(settings, engine.databases.main, peppers, engine.replicas)

        public_url = settings.public_url or f"http://{listen.http_address}"
        log = AccessLog(engine.registry, _METHODS, _QUIET_METHODS)
        chain = build_public_chain(settings, engine, verifier, log, public_url)
        handlers = build_public_handlers(engine, keys)
        health = Health(_names((*PUBLIC_SERVICES, *INTERNAL_SERVICES)))
        readiness = build_readiness(engine.databases.probe, signing_keys, health)
        web = web_app(
            build_transcoder([*handlers.values()], chain),
            ready=readiness.snapshot,
            openapi=openapi_document(public_url),
            jwks=issuer.jwks() if issuer else None,
            cors_origins=settings.cors_origins,
            trusted_proxies=settings.trusted_proxies,
        )
        servers: list[GrpcServer | HttpServer] = [
            build_public_grpc(settings, listen.grpc_address, chain, handlers, health),
            build_internal_grpc(settings, listen.internal_grpc_address, engine, log, health),
            HttpServer(web, listen.http_address.host, listen.http_address.port, reuse_port=settings.shares_ports),
        ]
        if not settings.shares_ports:
            metrics = metrics_app(engine.registry)
            servers.append(HttpServer(metrics, listen.metrics_address.host, listen.metrics_address.port))
        await readiness.probe()
        await stack.enter_async_context(_serving(servers, readiness))
        await stack.enter_async_context(in_background(readiness.watch(), _sweep(keys)))
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


def _names(services: Sequence[ServiceDescriptor]) -> list[str]:
    return [service.full_name for service in services]


async def _sweep(keys: KeyService) -> None:
    """Once a minute erase what must not outlive its time; an outage only delays it: reads judge age themselves."""
    while True:
        try:
            await keys.sweep()
        except Exception as fault:
            _log.warning("sweep_failed", fault=type(fault).__name__)
        await asyncio.sleep(_SWEEP_SECONDS)
