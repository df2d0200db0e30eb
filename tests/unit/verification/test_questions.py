"""Reading questions fast must never mean reading them differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk.developer.v1 import api_key_pb2
from sdk.verification.v1.verification_service_pb2 import (
    CONSISTENCY_FRESH,
    BatchVerifyApiKeysRequest,
    StreamVerifyApiKeysRequest,
    VerifyApiKeyRequest,
)

from server.errors import InvalidRequest
from server.rpc.validation import parse_valid
from server.verification import questions
from server.verification.model import Presented, Question
from server.verification.questions import QuestionReader, presented_by

requests = st.builds(
    VerifyApiKeyRequest,
    api_key=st.text(max_size=140) | st.just("ang_live_4fGh1JkL_x"),
    required_scopes=st.lists(st.sampled_from(["read", "stream", ""]), max_size=3),
    environment=st.sampled_from([0, 1, 2, 7]),
    client_ip=st.sampled_from(["", "192.0.2.1", "::1", "nowhere"]),
    operation=st.sampled_from(["", "catalog.search", "a b"]),
    cost=st.sampled_from([0, 1, 7, 10_001]),
    explain=st.booleans(),
    consistency=st.sampled_from([0, 1, 2, 9]),
)


def slowly(encoded: bytes) -> Presented | None:
    """Read a request the plain way; None when it is refused."""
    try:
        return presented_by(parse_valid(VerifyApiKeyRequest, encoded))
    except InvalidRequest:
        return None


def fast(reader: QuestionReader, encoded: bytes) -> Presented | None:
    try:
        return reader.read(encoded)
    except InvalidRequest:
        return None


@given(st.lists(requests, min_size=1, max_size=6))
def test_a_reader_with_memory_reads_what_one_without_reads(messages: list[VerifyApiKeyRequest]) -> None:
    reader = QuestionReader()
    for message in messages * 2:
        encoded = message.SerializeToString()
        assert fast(reader, encoded) == slowly(encoded)


@given(st.lists(st.lists(requests, min_size=1, max_size=3), min_size=1, max_size=4), st.binary(max_size=4))
def test_messages_put_together_in_any_way_are_read_alike(parts: list[list[VerifyApiKeyRequest]], junk: bytes) -> None:
    """Doubled keys, keys in other places, cut ends: whatever protobuf accepts or refuses."""
    reader = QuestionReader()
    for part in parts:
        encoded = b"".join(message.SerializeToString() for message in part)
        for each in (encoded, encoded + b"\x0a\x00", encoded[:-1], encoded + junk, b"\x0a\x03abc" + encoded) * 2:
            assert fast(reader, each) == slowly(each)


@given(st.lists(requests, max_size=4), st.sampled_from([b"", b"\x0a", b"\x0a\x00", b"\x12\x01a", b"\x0a\x80\x01"]))
def test_a_batch_is_read_as_its_parts_are(messages: list[VerifyApiKeyRequest], junk: bytes) -> None:
    reader = QuestionReader()
    encoded = BatchVerifyApiKeysRequest(requests=messages).SerializeToString() + junk
    for _ in range(2):
        try:
            expected: object = [presented_by(each) for each in parse_valid(BatchVerifyApiKeysRequest, encoded).requests]
        except InvalidRequest as refusal:
            expected = refusal.violations
        try:
            read: object = reader.read_batch(encoded)
        except InvalidRequest as refusal:
            read = refusal.violations
        assert read == expected


def test_a_batch_of_too_many_is_refused() -> None:
    many = BatchVerifyApiKeysRequest(requests=[VerifyApiKeyRequest(api_key="x")] * 101).SerializeToString()

    with pytest.raises(InvalidRequest):
        QuestionReader().read_batch(many)


def test_the_same_question_about_another_key_and_user_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = QuestionReader()
    wish = VerifyApiKeyRequest(api_key="one", operation="a", client_ip="::1", consistency=CONSISTENCY_FRESH)
    reader.read(wish.SerializeToString())
    monkeypatch.delattr(questions, "parse_valid")
    wish.api_key, wish.client_ip = "another", "2001:db8::7"

    presented = reader.read(wish.SerializeToString())

    assert presented == Presented("another", Question(operation="a", fresh=True), "2001:db8::7")


def test_a_streamed_question_is_the_same_question() -> None:
    wish = VerifyApiKeyRequest(api_key="one", environment=api_key_pb2.API_KEY_ENVIRONMENT_LIVE, cost=7)
    reader = QuestionReader()

    for text in ("one", "two", "x" * 200):
        wish.api_key = text
        streamed = StreamVerifyApiKeysRequest(request=wish).SerializeToString()
        assert reader.read_streamed(streamed) == Presented(text, Question(environment="live", cost=7))
    with pytest.raises(InvalidRequest):
        reader.read_streamed(b"")


def test_its_memory_is_bounded() -> None:
    reader = QuestionReader()

    for number in range(10_000):
        reader.read(VerifyApiKeyRequest(api_key="one", operation=f"o{number}").SerializeToString())

    assert len(reader._known) <= 4096
