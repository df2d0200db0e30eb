"""How long a client is ready to wait, as its headers say it."""

import re

from server.transcoding.violation import Faults, InvalidRequest

GRPC_TIMEOUT = "grpc-timeout"
SERVER_TIMEOUT = "x-server-timeout"

_GRPC = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def timeout_of(grpc_timeout: bytes | None, server_timeout: bytes | None) -> float | None:
    """Return the seconds a client waits, the smaller where it names two, None where none; zero has passed at once.

    `grpc-timeout` is as in gRPC over HTTP/2: up to 8 digits and a unit; `X-Server-Timeout` is in decimal seconds.
    Raises `InvalidRequest` naming each header that is neither.
    """
    faults = Faults()
    asked: list[float] = []
    if grpc_timeout is not None:
        parts = _GRPC.fullmatch(grpc_timeout)
        if parts is None:
            faults.add(GRPC_TIMEOUT, "must be one number of up to 8 digits and a unit (H, M, S, m, u, n)")
        else:
            asked.append(int(parts[1]) * _UNITS[parts[2]])
    if server_timeout is not None:
        if _SECONDS.fullmatch(server_timeout) is None:
            faults.add(SERVER_TIMEOUT, "must be one number of seconds such as 2.5")
        else:
            asked.append(float(server_timeout))
    if faults:
        raise InvalidRequest(faults)
    return min(asked, default=None)
