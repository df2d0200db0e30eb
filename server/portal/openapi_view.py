"""Our own OpenAPI document as what a page shows: services, operations, their parameters, bodies and answers. Pure.

Read once at start. What the document says is English and ours; still nothing of it is taken for markup.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_SCHEMAS: Final = "#/components/schemas/"
_MESSAGE: Final = "message-"
_HIDDEN_HEADER: Final = "authorization"
"""Told once for all operations."""
_CODE: Final = re.compile(r"`([^`]+)`")
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")
_RULES: Final = (
    ("minLength", "length at least {}"),
    ("maxLength", "length at most {}"),
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"),
    ("pattern", "like {}"),
)
_EXAMPLES: Final[Mapping[str, object]] = {
    "name": "Production",
    "scopes": ["read"],
    "allowedScopes": ["read"],
    "redirectUris": ["https://app.example.com/signed-in"],
    "type": "O_AUTH_CLIENT_TYPE_CONFIDENTIAL",
    "displayName": "Example Apps",
    "contactEmail": "dev@example.com",
    "termsVersion": "1",
    "tier": "pro",
    "code": "$CODE",
    "codeVerifier": "$CODE_VERIFIER",
    "clientId": "$CLIENT_ID",
    "redirectUri": "https://app.example.com/signed-in",
    "refreshToken": "$REFRESH_TOKEN",
    "token": "$REFRESH_TOKEN",
}
"""What stands in bodies of example calls, by field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter, or a field of a message. `message` is the anchor of what it holds, `rules` are said in English."""

    name: str
    kind: str
    message: str
    place: str
    required: bool
    rules: tuple[str, ...]
    description: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What fields of other messages hold, told once. `anchor` is its id in the page."""

    anchor: str
    name: str
    description: Markup
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of the API. `anchor` is its id in the page, `curl` a command line that calls it."""

    anchor: str
    name: str
    method: str
    path: str
    description: Markup
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answer: tuple[Field, ...]
    curl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Operations that belong together, and the messages that they use."""

    name: str
    description: Markup
    operations: tuple[Operation, ...]
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The whole API, and the address at which it is."""

    server: str
    services: tuple[Service, ...]

    def find(self, name: str) -> Service | None:
        """Return the service of a name."""
        return next((service for service in self.services if service.name == name), None)


def read_description(content: bytes) -> Description:
    """Read an OpenAPI document. Raises KeyError or ValueError for one that is not made as ours are."""
    document = json.loads(content)
    server = document["servers"][0]["url"] if document.get("servers") else ""
    return _Reader(document, server).read()


class _Reader:
    """Reads one document."""

    def __init__(self, document: Mapping[str, Any], server: str) -> None:
        self._document = document
        self._schemas: Mapping[str, Any] = document["components"]["schemas"]
        self._server = server

    def read(self) -> Description:
        """Read all services, in the order in which the document names them."""
        found: dict[str, list[Operation]] = {tag["name"]: [] for tag in self._document["tags"]}
        for path, operations in self._document["paths"].items():
            for method in _METHODS:
                if method in operations:
                    operation = operations[method]
                    found[operation["tags"][0]].append(self._operation(method, path, operation))
        services = tuple(
            Service(
                name=tag["name"],
                description=prose(tag.get("description", "")),
                operations=tuple(found[tag["name"]]),
                messages=self._messages(found[tag["name"]]),
            )
            for tag in self._document["tags"]
        )
        return Description(server=self._server, services=services)

    def _operation(self, method: str, path: str, operation: Mapping[str, Any]) -> Operation:
        parameters = tuple(
            self._parameter(each) for each in operation.get("parameters", ()) if each["name"].lower() != _HIDDEN_HEADER
        )
        schema = _content(operation.get("requestBody", {}))
        taken = {parameter.name for parameter in parameters if parameter.place == "path"}
        return Operation(
            anchor=f"call-{operation['operationId']}",
            name=operation["operationId"],
            method=method.upper(),
            path=path,
            description=prose(operation.get("description", "")),
            parameters=parameters,
            body=self._fields(schema) if schema else (),
            answer=self._fields(_content(operation["responses"]["200"]) or {}),
            curl=self._curl(method, path, operation, schema, taken),
        )

    def _messages(self, operations: Sequence[Operation]) -> tuple[Message, ...]:
        """Read the messages that fields of operations hold, and those that these hold, by their names."""
        found: dict[str, Message] = {}
        waiting = [field.message for operation in operations for field in (*operation.body, *operation.answer)]
        while waiting:
            anchor = waiting.pop()
            if anchor and anchor not in found:
                found[anchor] = self._message(anchor)
                waiting += [field.message for field in found[anchor].fields]
        return tuple(sorted(found.values(), key=lambda message: message.name))

    def _message(self, anchor: str) -> Message:
        name = anchor.removeprefix(_MESSAGE)
        schema = self._schemas[name]
        return Message(
            anchor=anchor,
            name=_short(name),
            description=prose(schema.get("description", "")),
            fields=self._fields({"$ref": f"{_SCHEMAS}{name}"}),
        )

    def _parameter(self, parameter: Mapping[str, Any]) -> Field:
        schema = parameter["schema"]
        return self._field(
            parameter["name"],
            schema,
            parameter["in"],
            bool(parameter.get("required")),
            parameter.get("description", ""),
        )

    def _fields(self, schema: Mapping[str, Any]) -> tuple[Field, ...]:
        """Read the fields of a message."""
        name = self._message_of(schema)
        message = self._schemas[name] if name is not None else schema
        required = message.get("required", ())
        return tuple(
            self._field(key, field, "", key in required, field.get("description", ""))
            for key, field in message.get("properties", {}).items()
        )

    def _field(self, name: str, schema: Mapping[str, Any], place: str, required: bool, description: str) -> Field:
        items = schema.get("items", {})
        message = self._message_of(items or schema)
        return Field(
            name=name,
            kind=self._kind(schema),
            message="" if message is None else f"{_MESSAGE}{message}",
            place=place,
            required=required,
            rules=_rules(schema),
            description=prose(description or items.get("description") or self._told(message)),
        )

    def _told(self, message: str | None) -> str:
        """Return what is said of a message, for fields that hold one and say nothing themselves."""
        return "" if message is None else str(self._schemas[message].get("description", ""))

    def _message_of(self, schema: Mapping[str, Any]) -> str | None:
        reference = str(schema.get("$ref", ""))
        return reference.removeprefix(_SCHEMAS) if reference.startswith(_SCHEMAS) else None

    def _kind(self, schema: Mapping[str, Any]) -> str:
        """Say what a value is, in a word or two."""
        message = self._message_of(schema)
        if message is not None:
            return _short(message)
        if "items" in schema:
            return f"{self._kind(schema['items'])}[]"
        if "additionalProperties" in schema:
            return f"map of {self._kind(schema['additionalProperties'])}"
        return str(schema.get("format") or schema.get("type", "any"))

    def _curl(
        self,
        method: str,
        path: str,
        operation: Mapping[str, Any],
        schema: Mapping[str, Any] | None,
        taken: set[str],
    ) -> str:
        """Write a command line; what the caller has to fill in are variables of the shell."""
        address = self._server + _PLACE.sub(lambda place: f"${place[1].upper()}", path)
        is_usual = method == ("get" if schema is None else "post")  # curl chooses these by itself
        lines = [f'curl "{address}"' if is_usual else f'curl -X {method.upper()} "{address}"']
        if operation.get("security") != []:
            lines.append('-H "authorization: Bearer $TOKEN"')
        if schema is not None:
            body = json.dumps(self._example(schema, taken))
            lines += ['-H "content-type: application/json"', f"-d {_quoted(body)}"]
        return " \\\n  ".join(lines)

    def _example(self, schema: Mapping[str, Any], taken: set[str]) -> dict[str, object]:
        """Make a body of the fields that are required, or that an example is known for."""
        name = self._message_of(schema)
        message = self._schemas[name] if name is not None else schema
        properties: Mapping[str, Any] = message.get("properties", {})
        required = message.get("required", ())
        return {
            key: _EXAMPLES.get(key, "…")
            for key in properties
            if key not in taken and (key in required or key in _EXAMPLES)
        }


def _short(name: str) -> str:
    """Return a message's own name, without its package."""
    return name.rpartition("_")[2]


def prose(text: str) -> Markup:
    """Write a description: paragraphs, and what stands between backticks as code."""
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    return Markup("").join(Markup("<p>{}</p>").format(_with_code(part)) for part in paragraphs)


def _with_code(text: str) -> Markup:
    parts = _CODE.split(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _content(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema: Mapping[str, Any] | None = part.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _rules(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what is allowed, as the document has it; a list's rules and those of its items."""
    told = [sentence.format(schema[key]) for key, sentence in _RULES if key in schema]
    if schema.get("uniqueItems"):
        told.append("each once")
    if "items" in schema:
        told += [f"each {rule}" if not rule.startswith("one of") else rule for rule in _rules(schema["items"])]
    values: Sequence[str] = [value for value in schema.get("enum", ()) if not value.endswith("_UNSPECIFIED")]
    return (*told, f"one of {', '.join(values)}") if values else tuple(told)


def _quoted(body: str) -> str:
    """Quote a body for the shell: plainly, or where it has variables so that they are put in."""
    if "$" not in body:
        return f"'{body}'"
    return '"' + body.replace("\\", "\\\\").replace('"', '\\"') + '"'
