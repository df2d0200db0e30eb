"""The settings: the only reader of the environment, once, into frozen objects. Every fault is named at once."""

import ipaddress
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from server.identity.discovery import check_issuer_url, check_url
from server.identity.service_tokens import ServiceTokens
from server.keys.model import Environment
from server.limits.model import Rate
from server.limits.script import WindowScript
from server.peppers import Peppers
from server.web.cors import check_origins

_MUST_BE_HTTPS = (
    "DEVELOPER_OAUTH_ISSUER",
    "DEVELOPER_OAUTH_JWKS_URL",
    "DEVELOPER_UPSTREAM_ISSUER",
    "DEVELOPER_LEAK_REPORT_KEYS_URL",
)
MAXIMUM_GRACE_SECONDS = 30 * 24 * 3600
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. IPv6 literals stand in brackets in the text form."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `HOST:PORT`.

        Raises:
            ValueError: the text has another shape.
        """
        host, _, port = text.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be HOST:PORT, e.g. 127.0.0.1:8080 or [::1]:8080")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _read_with(parse: Callable[[str], Any]) -> Any:
    """Make a validator that parses text and passes what is parsed already."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _parse_list(parse: Callable[[str], Any]) -> Any:
    return _read_with(lambda text: tuple(parse(part.strip()) for part in text.split(",") if part.strip()))


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https URL without query and fragment")
    return text.strip()


def _public_url(text: str) -> str:
    url = _url(text)
    if urlsplit(url).path.strip("/"):
        raise ValueError("must have no path: the service is the whole of its origin")
    return url.rstrip("/")


def _issuer(text: str) -> str:
    check_issuer_url(text.strip())
    return text.strip()


def _jwks_url(text: str) -> str:
    check_url(text.strip())
    return text.strip()


def _dsn(text: str) -> str:
    try:
        known = urlsplit(text.strip()).scheme in ("postgresql", "postgres") and urlsplit(text.strip()).port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database")
    return text.strip()


