"""Path, query and body into one request message, and the client's own spelling of its fields.

A value comes from one place: a second one must be equal. Nothing that the client sent is ignored. Empty text is no
value, and neither is a zero in a body where the type does not tell it from an absent field.
"""

import re
from collections.abc import Set
from itertools import islice
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from server.transcoding.codec.document import parse_document
from server.transcoding.codec.message import Codecs
from server.transcoding.codec.required import missing_fields
from server.transcoding.codec.wellknown import HTTP_BODY
from server.transcoding.mask import find_mask
from server.transcoding.media import JSON, Content, Kind
from server.transcoding.parameters import Parameter, UnknownField, parameter, query_pairs, query_text
from server.transcoding.router import Route
from server.transcoding.spelling import find_head, names, spell
from server.transcoding.template import unescape
from server.transcoding.violation import BODY, MAX_VIOLATIONS, Faults, InvalidRequest, Refusal, Refused

_CACHED_PARAMETERS = 256
_NOTHING: Set[str] = frozenset()


class Binding:
    """How the requests of one route become messages; compiled at start.

    With `ignores_unknown_query` a query parameter that names no field is as if it had not been sent.
    """

    def __init__(self, route: Route, codecs: Codecs, *, ignores_unknown_query: bool = False) -> None:
        self.route = route
        self.codec = codecs.of(route.rpc.input_type)
        self._read_whole = codecs.form(route.rpc.input_type).read
        self._field = self.codec.fields.get(route.body)
        self._target = _target(route)
        suspect = self._target is not None and self._target in codecs.search.suspects
        self._search = codecs.search if suspect else None
        self.is_raw = self._target is not None and self._target.full_name == HTTP_BODY
        """Whether the body is bytes of any type."""
        self._variables = [
            (parameter(route.rpc.input_type, variable.field), variable.multiple)
            for variable in route.template.variables
        ]
        self._parameters: dict[str, Parameter] = {}
        self._ignores_unknown_query = ignores_unknown_query
        self._mask = find_mask(route, codecs)
        self._has_required = route.rpc.input_type in codecs.requiring

    def takes(self, kind: Kind) -> bool:
        """Tell whether a body of this kind can be read. Without a body in the rule all can: they must be empty."""
        if self.is_raw or not self.route.body or kind is Kind.JSON:
            return True
        if kind is Kind.LINES:
            return bool(self.route.rpc.client_streaming)
        return kind is Kind.PROTOBUF and self._target is not None

    def bind(self, request: "Request") -> Message:
        """Build the message of a request. Raises `InvalidRequest` with every fault that can be known."""
        faults = Faults()
        message = self.codec.message_class()
        self._read_body(message, request, faults)
        given = self._read_query(message, request, faults) if request.query else _NOTHING
        is_new = not (request.body or self.is_raw)
        for (variable, multiple), raw in zip(self._variables, request.captures, strict=True):
            try:
                text = unescape(raw, keep_slashes=multiple)
                if variable.field not in given and (is_new or not variable.is_set(message)):
                    variable.read(message, text)
                else:
                    _check_variable(variable, message, text)
            except Refused as refusal:
                faults.add(request.spelled(variable.field), str(refusal))
        if self._mask is not None:
            for fault in self._mask.complete(message, request.document):
                faults.add(request.spelled(self._mask.name), fault)
        if self._has_required and not faults:  # else what is missing may be what is at fault
            for path in islice(missing_fields(message), MAX_VIOLATIONS):
                faults.add(request.spelled(path), "is required")
        if faults:
            raise InvalidRequest(faults)
        return message

    def _read_body(self, message: Any, request: "Request", faults: Faults) -> None:
        if self.is_raw:
            self._read_raw(message, request)
        elif self._target is not None and request.content.kind is Kind.PROTOBUF:
            self._read_protobuf(message, request, faults)
        elif not request.body:
            return
        elif not self.route.body:
            faults.add(BODY, "must be empty: this method takes no body")
        else:
            self._read_json(message, request, faults)

    def _place(self, message: Any) -> Any:
        """Return the message that the body is, made present."""
        if self._field is None:
            return message
        place = getattr(message, self._field.name)
        type(place).SetInParent(place)  # a field may have the method's name
        return place

    def _read_raw(self, message: Any, request: "Request") -> None:
        if request.body or request.content.written:
            place = self._place(message)
            place.content_type = request.content.written
            place.data = request.body

    def _read_protobuf(self, message: Any, request: "Request", faults: Faults) -> None:
        place = self._place(message)
        mark = len(faults)
        try:
            type(place).MergeFromString(place, request.body)
            if self._search is not None:
                self._search.note(place, faults)
        except DecodeError:
            faults.add(BODY, f"is not a valid protobuf message {type(place).DESCRIPTOR.full_name}")
            return
        except Refused as refusal:
            faults.add("" if self._field is not None else BODY, str(refusal))
        if self._field is not None:
            faults.within(mark, self._field.name)

    def _read_json(self, message: Any, request: "Request", faults: Faults) -> None:
        mark = len(faults)
        try:
            request.document = parse_document(request.body)
            if self._field is None:
                self._read_whole(message, request.document, faults)
                return
            if request.document is not None or self._field.takes_null:
                self._field.read(message, request.document, faults)
        except Refused as refusal:
            faults.add("" if self._field is not None else BODY, str(refusal))
        if self._field is not None:
            faults.within(mark, self._field.json_name)

    def _read_query(self, message: Any, request: "Request", faults: Faults) -> Set[str]:
        """Read the parameters and return the fields that they gave a value."""
        given = set()
        for raw_name, raw_value in query_pairs(request.query):
            spelled = raw_name
            try:
                found = self._parameters.get(raw_name)
                if found is None:
                    spelled = query_text(raw_name)
                    found = self._parameter(raw_name, spelled)
                if found.field in request.parameters and not found.repeated:
                    raise Refused("is given more than once")  # noqa: TRY301 - one place notes the faults
                request.parameters[found.field] = spelled
                text = query_text(raw_value)
                found.read(message, text)
                if text:
                    given.add(found.field)
            except Refused as refusal:
                if not (self._ignores_unknown_query and isinstance(refusal, UnknownField)):
                    faults.add(spelled, str(refusal))
        return given

    def _parameter(self, raw_name: str, spelled: str) -> Parameter:
        """Find a parameter by its name, and remember it when that was sent without escapes. Raises `Refused`."""
        found = parameter(self.route.rpc.input_type, spelled)
        if self.route.body == "*":
            raise Refused("must be in the body: this method takes no query parameters")
        if self._field is not None and f"{found.field}.".startswith(f"{self._field.name}."):
            raise Refused("must be in the body")
        if raw_name == spelled and len(self._parameters) < _CACHED_PARAMETERS:
            self._parameters[spelled] = found
        return found

    def spelled(self, request: "Request", field: str) -> str:
        """Return a field's path, given in proto names, as the client wrote it or would write it."""
        head = find_head(field, request.parameters)
        if head is not None:
            return request.parameters[head] + field[len(head) :]
        if request.content.kind is Kind.PROTOBUF:
            return field
        if self._field is not None and re.match(rf"{self._field.name}\b", field):
            return spell(self.codec, {self._field.json_name: request.document}, field)
        in_path = any(field == variable.field for variable, _ in self._variables)
        if self.route.body != "*" or (in_path and not names(self.codec, request.document, field)):
            return field
        return spell(self.codec, request.document, field)


