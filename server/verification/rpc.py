"""VerificationService over gRPC: convert, judge, convert."""

import math
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from grpc.aio import ServicerContext
from sdk.developer.v1 import api_key_pb2
from sdk.verification.v1 import verdict_pb2
from sdk.verification.v1.verification_service_pb2 import (
    BatchVerifyApiKeysResponse,
    Check,
    StreamVerifyApiKeysResponse,
    VerifyApiKeyResponse,
)

from server.rpc.validation import reads_bytes
from server.times import format_time
from server.verification.cache import Entry
from server.verification.questions import QuestionReader
from server.verification.service import Answer, VerificationService, month_ends_at
from server.verification.verdict import Verdict

Context = ServicerContext[Any, Any]


def _length_delimited(message: type[Message], field: str) -> bytes:
    """Return the tag of a field that holds a message (wire type 2), which takes one byte up to number 15."""
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | 2])


_ENVIRONMENTS = {"live": api_key_pb2.API_KEY_ENVIRONMENT_LIVE, "test": api_key_pb2.API_KEY_ENVIRONMENT_TEST}
_VERDICTS = {verdict: verdict_pb2.Verdict.Value(f"VERDICT_{verdict.name}") for verdict in Verdict}
_RESPONSES = _length_delimited(BatchVerifyApiKeysResponse, "responses")
_RESPONSE = _length_delimited(StreamVerifyApiKeysResponse, "response")
_DEVELOPER_WINDOW = 1  # the place of the shared window among an entry's claims


class VerificationRpc:
    """The three methods. Requests arrive parsed and validated, callers authenticated.

    Answers are returned as bytes: what is the same in every answer about a key is serialised once, and protobuf merges
    what is put together (its encoding guide: the last value of a field counts, messages are merged).
    """

    def __init__(self, verification: VerificationService) -> None:
        self._verification = verification
        self._questions = QuestionReader()

    @reads_bytes
    async def VerifyApiKey(self, encoded: bytes, context: Context) -> bytes:
        """Judge one key."""
        return _encoded(await self._verification.verify(self._questions.read(encoded)))

    @reads_bytes
    async def BatchVerifyApiKeys(self, encoded: bytes, context: Context) -> bytes:
        """Judge several keys."""
        answers = await self._verification.verify_all(self._questions.read_batch(encoded))
        return b"".join([_nested(_RESPONSES, _encoded(answer)) for answer in answers])

    @reads_bytes
    async def StreamVerifyApiKeys(self, encoded: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Judge keys as they come, each after the one before."""
        async for each in encoded:
            presented = self._questions.read_streamed(each)
            yield _nested(_RESPONSE, _encoded(await self._verification.verify(presented)))


def _encoded(answer: Answer) -> bytes:
    """Serialise an answer as a VerifyApiKeyResponse."""
    message = VerifyApiKeyResponse()
    message.verdict = answer.verdict.value  # type: ignore[assignment]  # the numbers are the same
    entry, decision = answer.entry, answer.decision
    if decision is not None:
        rate = message.rate_limit
        rate.limit = decision.limit
        rate.remaining = decision.remaining
        rate.reset_at = math.ceil(time.time() + decision.reset_seconds)
        rate.retry_after = math.ceil(decision.retry_seconds)
        rate.shared = decision.tightest == _DEVELOPER_WINDOW
    if entry is None:
        message.checks.extend(_checks(answer))
        return message.SerializeToString()
    if answer.quota_left is not None:
        quota = message.quota
        quota.limit = entry.key.monthly_quota or 0
        quota.remaining = answer.quota_left
        quota.reset_at = _month_end()
    if answer.checks:
        message.checks.extend(_checks(answer))
    return _described(entry) + message.SerializeToString()


def _checks(answer: Answer) -> Iterator[Check]:
    return (Check(verdict=_VERDICTS[verdict], passed=passed) for verdict, passed in answer.checks)


def _described(entry: Entry) -> bytes:
    """Serialise what is the same in every answer about a key, once for each entry."""
    if entry.rendered is None:
        key = entry.key
        entry.rendered = VerifyApiKeyResponse(
            key_id=key.key_id,
            developer_id=key.developer_id,
            environment=_ENVIRONMENTS[key.environment],
            scopes=sorted(key.scopes),
            key_prefix=key.key_prefix,
            secret_version=key.secret_version,
            secret_expires_at=format_time(key.secret_expires_at),
            secret_retired_at=format_time(key.secret_retired_at),
            expires_at=format_time(key.expires_at),
        ).SerializeToString()
    return entry.rendered


def _nested(tag: bytes, message: bytes) -> bytes:
    """Make a message the value of another one's field: its tag, its length as a varint, itself."""
    length, size = bytearray(), len(message)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return tag + length + message


class _Month:
    """The end of the current month (UTC) in Unix seconds, worked out once a month."""

    ends_at = 0

    def __call__(self) -> int:
        if time.time() >= self.ends_at:
            self.ends_at = int(month_ends_at(datetime.now(UTC)).timestamp())
        return self.ends_at


_month_end = _Month()