def _valkey_url(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        place = parts.path if parts.scheme == "unix" else parts.hostname
        known = bool(place) and parts.scheme in ("valkey", "valkeys", "redis", "rediss", "unix") and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ValueError("must be a URL such as valkey://user:password@host:6379/0 or unix:///run/valkey.sock")
    WindowScript(text.strip())  # the client's own judgement
    return text.strip()


def _origin(text: str) -> str:
    try:
        check_origins([text])
    except ValueError:
        raise ValueError("must be exact origins, e.g. https://portal.example.com") from None
    return text


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("must be IP networks, e.g. 10.0.0.0/8,fd00::/8") from None


ListenAddress = Annotated[Address, NoDecode, _read_with(Address.parse)]
Url = Annotated[str, _read_with(_url)]
Dsn = Annotated[str, _read_with(_dsn)]
ValkeyUrl = Annotated[str, _read_with(_valkey_url)]


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix="DEVELOPER_", env_ignore_empty=True, arbitrary_types_allowed=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the process environment (tests may pass values), and no files."""
        return (init_settings, env_settings)


class Listen(_FromEnvironment):
    """The four addresses."""

    grpc_address: ListenAddress = Address("127.0.0.1", 50051)
    internal_grpc_address: ListenAddress = Address("127.0.0.1", 50052)
    http_address: ListenAddress = Address("127.0.0.1", 8080)
    metrics_address: ListenAddress = Address("127.0.0.1", 9090)


class Settings(_FromEnvironment):
    """Everything but the addresses; the table in README.md says what each one means."""

    database_url: Dsn | None = Field(None, validation_alias="DATABASE_URL", repr=False)
    database_direct_url: Dsn | None = Field(None, validation_alias="DATABASE_DIRECT_URL", repr=False)
    database_pooler: Literal["transaction"] | None = Field(None, validation_alias="DATABASE_POOLER")
    pg_bin: Path | None = Field(None, validation_alias="PG_BIN")
    data_dir: Path = Path(".data")
    mode: Literal["development", "production"] | None = None
    oauth_issuer: Annotated[str | None, _read_with(_issuer)] = None
    oauth_audience: str | None = None
    oauth_jwks_url: Annotated[str | None, _read_with(_jwks_url)] = None
    oauth_token_profile: Literal["rfc9068", "jwt"] = "rfc9068"  # noqa: S105 - a profile, no password
    oauth_client_ids: Annotated[tuple[str, ...] | None, NoDecode, _parse_list(str)] = None
    key_environment: Environment | None = None
    key_peppers: Annotated[Peppers | None, NoDecode, _read_with(Peppers.parse)] = None
    key_pepper_current: int | None = None
    rotation_grace_seconds: int = Field(3600, ge=0, le=MAXIMUM_GRACE_SECONDS)
    auto_register: bool | None = None
    management_rate: Annotated[Rate, NoDecode, _read_with(Rate.parse)] = Rate(120, 60)
    grpc_tls_cert: Path | None = None
    grpc_tls_key: Path | None = None
    grpc_tls_client_ca: Path | None = None
    internal_grpc_tls_cert: Path | None = None
    internal_grpc_tls_key: Path | None = None
    internal_grpc_tls_client_ca: Path | None = None
    internal_tokens: Annotated[ServiceTokens | None, NoDecode, _read_with(ServiceTokens.parse)] = None
    public_url: Annotated[str | None, _read_with(_public_url)] = None
    portal_client_id: str | None = None
    portal_client_secret: SecretStr | None = None
    upstream_issuer: Annotated[str | None, _read_with(_issuer)] = None
    upstream_client_id: str | None = None
    upstream_client_secret: SecretStr | None = None
    terms_version: str = Field("1", min_length=1, max_length=40)
    terms_url: Url | None = None
    leak_report_keys_url: Annotated[str | None, _read_with(_jwks_url)] = None
    leak_policy: Literal["revoke", "notify"] = "revoke"
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, _parse_list(_network)] = ()
    cors_origins: Annotated[tuple[str, ...], NoDecode, _parse_list(_origin)] = ()
    workers: int = Field(1, ge=1)
    valkey_url: ValkeyUrl | None = Field(None, repr=False)

    @property
    def uses_local_issuer(self) -> bool:
        """Whether tokens come from the development issuer, which turns the development defaults on."""
        return self.oauth_issuer is None

    @property
    def shares_ports(self) -> bool:
        """Whether several processes serve on the same ports."""
        return self.workers > 1

    @property
    def is_production(self) -> bool:
        """Whether nothing is forgiven that is so for convenience: with an issuer configured, unless said otherwise."""
        return self.mode == "production" if self.mode else not self.uses_local_issuer

    @property
    def default_environment(self) -> Environment:
        """The environment of a key whose request names none."""
        is_trial = self.uses_local_issuer and not self.is_production
        return self.key_environment or (Environment.TEST if is_trial else Environment.LIVE)

    @property
    def has_portal(self) -> bool:
        """Whether the portal is served: it has to be a client of whoever signs people in."""
        return self.uses_local_issuer or self.portal_client_id is not None

    @property
    def registers_automatically(self) -> bool:
        """Whether a first call registers the token's subject as a developer."""
        is_trial = self.uses_local_issuer and not self.is_production
        return is_trial if self.auto_register is None else self.auto_register


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the environment says: the settings and addresses that could be read, and every fault as a printable line."""

    settings: Settings | None
    listen: Listen | None
    faults: tuple[str, ...]


def read_environment(environment: Mapping[str, str]) -> Reading:
    """Read all settings; what the faults say never repeats a value, which may be a secret."""
    listen, address_faults = _read(Listen)
    settings, setting_faults = _read(Settings)
    together = _faults_between({name.upper(): value for name, value in environment.items() if value.strip()})
    faults = (*address_faults, *setting_faults, *together)
    return Reading(settings=settings, listen=listen, faults=faults)


def _read(kind: type[Any]) -> tuple[Any, list[str]]:
    try:
        return kind(), []
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return None, [
            f"{_variable(kind, fault['loc'][0])}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults
        ]


def _variable(kind: type[_FromEnvironment], field: str | int) -> str:
    """Name the environment variable behind a field; pydantic already reports an alias by itself."""
    return f"DEVELOPER_{str(field).upper()}" if field in kind.model_fields else str(field)


def _faults_between(present: Mapping[str, str]) -> list[str]:
    """Judge variables that depend on one another."""
    faults = []
    if "DEVELOPER_OAUTH_ISSUER" in present:
        needed = ("DEVELOPER_OAUTH_AUDIENCE", "DEVELOPER_KEY_PEPPERS", "DATABASE_URL")
        faults += [f"{name}: must be set when DEVELOPER_OAUTH_ISSUER is" for name in needed if name not in present]
    else:
        needless = ("DEVELOPER_OAUTH_AUDIENCE", "DEVELOPER_OAUTH_JWKS_URL")
        faults += [f"{name}: has no meaning without DEVELOPER_OAUTH_ISSUER" for name in needless if name in present]
    if present.get("DATABASE_POOLER") == "transaction" and "DATABASE_DIRECT_URL" not in present:
        faults.append("DATABASE_DIRECT_URL: must be set when DATABASE_POOLER is: a pooler forgets who listens")
    faults += _pepper_faults(present)
    faults += _production_faults(present)
    faults += _sign_in_faults(present)
    for prefix in ("DEVELOPER_GRPC_TLS", "DEVELOPER_INTERNAL_GRPC_TLS"):
        faults += _tls_faults(prefix, present)
    if present.get("DEVELOPER_WORKERS", "1") != "1" and "DEVELOPER_VALKEY_URL" not in present:
        faults.append("DEVELOPER_WORKERS: more than 1 needs DEVELOPER_VALKEY_URL: workers must share their limits")
    faults += _misspelt(present)
    return faults


def _production_faults(present: Mapping[str, str]) -> list[str]:
    """Refuse what is for trials only: plain HTTP to people and issuers, and a pepper that was drawn here."""
    given = {name: value.strip().lower() for name, value in present.items()}
    mode = given.get("DEVELOPER_MODE", "production" if "DEVELOPER_OAUTH_ISSUER" in present else "development")
    if mode != "production":
        return []
    faults = []
    if not given.get("DEVELOPER_PUBLIC_URL", "").startswith("https://"):
        faults.append("DEVELOPER_PUBLIC_URL: must be the https:// address where TLS ends, in production")
    plain = [name for name in _MUST_BE_HTTPS if given.get(name, "").startswith("http:")]
    faults += [f"{name}: must be https:// in production; DEVELOPER_MODE=development is for trials" for name in plain]
    if "DEVELOPER_OAUTH_ISSUER" not in present and "DEVELOPER_TRUSTED_PROXIES" not in present:
        faults.append(
            "DEVELOPER_TRUSTED_PROXIES: must name the proxy that ends TLS, else all who sign in look like one"
        )
    if "DEVELOPER_KEY_PEPPERS" not in present and "DEVELOPER_OAUTH_ISSUER" not in present:
        faults.append("DEVELOPER_KEY_PEPPERS: must be set in production: a pepper belongs into a safe, not beside data")
    return faults


def _sign_in_faults(present: Mapping[str, str]) -> list[str]:
    """Judge who signs people in: an upstream provider for the local issuer, or a client at the configured issuer."""
    external = "DEVELOPER_OAUTH_ISSUER" in present
    upstream = [f"DEVELOPER_UPSTREAM_{part}" for part in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET")]
    portal = ("DEVELOPER_PORTAL_CLIENT_ID", "DEVELOPER_PORTAL_CLIENT_SECRET")
    given = [name for name in upstream if name in present]
    if external:
        faults = [f"{name}: has no meaning with DEVELOPER_OAUTH_ISSUER, which signs people in" for name in given]
        if portal[1] in present and portal[0] not in present:
            faults.append(f"{portal[0]}: must be set when {portal[1]} is")
        return faults
    faults = [f"{name}: has no meaning without DEVELOPER_OAUTH_ISSUER" for name in portal if name in present]
    missing = [name for name in upstream[:2] if given and name not in present]
    return faults + [f"{name}: must be set when {given[0]} is" for name in missing]


def _pepper_faults(present: Mapping[str, str]) -> list[str]:
    """Judge whether the pepper to use is one of those that are there."""
    current, peppers = present.get("DEVELOPER_KEY_PEPPER_CURRENT", ""), present.get("DEVELOPER_KEY_PEPPERS", "")
    versions = {entry.strip().partition(":")[0] for entry in peppers.split(",")}
    is_known = not current or current.strip() in versions
    return [] if is_known else ["DEVELOPER_KEY_PEPPER_CURRENT: must be a version in DEVELOPER_KEY_PEPPERS"]


def _misspelt(present: Mapping[str, str]) -> list[str]:
    """Find variables that are no setting but look like one; others may belong to somebody else."""
    settings = {f"DEVELOPER_{field.upper()}" for kind in (Listen, Settings) for field in kind.model_fields}
    strangers = [name for name in present if name.startswith("DEVELOPER_") and name not in settings]
    found = [(name, get_close_matches(name, settings, n=1, cutoff=0.9)) for name in strangers]
    return [f"{name}: is no setting; did you mean {match[0]}?" for name, match in found if match]


def _tls_faults(prefix: str, present: Mapping[str, str]) -> list[str]:
    """Judge the files of one port: certificate and key go together and fit, and a client CA goes with both."""
    certificate, key, client_ca = (f"{prefix}_{part}" for part in ("CERT", "KEY", "CLIENT_CA"))
    given = [name for name in (certificate, key, client_ca) if name in present]
    missing = [name for name in (certificate, key) if given and name not in present]
    unreadable = [name for name in given if not _readable(Path(present[name]))]
    faults = [f"{name}: must be set when {given[0]} is" for name in missing]
    faults += [f"{name}: cannot be read" for name in unreadable]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if given and not missing and not unreadable:
            context.load_cert_chain(present[certificate], present[key], password="")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        faults.append(f"{certificate}, {key}: must be a PEM certificate and its unencrypted key")
    try:
        if client_ca in given and client_ca not in unreadable:
            context.load_verify_locations(present[client_ca])
    except OSError:
        faults.append(f"{client_ca}: must be PEM certificates")
    return faults


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
