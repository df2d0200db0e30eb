"""Parse and validate: what stands between a caller's bytes and a handler. All violations are reported.

Handlers are registered without a deserializer, because grpc.aio answers UNKNOWN with a class name for bytes that do not
parse, and because callers are authenticated before their bytes are looked at. In process a request is a callable that
decodes itself when it is wanted.
"""

import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import protovalidate
from google.protobuf.message import DecodeError, Message

from server.errors import InvalidRequest, Violation
from server.rpc.call import Call, current_call

RequestT = TypeVar("RequestT", bound=Message)
HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
Encoded = bytes | Callable[[], RequestT]
Handler = Callable[[RequestT, Any], Awaitable[Message]]

_IDEMPOTENCY_HEADER = "Idempotency-Key"
_THOROUGHLY_JUDGED_BYTES = 16 * 1024
_validator = protovalidate.Validator()


def validated(
    request_type: type[RequestT], handler: Handler[RequestT]
) -> Callable[[Encoded[RequestT], Any], Awaitable[Message]]:
    """Wrap a handler so that it only gets messages that obey their `buf.validate` rules; else InvalidRequest."""
    fields = request_type.DESCRIPTOR.fields
    texts = [field.name for field in fields if field.type == field.TYPE_STRING and not field.is_repeated]
    has_request_id = "request_id" in texts

    async def handle(encoded: Encoded[RequestT], context: Any) -> Message:
        request = _parse(request_type, encoded)
        _normalise(request, texts)
        renamed = _adopt_idempotency_key(request, current_call()) if has_request_id else {}
        # The first fault of a huge request is enough: telling thousands would take seconds.
        violations = find_violations(request, fail_fast=request.ByteSize() > _THOROUGHLY_JUDGED_BYTES)
        if violations:
            raise InvalidRequest([_renamed(violation, renamed) for violation in violations])
        try:
            return await handler(request, context)
        except InvalidRequest as refusal:
            if not renamed:
                raise
            raise InvalidRequest([_renamed(violation, renamed) for violation in refusal.violations]) from None

    return handle


def validated_stream(
    request_type: type[RequestT], handler: Callable[[AsyncIterator[RequestT], Any], AsyncIterator[Message]]
) -> Callable[[AsyncIterator[bytes], Any], AsyncIterator[Message]]:
    """Wrap a handler of streams both ways so that each message it gets obeys its rules; else InvalidRequest."""

    async def requests(encoded: AsyncIterator[bytes]) -> AsyncIterator[RequestT]:
        async for each in encoded:
            yield parse_valid(request_type, each)

    async def handle(encoded: AsyncIterator[bytes], context: Any) -> AsyncIterator[Message]:
        async for response in handler(requests(encoded), context):
            yield response

    return handle


def reads_bytes(handler: HandlerT) -> HandlerT:
    """Mark a handler that is called too often for all this: it gets bytes, and asks `parse_valid` when in doubt."""
    handler.reads_bytes = True  # type: ignore[attr-defined]
    return handler


def parse_valid(request_type: type[RequestT], encoded: bytes) -> RequestT:
    """Read a message that obeys its rules.

    Raises:
        InvalidRequest: it does not, or the bytes are no such message.
    """
    request = _parse(request_type, encoded)
    violations = find_violations(request, fail_fast=len(encoded) > _THOROUGHLY_JUDGED_BYTES)
    if violations:
        raise InvalidRequest(violations)
    return request


def find_violations(message: Message, *, fail_fast: bool = False) -> list[Violation]:
    """Judge a message by its `buf.validate` rules; `fail_fast` stops at the first fault."""
    return [_violation(violation) for violation in _validator.collect_violations(message, fail_fast=fail_fast)]


def _parse(request_type: type[RequestT], encoded: Encoded[RequestT]) -> RequestT:
    if not isinstance(encoded, bytes):
        return encoded()
    try:
        return request_type.FromString(encoded)
    except DecodeError:
        sentence = f"is no {request_type.DESCRIPTOR.full_name} in the protobuf wire format"
        raise InvalidRequest([Violation("request", sentence)]) from None


def _normalise(request: Any, texts: Sequence[str]) -> None:
    """Bring text to NFC before it is measured: how a keyboard composes its letters is not the caller's concern."""
    for field in texts:
        text = getattr(request, field)
        if not text.isascii():
            setattr(request, field, unicodedata.normalize("NFC", text))


def _adopt_idempotency_key(request: Any, call: Call) -> dict[str, str]:
    """Take the request id from the header where the message has none; return how violations must name the field.

    The header's value may be quoted, as the structured field of draft-ietf-httpapi-idempotency-key-header.
    """
    values = {value.strip().strip('"').lower() for value in call.header_values(_IDEMPOTENCY_HEADER.lower())}
    if not values:
        return {}
    if "" in values:
        raise InvalidRequest([Violation(_IDEMPOTENCY_HEADER, "must be a UUID; leave the header out for no retries")])
    given = {request.request_id.lower()} if request.request_id else set()
    if len(values | given) > 1:
        raise InvalidRequest(
            [Violation(_IDEMPOTENCY_HEADER, "differs from request_id or was sent twice: send one value")]
        )
    request.request_id = values.pop()
    return {"request_id": _IDEMPOTENCY_HEADER}


def _violation(violation: protovalidate.Violation) -> Violation:
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None and element.subscript.field == "index":
            path += f"[{element.subscript.value}]"
    return Violation(path, violation.proto.message or "is not valid")


def _renamed(violation: Violation, renamed: dict[str, str]) -> Violation:
    return Violation(renamed.get(violation.field, violation.field), violation.description)
