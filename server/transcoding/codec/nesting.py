"""Which types of messages lie below which."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor


def types_within(descriptor: Descriptor) -> Iterator[Descriptor]:
    """Yield a message type and every one that can lie below it, once each."""
    seen = {descriptor.full_name}
    ahead = [descriptor]
    while ahead:
        kind = ahead.pop()
        yield kind
        for field in kind.fields:
            if field.message_type is not None and field.message_type.full_name not in seen:
                seen.add(field.message_type.full_name)
                ahead.append(field.message_type)
