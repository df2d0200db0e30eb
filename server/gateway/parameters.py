"""The words of the commands, read: every fault is named with its option and what would be right."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from server.gateway.app import Settings
from server.gateway.upstream import Tls, Upstream
from server.transcoding.options import Options, may_come_in
from server.web.cors import check_origins

_LARGEST_BODY = 1024**3
_LONGEST_SECONDS = 24 * 3600.0
_DEFAULTS = Options()
_REASON_STATUS = re.compile(r"(\w+)=([45]\d\d)", re.ASCII)
_TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)

Read = TypeVar("Read")


class TlsOptions(NamedTuple):
    """`--tls` and what goes with it, as typed."""

    tls: bool = False
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    authority: str | None = None


class ErrorWords(NamedTuple):
    """What becomes of the upstream's error details, as typed."""

    domain: str = ""
    reason_statuses: Sequence[str] = ()
    hidden_details: Sequence[str] = ()


class Faults(list[str]):
    """What is wrong with the options, one line each."""

    def read(self, option: str, reading: Callable[[], Read], instead: Read) -> Read:
        """Return what `reading` gives; on ValueError or OSError note the fault and return `instead`."""
        try:
            return reading()
        except ValueError as fault:
            self.append(f"{option}: {fault}")
        except OSError as fault:
            self.append(f"{option}: cannot read {fault.filename}: {fault.strerror}")
        return instead


class Place(NamedTuple):
    """A host and a port."""

    host: str
    port: int


def place(text: str, *, smallest: int) -> Place:
    """Read HOST:PORT. Raises ValueError for another shape and for a port below `smallest`."""
    host, _, digits = text.strip().rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else -1
    if not host or bare or "/" in host or not smallest <= port <= 65535:
        raise ValueError("must be HOST:PORT, e.g. 127.0.0.1:50051 or [::1]:50051")
    return Place(host, port)


def upstream_of(address: str, words: TlsOptions, services: Sequence[str], faults: Faults) -> Upstream:
    """Read where the upstream is and how it is trusted."""
    host, port = faults.read("--upstream", lambda: place(address, smallest=1), Place("", 0))
    return Upstream(
        address=f"{host}:{port}",
        tls=_tls(words, faults),
        authority=words.authority,
        services=tuple(services),
    )


def settings_of(
    upstream: Upstream, listen: str, options: Options, cors_origins: Sequence[str], faults: Faults
) -> Settings:
    """Read where to listen and who may call from a browser."""
    host, port = faults.read("--listen", lambda: place(listen, smallest=0), Place("", 0))
    faults.read("--cors-origin", lambda: check_origins(cors_origins), None)
    return Settings(upstream=upstream, host=host, port=port, options=options, cors_origins=tuple(cors_origins))


def options_of(
    *,
    headers: Sequence[str],
    max_body: int,
    timeout: float,
    errors: ErrorWords,
    ignores_unknown_query: bool,
    faults: Faults,
) -> Options:
    """Read how requests are transcoded."""
    allowed = tuple(name.lower() for name in headers)
    if refused := [name for name in allowed if not may_come_in(name)]:
        faults.append(f"--allow-header: {refused[0]!r} cannot come in from a client; leave it out")
    if not 1 <= max_body <= _LARGEST_BODY:
        faults.append(f"--max-body: must be 1 to {_LARGEST_BODY} bytes")
    if not 0 < timeout <= _LONGEST_SECONDS:  # a NaN is neither
        faults.append(f"--timeout: must be more than 0 and at most {_LONGEST_SECONDS:.0f} seconds")
    statuses: Mapping[str, int] = faults.read("--reason-status", lambda: _reason_statuses(errors), {})
    faults.read("--hide-detail", lambda: _check_types(errors.hidden_details), None)
    if faults:
        return _DEFAULTS
    return Options(
        request_headers=tuple(dict.fromkeys((*_DEFAULTS.request_headers, *allowed))),
        max_body=max_body,
        timeout=timeout,
        domain=errors.domain,
        reason_statuses=statuses,
        hidden_details=_DEFAULTS.hidden_details.union(errors.hidden_details),
        ignores_unknown_query=ignores_unknown_query,
    )


def _reason_statuses(errors: ErrorWords) -> Mapping[str, int]:
    read = [(text, _REASON_STATUS.fullmatch(text)) for text in errors.reason_statuses]
    if bad := [text for text, match in read if match is None]:
        raise ValueError(f"{bad[0]!r} must be REASON=STATUS with a status of 400 to 599, e.g. OUT_OF_STOCK=409")
    if read and not errors.domain:
        raise ValueError("is for the reasons of one domain; add --error-domain")
    return {match[1]: int(match[2]) for _, match in read if match is not None}


def _check_types(names: Sequence[str]) -> None:
    if bad := [name for name in names if not _TYPE.fullmatch(name)]:
        raise ValueError(f"{bad[0]!r} must be the full name of a message type, e.g. google.rpc.RequestInfo")


def _tls(words: TlsOptions, faults: Faults) -> Tls | None:
    given = {"--tls-ca": words.authorities, "--tls-cert": words.certificate, "--tls-key": words.key}
    if not words.tls:
        faults += [f"{option}: is for TLS; add --tls" for option, path in given.items() if path]
        return None
    if (words.certificate is None) != (words.key is None):
        lacking, other = ("--tls-cert", "--tls-key") if words.certificate is None else ("--tls-key", "--tls-cert")
        faults.append(f"{lacking}: is missing; it goes together with {other}")
    return Tls(
        authorities=_pem("--tls-ca", words.authorities, _check_certificates, faults),
        certificate=_pem("--tls-cert", words.certificate, _check_certificates, faults),
        key=_pem("--tls-key", words.key, _check_key, faults),
    )


def _pem(option: str, path: Path | None, check: Callable[[bytes], None], faults: Faults) -> bytes | None:
    def checked() -> bytes | None:
        if path is None:
            return None
        content = path.read_bytes()
        check(content)
        return content

    return faults.read(option, checked, None)


def _check_certificates(content: bytes) -> None:
    try:
        load_pem_x509_certificates(content)
    except ValueError:
        raise ValueError("must be a file of certificates in PEM") from None


def _check_key(content: bytes) -> None:
    try:
        load_pem_private_key(content, password=None)
    except (ValueError, TypeError):
        raise ValueError("must be a file with a private key in PEM, not encrypted") from None
