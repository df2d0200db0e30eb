"""Questions as they arrive, read fast: services ask the same about ever different keys.

In a VerifyApiKeyRequest as every library writes it the key comes first, so what follows is the same bytes again and
again, but for the address of the key's user. It is parsed and validated once. protobuf merges what is put together, so
a key of plain ASCII in front of bytes that were valid, and hold no key themselves, is a valid message again.
"""

import re
from contextlib import suppress

from google.protobuf.message import DecodeError
from sdk.developer.v1 import api_key_pb2
from sdk.verification.v1.verification_service_pb2 import (
    CONSISTENCY_FRESH,
    BatchVerifyApiKeysRequest,
    StreamVerifyApiKeysRequest,
    VerifyApiKeyRequest,
)

from server.errors import InvalidRequest
from server.rpc.validation import parse_valid
from server.verification.model import Presented, Question

_REMEMBERED = 4096
_LONGEST = 256
_BATCH = 100  # the rule of BatchVerifyApiKeysRequest
_ADDRESS = re.compile(rb"[0-9A-Fa-f.:]{0,45}")  # the rule of `client_ip`
_ADDRESS_FIELD = 0x22  # number 4, length-delimited
_FIRST_FIELD = 0x0A  # number 1, length-delimited: `api_key`, and `request` of a stream's messages
_ONE_BYTE_LENGTHS = 0x80
_ENVIRONMENTS = {api_key_pb2.API_KEY_ENVIRONMENT_LIVE: "live", api_key_pb2.API_KEY_ENVIRONMENT_TEST: "test"}


class QuestionReader:
    """Reads requests. `InvalidRequest` when they break a rule."""

    def __init__(self) -> None:
        self._known: dict[bytes, Question] = {}

    def read(self, encoded: bytes) -> Presented:
        """Read a VerifyApiKeyRequest."""
        key, rest = _split(encoded)
        rest, address = _without_address(rest)
        question = self._known.get(rest)
        if key and question is not None and _ADDRESS.fullmatch(address):
            return Presented(key.decode(), question, address.decode())
        presented = presented_by(parse_valid(VerifyApiKeyRequest, encoded))
        is_as_split = presented.text == key.decode() and presented.client_ip == address.decode(errors="replace")
        if key and is_as_split and len(rest) <= _LONGEST and _holds_neither(rest):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[rest] = presented.question
        return presented

    def read_batch(self, encoded: bytes) -> list[Presented]:
        """Read a BatchVerifyApiKeysRequest."""
        parts = _parts(encoded)
        if 1 <= len(parts) <= _BATCH:
            with suppress(InvalidRequest):  # told below, with the place where it is
                return [self.read(part) for part in parts]
        return [presented_by(each) for each in parse_valid(BatchVerifyApiKeysRequest, encoded).requests]

    def read_streamed(self, encoded: bytes) -> Presented:
        """Read a StreamVerifyApiKeysRequest."""
        parts = _parts(encoded)
        if len(parts) == 1:
            with suppress(InvalidRequest):
                return self.read(parts[0])
        return presented_by(parse_valid(StreamVerifyApiKeysRequest, encoded).request)


def presented_by(request: VerifyApiKeyRequest) -> Presented:
    """Convert a valid request."""
    return Presented(
        request.api_key,
        Question(
            required_scopes=tuple(request.required_scopes),
            environment=_ENVIRONMENTS.get(request.environment, ""),
            operation=request.operation,
            cost=request.cost or 1,
            fresh=request.consistency == CONSISTENCY_FRESH,
            explain=request.explain,
        ),
        request.client_ip,
    )


def _split(encoded: bytes) -> tuple[bytes, bytes]:
    """Split off the key, where it comes first and is short and plain; else it is empty."""
    if len(encoded) > 1 and encoded[0] == _FIRST_FIELD and encoded[1] < _ONE_BYTE_LENGTHS:
        end = 2 + encoded[1]
        key = encoded[2:end]
        if len(encoded) >= end and key.isascii():
            return key, encoded[end:]
    return b"", encoded


def _parts(encoded: bytes) -> list[bytes]:
    """Split a message that is nothing but its first field, a message of up to 16 KiB, again and again; else empty."""
    parts = []
    position, end = 0, len(encoded)
    while position + 2 < end:
        size, start = encoded[position + 1], position + 2
        if size >= _ONE_BYTE_LENGTHS:
            size, start = size - _ONE_BYTE_LENGTHS + encoded[start] * _ONE_BYTE_LENGTHS, start + 1
            if encoded[start - 1] >= _ONE_BYTE_LENGTHS:
                return []
        if encoded[position] != _FIRST_FIELD or start + size > end:
            return []
        parts.append(encoded[start : start + size])
        position = start + size
    return parts if position == end else []


def _without_address(rest: bytes) -> tuple[bytes, bytes]:
    """Take `client_ip` out, which every user of a key has another of; empty where there is none or it is unusual."""
    position, end = 0, len(rest)
    while position + 1 < end:
        tag, size = rest[position], rest[position + 1]
        if tag >= _ONE_BYTE_LENGTHS or size >= _ONE_BYTE_LENGTHS or tag & 7 not in (0, 2):
            break
        after = position + 2 + (size if tag & 7 else 0)
        if tag == _ADDRESS_FIELD:
            return (rest[:position] + rest[after:], rest[position + 2 : after]) if after <= end else (rest, b"")
        position = after
    return rest, b""


def _holds_neither(rest: bytes) -> bool:
    """Tell whether what is left of a request holds neither a key nor an address, of which the last one would count."""
    try:
        fields = VerifyApiKeyRequest.FromString(rest).ListFields()
    except DecodeError:
        return False
    return not any(field.name in ("api_key", "client_ip") for field, _ in fields)
