"""The codec alone: how long a filled ApiKey takes from JSON bytes to a message, and back."""

import time
from collections.abc import Callable
from statistics import median

import orjson
from google.protobuf import json_format
from sdk.developer.v1.api_key_pb2 import API_KEY_ENVIRONMENT_LIVE, API_KEY_STATUS_ACTIVE, ApiKey

from bench.report import Result, progress, spread
from server.transcoding.codec.document import parse_document
from server.transcoding.codec.message import Codecs
from server.transcoding.violation import Faults

_GOAL = "<= 8.0"
_ROUNDS, _TIMES = 20, 2_000

_KEY = ApiKey(
    id="key_01jd0v4wz8e9fbq5n3m7k2x6ra",
    name="Production",
    key_prefix="ang_live_4fGh1JkL",
    status=API_KEY_STATUS_ACTIVE,
    scopes=["read", "stream"],
    created_at="2026-01-01T00:00:00.123456Z",
    last_used_at="2026-02-03T04:05:06.789012Z",
    expires_at="2027-01-01T00:00:00Z",
    environment=API_KEY_ENVIRONMENT_LIVE,
)


def codec() -> list[Result]:
    """Time both directions beside protobuf's own `json_format`, which does the same less strictly."""
    progress("codec alone")
    own = Codecs().of(ApiKey.DESCRIPTOR)
    text = orjson.dumps(own.write(_KEY))

    def read() -> ApiKey:
        message, faults = ApiKey(), Faults()
        own.read(message, parse_document(text), faults)
        return message

    def write() -> bytes:
        return orjson.dumps(own.write(_KEY))

    if read() != _KEY or json_format.Parse(write(), ApiKey()) != _KEY:
        raise RuntimeError("the codec made another message")
    return [
        _compared("ApiKey, JSON to message", read, lambda: json_format.Parse(text, ApiKey())),
        _compared("ApiKey, message to JSON", write, lambda: json_format.MessageToJson(_KEY, indent=None)),
    ]


def _compared(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> Result:
    pairs = [(_microseconds(ours), _microseconds(theirs)) for _ in range(_ROUNDS)]
    return Result(
        what=f"{what} / json_format: us",
        ours=f"{median([mine for mine, _ in pairs]):.1f}",
        bare=f"{median([other for _, other in pairs]):.1f}",
        ratio=spread([other / mine for mine, other in pairs]),
        goal=_GOAL,
    )


def _microseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(_TIMES):
        work()
    return (time.perf_counter() - started) / _TIMES * 1e6
