"""Questions as they arrive, read fast: services ask the same about ever different keys.

In a VerifyApiKeyRequest as every library writes it the key comes first, so what follows is the same bytes again and
again. It is parsed and validated once. protobuf merges what is put together, so a key of plain ASCII in front of bytes
that were valid, and hold no key themselves, is a valid message again.
"""

from google.protobuf.message import DecodeError
from sdk.developer.v1 import api_key_pb2
from sdk.verification.v1.verification_service_pb2 import (
    CONSISTENCY_FRESH,
    StreamVerifyApiKeysRequest,
    VerifyApiKeyRequest,
)

from server.rpc.validation import parse_valid
from server.verification.model import Presented, Question

_REMEMBERED = 4096
_LONGEST = 256
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
        question = self._known.get(rest)
        if key and question is not None:
            return Presented(key.decode(), question)
        request = parse_valid(VerifyApiKeyRequest, encoded)
        presented = presented_by(request)
        if key and presented.text == key.decode() and len(rest) <= _LONGEST and _holds_no_key(rest):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[rest] = presented.question
        return presented

    def read_streamed(self, encoded: bytes) -> Presented:
        """Read a StreamVerifyApiKeysRequest."""
        size = len(encoded) - 2
        if size > 0 and encoded[0] == _FIRST_FIELD and encoded[1] == size < _ONE_BYTE_LENGTHS:
            return self.read(encoded[2:])
        return presented_by(parse_valid(StreamVerifyApiKeysRequest, encoded).request)


def presented_by(request: VerifyApiKeyRequest) -> Presented:
    """Convert a valid request."""
    return Presented(
        request.api_key,
        Question(
            required_scopes=tuple(request.required_scopes),
            environment=_ENVIRONMENTS.get(request.environment, ""),
            client_ip=request.client_ip,
            operation=request.operation,
            cost=request.cost or 1,
            fresh=request.consistency == CONSISTENCY_FRESH,
            explain=request.explain,
        ),
    )


def _split(encoded: bytes) -> tuple[bytes, bytes]:
    """Split off the key, where it comes first and is short and plain; else it is empty."""
    if len(encoded) > 1 and encoded[0] == _FIRST_FIELD and encoded[1] < _ONE_BYTE_LENGTHS:
        end = 2 + encoded[1]
        key = encoded[2:end]
        if len(encoded) >= end and key.isascii():
            return key, encoded[end:]
    return b"", encoded


def _holds_no_key(rest: bytes) -> bool:
    try:
        return not any(field.name == "api_key" for field, _ in VerifyApiKeyRequest.FromString(rest).ListFields())
    except DecodeError:
        return False