class Request:
    """One HTTP request to a route, or one message of a client's stream to it.

    Calling it binds it, once; until then its body has not been looked at. A `refusal`, which was found before, is
    raised in place of binding; `fault` is that refusal once it was raised, whatever became of the exception.
    """

    __slots__ = (
        "_message",
        "_refusal",
        "binding",
        "body",
        "captures",
        "content",
        "document",
        "fault",
        "parameters",
        "query",
    )

    def __init__(
        self,
        binding: Binding,
        captures: tuple[str, ...],
        query: str,
        body: bytes,
        content: Content = JSON,
        refusal: Refusal | InvalidRequest | None = None,
    ) -> None:
        self.binding = binding
        self.captures = captures
        self.query = query
        self.body = body
        self.content = content
        self._refusal = refusal
        self.fault: Refusal | InvalidRequest | None = None
        self.document: object = None
        self.parameters: dict[str, str] = {}
        self._message: Message | None = None

    def __call__(self) -> Message:
        """Return the request message. Raises `InvalidRequest`, or the `Refusal` that was found before."""
        if self._message is None:
            if self._refusal is not None:
                self.fault = self._refusal
                raise self._refusal
            self._message = self.binding.bind(self)
        return self._message

    def spelled(self, field: str) -> str:
        """Return a field's path, given in proto names, as the client wrote it or would write it."""
        return self.binding.spelled(self, field)


def _target(route: Route) -> Descriptor | None:
    """Return the type of the message that the body is; None where there is no body, or it is a scalar, list or map."""
    if route.body in {"", "*"}:
        return route.rpc.input_type if route.body else None
    field = route.rpc.input_type.fields_by_name[route.body]
    return None if field.is_repeated else field.message_type


def _check_variable(variable: Parameter, message: Any, text: str) -> None:
    """Check that the path has the value that the query or the body gave."""
    other = type(message)()
    variable.read(other, text)
    if variable.value(other) != variable.value(message):
        raise Refused("differs from the value in the path")
