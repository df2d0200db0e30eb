"""Parse and validate: what stands between a caller's bytes and a handler. All violations are reported.

Handlers are registered without a deserializer, because grpc.aio answers UNKNOWN with a class name for bytes that do not
parse, and because callers are authenticated before their bytes are looked at. In process a request is a callable that
decodes itself when it is wanted.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import protovalidate
from google.protobuf.message import DecodeError, Message

from server.errors import InvalidRequest, Violation
from server.rpc.call import Call, current_call

RequestT = TypeVar("RequestT", bound=Message)
Encoded = bytes | Callable[[], RequestT]
Handler = Callable[[RequestT, Any], Awaitable[Message]]

_IDEMPOTENCY_HEADER = "Idempotency-Key"
_validator = protovalidate.Validator()


def validated(
    request_type: type[RequestT], handler: Handler[RequestT]
) -> Callable[[Encoded[RequestT], Any], Awaitable[Message]]:
    """Wrap a handler so that it only gets messages that obey their `buf.validate` rules; else InvalidRequest."""
    has_request_id = "request_id" in request_type.DESCRIPTOR.fields_by_name

    async def handle(encoded: Encoded[RequestT], context: Any) -> Message:
        request = _parse(request_type, encoded)
        renamed = _adopt_idempotency_key(request, current_call()) if has_request_id else {}
        violations = _validator.collect_violations(request)
        if violations:
            raise InvalidRequest([_violation(violation, renamed) for violation in violations])
        return await handler(request, context)

    return handle


def _parse(request_type: type[RequestT], encoded: Encoded[RequestT]) -> RequestT:
    if not isinstance(encoded, bytes):
        return encoded()
    try:
        return request_type.FromString(encoded)
    except DecodeError:
        sentence = f"is no {request_type.DESCRIPTOR.full_name} in the protobuf wire format"
        raise InvalidRequest([Violation("request", sentence)]) from None


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


def _violation(violation: protovalidate.Violation, renamed: dict[str, str]) -> Violation:
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None and element.subscript.field == "index":
            path += f"[{element.subscript.value}]"
    return Violation(renamed.get(path, path), violation.proto.message or "is not valid")
