"""One route, ready: how its requests are bound, in which form its responses are wanted and how they are written."""

from typing import Any, NamedTuple

import orjson

from server.transcoding.binding import Binding
from server.transcoding.codec.message import Codecs
from server.transcoding.codec.wellknown import HTTP_BODY
from server.transcoding.media import Form, Kind, stream_form, unary_form
from server.transcoding.options import Options
from server.transcoding.router import Route
from server.transcoding.violation import Refusal

_JSON_TYPE = b"application/json"
_PROTOBUF_TYPE = b"application/x-protobuf"
_ANY_TYPE = b"application/octet-stream"
_UNARY = "application/json or application/x-protobuf"
_STREAMED = "application/x-ndjson, text/event-stream or application/json"


class Written(NamedTuple):
    """A response message as it goes out."""

    body: bytes
    content_type: bytes


class Endpoint:
    """What the transcoder knows of a route before any request comes."""

    __slots__ = ("_field", "_json", "_speaks_protobuf", "binding", "is_raw", "route", "streams")

    def __init__(self, route: Route, codecs: Codecs, options: Options) -> None:
        output, name = route.rpc.output_type, route.response_body
        field = output.fields_by_name[name] if name else None
        value_type = output if field is None else field.message_type
        singular = field is None or not field.is_repeated
        self.route = route
        self.streams: bool = route.rpc.client_streaming or route.rpc.server_streaming
        self.binding = Binding(route, codecs, ignores_unknown_query=options.ignores_unknown_query)
        self.is_raw = singular and value_type is not None and value_type.full_name == HTTP_BODY
        """Whether responses have bytes and a type of their own."""
        self._field = name
        self._speaks_protobuf = singular and value_type is not None
        self._json = codecs.of(output).fields[name].value if name else codecs.form(output).write

    def takes(self, kind: Kind) -> bool:
        """Tell whether a body of this kind can be a request: lines where the client streams, else one document.

        Where it is raw bytes, any kind can.
        """
        if self.route.rpc.client_streaming:
            return kind is Kind.LINES or self.binding.is_raw
        return kind is not Kind.LINES and self.binding.takes(kind)

    def form_for(self, accept: bytes) -> Form:
        """Choose the form of the responses. Raises `Refusal` (406)."""
        if self.is_raw:
            return Form.JSON  # for errors
        streams = self.route.rpc.server_streaming
        form = stream_form(accept) if streams else unary_form(accept)
        if form is None:
            offered = _STREAMED if streams else _UNARY
            raise Refusal(406, "NOT_ACCEPTABLE", f"The answer can be {offered}; the Accept header takes none of these.")
        return form

    def write(self, message: Any, form: Form) -> Written:
        """Write one response message; every form but protobuf is made of JSON."""
        if self.is_raw:
            return _raw(getattr(message, self._field) if self._field else message)
        if form is Form.PROTOBUF and self._speaks_protobuf:
            value = getattr(message, self._field) if self._field else message
            return Written(type(value).SerializeToString(value), _PROTOBUF_TYPE)
        return Written(orjson.dumps(self._json(message)), _JSON_TYPE)


def _raw(message: Any) -> Written:
    """Write a `google.api.HttpBody`; a type that cannot be a header is told as unknown bytes."""
    text: str = message.content_type
    usable = text.isascii() and text.isprintable() and text.strip() != ""
    return Written(message.data, text.encode("ascii") if usable else _ANY_TYPE)
