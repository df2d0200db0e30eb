"""Path, query and body into one request message, and the client's own spelling of its fields.

A value comes from one place: a second one must be equal. Nothing that the client sent is ignored.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from server.transcoding import mask
from server.transcoding.codec.document import parse_document
from server.transcoding.codec.message import Codecs, FieldCodec, MessageCodec
from server.transcoding.parameters import Parameter, parameter, query_pairs, query_text
from server.transcoding.router import Route
from server.transcoding.template import unescape
from server.transcoding.violation import BODY, Faults, InvalidRequest, Refused, join

_CACHED_PARAMETERS = 256
_STEP = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)((?:\[(?:"(?:[^"\\]|\\.)*"|[^\]"]*)\])*)(?:\.|$)')


class Binding:
    """How the requests of one route become messages; compiled at start."""

    def __init__(self, route: Route, codecs: Codecs) -> None:
        self.route = route
        self.codec = codecs.of(route.rpc.input_type)
        self._field = self.codec.fields[route.body] if route.body not in {"", "*"} else None
        self._variables = [
            (parameter(route.rpc.input_type, variable.field), variable.multiple)
            for variable in route.template.variables
        ]
        self._parameters: dict[str, Parameter] = {}
        self._mask = mask.mask_field(route.rpc.input_type) if route.verb == "PATCH" and route.body else None

    def bind(self, request: "Request") -> Message:
        """Build the message of a request. Raises `InvalidRequest` with every fault that can be known."""
        faults = Faults()
        message = self.codec.message_class()
        self._read_body(message, request, faults)
        if request.query:
            self._read_query(message, request, faults)
        for (variable, multiple), raw in zip(self._variables, request.captures, strict=True):
            try:
                _read_variable(variable, message, unescape(raw, keep_slashes=multiple))
            except Refused as refusal:
                faults.add(request.spelled(variable.field), str(refusal))
        if faults:
            raise InvalidRequest(faults)
        if self._mask is not None:
            mask.infer(message, self._mask, self._named(request.document))
        return message

    def _read_body(self, message: Any, request: "Request", faults: Faults) -> None:
        if not request.body:
            return
        if not self.route.body:
            faults.add(BODY, "must be empty: this method takes no body")
            return
        mark = len(faults)
        try:
            request.document = parse_document(request.body)
            if self._field is None:
                self.codec.read(message, request.document, faults)
                return
            if request.document is not None or self._field.takes_null:
                self._field.read(message, request.document, faults)
        except Refused as refusal:
            faults.add("" if self._field is not None else BODY, str(refusal))
        if self._field is not None:
            faults.within(mark, self._field.json_name)

    def _read_query(self, message: Any, request: "Request", faults: Faults) -> None:
        for raw_name, raw_value in query_pairs(request.query):
            spelled = raw_name
            try:
                spelled = query_text(raw_name)
                found = self._parameter(spelled)
                if found.field in request.parameters and not found.repeated:
                    raise Refused("is given more than once")  # noqa: TRY301 - one place notes the faults
                request.parameters[found.field] = spelled
                found.read(message, query_text(raw_value))
            except Refused as refusal:
                faults.add(spelled, str(refusal))

    def _parameter(self, spelled: str) -> Parameter:
        if self.route.body == "*":
            raise Refused("must be in the body: this method takes no query parameters")
        found = self._parameters.get(spelled)
        if found is None:
            found = parameter(self.route.rpc.input_type, spelled)
            if self._field is not None and f"{found.field}.".startswith(f"{self._field.name}."):
                raise Refused("must be in the body")
            if len(self._parameters) < _CACHED_PARAMETERS:
                self._parameters[spelled] = found
        return found

    def _named(self, document: object) -> Iterator[str]:
        bound = {variable.field for variable, _ in self._variables}
        if self._field is None:
            return mask.named_paths(self.codec, document, bound | {str(self._mask)})
        if self._field.nested is None:
            return iter(())
        below = f"{self._field.name}."
        return mask.named_paths(self._field.nested, document, {field.removeprefix(below) for field in bound})

    def spelled(self, request: "Request", field: str) -> str:
        """Return a field's path, given in proto names, as the client wrote it or would write it."""
        if self.route.body == "*":
            if any(field == variable.field for variable, _ in self._variables) and not _names(request.document, field):
                return field
            return _spell(self.codec, request.document, field)
        if self._field is not None and re.match(rf"{self._field.name}\b", field):
            return _spell(self.codec, {self._field.json_name: request.document}, field)
        for name in _prefixes(field):
            if name in request.parameters:
                return request.parameters[name] + field[len(name) :]
        return field


class Request:
    """One HTTP request to a route. Calling it binds it, once; until then its body has not been looked at."""

    __slots__ = ("_message", "binding", "body", "captures", "document", "parameters", "query")

    def __init__(self, binding: Binding, captures: tuple[str, ...], query: str, body: bytes) -> None:
        self.binding = binding
        self.captures = captures
        self.query = query
        self.body = body
        self.document: object = None
        self.parameters: dict[str, str] = {}
        self._message: Message | None = None

    def __call__(self) -> Message:
        """Return the request message. Raises `InvalidRequest`."""
        if self._message is None:
            self._message = self.binding.bind(self)
        return self._message

    def spelled(self, field: str) -> str:
        """Return a field's path, given in proto names, as the client wrote it or would write it."""
        return self.binding.spelled(self, field)


def _read_variable(variable: Parameter, message: Any, text: str) -> None:
    """Set a field from the path; a value that the body or query gave before must be the same."""
    parent = variable.parent(message)
    given = getattr(parent, variable.name) if variable.is_set(parent) else None
    variable.read(message, text)
    if given is not None and getattr(parent, variable.name) != given:
        raise Refused("differs from the value in the path")


def _names(document: object, field: str) -> bool:
    return isinstance(document, dict) and field in document


def _prefixes(field: str) -> Iterator[str]:
    """Yield the path and its heads, longest first: `a.b[0].c`, `a.b[0]`, `a.b`, `a`."""
    yield field
    for index in range(len(field) - 1, 0, -1):
        if field[index] in ".[":
            yield field[:index]


def _spell(codec: MessageCodec | None, document: object, path: str) -> str:
    """Walk a path beside the document. What is no field is left as it is."""
    spelled = ""
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        field = codec.find(step[1]) if codec is not None and step is not None else None
        if step is None or field is None:
            return join(spelled, path[position:])
        name = _written(field, document)
        spelled = join(spelled, name) + step[2]
        document = _descend(document, name, step[2])
        codec = field.nested
        position = step.end()
    return spelled


def _written(field: FieldCodec, document: object) -> str:
    if isinstance(document, dict) and field.json_name not in document and field.name in document:
        return field.name
    return field.json_name


def _descend(document: object, name: str, subscript: str) -> object:
    value = document.get(name) if isinstance(document, dict) else None
    index = subscript[1:-1]
    if isinstance(value, list) and index.isdecimal() and int(index) < len(value):
        return value[int(index)]
    return value
