"""JSON read into a message, with what is wrong with it."""

from typing import Any

from server.transcoding.codec.document import parse_document
from server.transcoding.codec.message import Codecs, MessageCodec
from server.transcoding.violation import Faults, Refused
from tests.unit.transcoding.kitchen import compile_proto, pool_of


def attempt(codec: MessageCodec, body: str | bytes) -> tuple[Any, list[tuple[str, str]]]:
    """Read a message and return it with the faults."""
    faults = Faults()
    message = codec.message_class()
    try:
        codec.read(message, parse_document(body.encode() if isinstance(body, str) else body), faults)
    except Refused as refusal:
        faults.add("body", str(refusal))
    return message, list(faults)


def codec_of(proto: str, name: str) -> MessageCodec:
    """Compile one file and return the codec of one of its messages."""
    return Codecs().of(pool_of(compile_proto(proto)).FindMessageTypeByName(name))


def same(left: Any, right: Any) -> bool:
    """Compare messages by their bytes, so that NaN equals itself."""
    return bool(left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True))
