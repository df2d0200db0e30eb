"""The gRPC server behind the gateway: where it is, how it is trusted, and the channel to it."""

from dataclasses import dataclass

import grpc
import grpc.aio

MAXIMUM_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of one message of the upstream's, its descriptors among them."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # the time that one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 5 * 60_000 + 30_000),  # servers that set no limit of their own bear one in 5 minutes
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.enable_http_proxy", 0),  # whatever the environment says: the operator named the server to call
    ("grpc.use_local_subchannel_pool", 1),  # a second gateway in the process has its own connection and back-off
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM contents: the authorities to trust (None for those of gRPC), and the certificate to show with its key."""

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """`address` is HOST:PORT. `authority` is the name to call it by, which its certificate must then have.

    `services` are the full names of those to serve; none means all that reflection lists.
    """

    address: str
    tls: Tls | None = None
    authority: str | None = None
    services: tuple[str, ...] = ()


def open_channel(upstream: Upstream) -> grpc.aio.Channel:
    """Make the channel. It connects when it is first used, and again after every loss."""
    options: list[tuple[str, str | int]] = [*_OPTIONS]
    if upstream.authority is not None:
        options.append(("grpc.default_authority", upstream.authority))
    if upstream.tls is None:
        return grpc.aio.insecure_channel(upstream.address, options)
    if upstream.authority is not None:
        options.append(("grpc.ssl_target_name_override", upstream.authority))
    tls = upstream.tls
    credentials = grpc.ssl_channel_credentials(tls.authorities, tls.key, tls.certificate)
    return grpc.aio.secure_channel(upstream.address, credentials, options)
