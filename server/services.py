"""The services there are, and the handlers that answer for each."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import orjson
from envoyproxy.envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.descriptor import ServiceDescriptor
from sdk.auth.v1 import auth_service_pb2
from sdk.billing.v1 import billing_service_pb2
from sdk.developer.v1 import developer_service_pb2
from sdk.metering.v1 import metering_service_pb2
from sdk.portal.v1 import (
    account_service_pb2,
    key_secret_service_pb2,
    oauth_client_directory_service_pb2,
    oauth_client_service_pb2,
)
from sdk.usage.v1 import usage_service_pb2
from sdk.verification.v1 import verification_service_pb2

from server.accounts.rpc import AccountRpc
from server.accounts.service import AccountService
from server.audit.service import AuditLog
from server.authorization.model import SCOPES, RegisteredClient
from server.authorization.rpc import AuthService
from server.authorization.service import AuthorizationService
from server.billing.rpc import BillingService
from server.billing.service import Statements
from server.clients.directory.rpc import OAuthClientDirectory
from server.clients.directory.service import ClientDirectory
from server.clients.rpc import OAuthClientService
from server.clients.service import ClientService
from server.config import Settings
from server.engine import Engine
from server.errors import InvalidRequest, Kind, Violation
from server.identity.local_issuer import FIRST_PARTY_CLIENT, LocalIssuer
from server.identity.tokens import TokenVerifier
from server.keys.rpc import DeveloperService
from server.keys.service import KeyService
from server.keys.versions.rpc import KeySecretService
from server.keys.versions.service import VersionService
from server.metering.ledger.rpc import AcquisitionRecorder
from server.metering.ledger.service import StreamLedger
from server.metering.reports import UsageReports
from server.metering.rpc import MeteringService
from server.peppers import Peppers
from server.portal.issuer import PORTAL_CLIENT
from server.rpc.access_log import AccessLog
from server.rpc.chain import Chain
from server.rpc.server import Handlers, service_handlers
from server.rpc.status import DOMAIN
from server.secret import Secret
from server.transcoding.app import Options, Transcoder
from server.transcoding.dispatch import Dispatcher
from server.usage.attention import KeyAttention
from server.usage.rpc import UsageService
from server.usage.service import LimitService
from server.usage.throttling import ThrottlingService
from server.verification.envoy import Authorization
from server.verification.rpc import VerificationRpc
from server.verification.service import VerificationService

AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"]
"""There with the local issuer only; it asks for no access token."""
PUBLIC_SERVICES: tuple[ServiceDescriptor, ...] = (
    developer_service_pb2.DESCRIPTOR.services_by_name["DeveloperService"],
    key_secret_service_pb2.DESCRIPTOR.services_by_name["KeySecretService"],
    oauth_client_service_pb2.DESCRIPTOR.services_by_name["OAuthClientService"],
    account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"],
    billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"],
)
INTERNAL_SERVICES: tuple[ServiceDescriptor, ...] = (
    verification_service_pb2.DESCRIPTOR.services_by_name["VerificationService"],
    metering_service_pb2.DESCRIPTOR.services_by_name["MeteringService"],
    oauth_client_directory_service_pb2.DESCRIPTOR.services_by_name["OAuthClientDirectory"],
    external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"],
)
FIRST_PARTY_SERVICES = ("sdk.portal.v1.AccountService", "sdk.portal.v1.OAuthClientService")
"""With the local issuer these take tokens of `OWN_CLIENTS` only."""
OWN_CLIENTS = (PORTAL_CLIENT, FIRST_PARTY_CLIENT)
OPENAPI = Path(__file__).parent.parent / "gen" / "openapi" / "openapi.json"


class Commons(NamedTuple):
    """What services and pages are made of besides the engine."""

    keys: KeyService
    accounts: AccountService
    authorization: AuthorizationService | None
    """None with an external issuer, which has an authorization server of its own."""


def build_commons(
    settings: Settings, engine: Engine, peppers: Peppers, authorization: AuthorizationService | None, public_url: str
) -> Commons:
    """Make what several services and pages share, with this installation's rules."""
    keys = KeyService(
        engine.databases.main,
        peppers,
        default_environment=settings.default_environment,
        rotation_grace=_grace(settings),
        verifiers=engine.replicas,
    )
    accounts = AccountService(
        engine.databases.main,
        auto_register=settings.registers_automatically,
        terms_version=settings.terms_version,
        terms_url=settings.terms_url or "",
        register_at=f"{public_url}/portal/register" if settings.has_portal else "",
    )
    return Commons(keys, accounts, authorization)


def build_authorization(
    engine: Engine, peppers: Peppers, issuer: LocalIssuer, public_url: str, verifier: TokenVerifier
) -> AuthorizationService:
    """Make the authorization server of an installation that is its own issuer."""
    return AuthorizationService(
        engine.databases.main,
        RegisteredClients(ClientDirectory(engine.databases.main, peppers)),
        issuer,
        issuer_url=public_url,
        verify=verifier.verify,
        first_party=[_portal_client(public_url)],
    )


class RegisteredClients:
    """The developers' clients in the words of the authorization server."""

    def __init__(self, directory: ClientDirectory) -> None:
        self._directory = directory

    async def find(self, client_id: str) -> RegisteredClient | None:
        """Return a client by its id. Raises Unavailable."""
        entry = await self._directory.find(client_id)
        if entry is None:
            return None
        return RegisteredClient(
            id=entry.id,
            name=entry.name,
            developer_name=entry.developer_name,
            is_confidential=entry.is_confidential,
            redirect_uris=entry.redirect_uris,
            allowed_scopes=frozenset(entry.allowed_scopes),
        )

    async def authenticate(self, client_id: str, secret: Secret) -> bool:
        """Tell whether a secret is one of a client's. Raises Unavailable."""
        return await self._directory.authenticate(client_id, secret)


def public_services(settings: Settings) -> tuple[ServiceDescriptor, ...]:
    """Return the services on the public port: that for tokens is there only where tokens are given."""
    return (*PUBLIC_SERVICES, AUTH_SERVICE) if settings.uses_local_issuer else PUBLIC_SERVICES


def build_public_handlers(settings: Settings, engine: Engine, peppers: Peppers, commons: Commons) -> Handlers:
    """Make the handlers of the public services, by the services' names."""
    databases = engine.databases
    versions = VersionService(databases.main, databases.reports, engine.replicas)
    clients = ClientService(databases.main, peppers, rotation_grace=_grace(settings))
    servicers: list[object] = [
        DeveloperService(commons.keys),
        KeySecretService(versions),
        OAuthClientService(clients),
        AccountRpc(commons.accounts, AuditLog(databases.main, peppers)),
        UsageService(
            UsageReports(databases.reports),
            LimitService(databases.main, engine.limiter),
            ThrottlingService(databases.reports, engine.limiter),
            KeyAttention(databases.reports),
        ),
        BillingService(Statements(databases.reports, peppers)),
    ]
    if commons.authorization is not None:
        servicers.append(AuthService(commons.authorization))
    return _handlers(public_services(settings), servicers)


def build_internal_handlers(engine: Engine, peppers: Peppers) -> Handlers:
    """Make the handlers of the internal services, by the services' names."""
    verification = VerificationService(engine.cache, engine.limiter, engine.counters, engine.registry)
    recorder = AcquisitionRecorder(StreamLedger(engine.databases.ledger))
    servicers = [
        VerificationRpc(verification),
        MeteringService(UsageReports(engine.databases.reports), recorder),
        OAuthClientDirectory(ClientDirectory(engine.databases.main, peppers)),
        Authorization(verification),
    ]
    return _handlers(INTERNAL_SERVICES, servicers)


def build_transcoder(settings: Settings, handlers: Handlers, chain: Chain, log: AccessLog) -> Transcoder:
    """Make the REST side of the public services, with our codes where the transcoder has to answer for itself."""
    options = Options(
        domain=DOMAIN,
        reason_statuses={Kind.CONFLICT.value: 409, Kind.OVERLOADED.value: 503},
        codes={
            "NOT_FOUND": Kind.NOT_FOUND.value,
            "METHOD_NOT_ALLOWED": "ERROR_CODE_METHOD_NOT_ALLOWED",
            "PAYLOAD_TOO_LARGE": "ERROR_CODE_PAYLOAD_TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE": "ERROR_CODE_UNSUPPORTED_MEDIA_TYPE",
            "NOT_ACCEPTABLE": "ERROR_CODE_NOT_ACCEPTABLE",
            "HTTP_VERSION_NOT_SUPPORTED": "ERROR_CODE_HTTP_VERSION_NOT_SUPPORTED",
            "INVALID_ARGUMENT": Kind.INVALID_REQUEST.value,
            "INTERNAL": Kind.INTERNAL.value,
            "UNIMPLEMENTED": Kind.UNIMPLEMENTED.value,
        },
        hidden_details=frozenset({"google.rpc.DebugInfo", "google.rpc.RequestInfo"}),  # x-request-id says the latter
        single_headers=("x-api-key", "idempotency-key"),  # of the Authorization header the chain says it, as over gRPC
        bad_request=lambda violations: InvalidRequest([Violation(*violation) for violation in violations]),
        on_refused=lambda status: [(b"x-request-id", log.refused(status).encode("ascii"))],
    )
    return Transcoder(public_services(settings), Dispatcher([*handlers.values()], [chain], options), options)


def openapi_document(settings: Settings, public_url: str) -> bytes:
    """Return the generated OpenAPI document of the services that are there, with this installation's address."""
    document = orjson.loads(OPENAPI.read_bytes())
    tags = {service.name for service in public_services(settings)}
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in tags]
    document["paths"] = {
        path: operations
        for path, operations in document["paths"].items()
        if all(tags.issuperset(operation["tags"]) for operation in operations.values())
    }
    document["servers"] = [{"url": public_url}]
    return orjson.dumps(document)


def _portal_client(public_url: str) -> RegisteredClient:
    """Describe the portal as the client of the local issuer that it is."""
    return RegisteredClient(
        id=PORTAL_CLIENT,
        name="Developer Portal",
        developer_name="",
        is_confidential=False,
        redirect_uris=(f"{public_url}/portal/signed-in",),
        allowed_scopes=frozenset(SCOPES),
        is_first_party=True,
    )


def _grace(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.rotation_grace_seconds)


def _handlers(services: Sequence[ServiceDescriptor], servicers: Sequence[object]) -> Handlers:
    return {
        service.full_name: service_handlers(service, servicer)
        for service, servicer in zip(services, servicers, strict=True)
    }
