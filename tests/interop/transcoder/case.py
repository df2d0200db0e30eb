"""One HTTP request that is sent to both transcoders, and what of the two answers has to be the same.

Successes: the status, the RPC and the request that it was called with, the media type, the document. Errors: the status
and the gRPC code, where Envoy names one; its own refusals are plain text.
"""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.rpc import code_pb2

from tests.interop.transcoder.fixture import BEYOND_ENVOY, POOL, SERVICES
from tests.interop.transcoder.fronts import Answer

_METHODS = {method.name: method for service in (*SERVICES, BEYOND_ENVOY) for method in service.methods}
_DOCUMENTS = ("application/json", "application/x-ndjson", "text/event-stream")
_SPECIAL = ("google.protobuf.Struct", "google.protobuf.ListValue", "google.protobuf.Value")

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request. `form` is how a stream is asked for; `to_ours` is the body for our side where the forms differ."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    form: str = "application/json"
    label: str = ""
    to_ours: bytes | None = None

    @property
    def name(self) -> str:
        """What the case is called: a label, or the request itself."""
        if self.label:
            return self.label
        said = [self.method, self.target, *(f"{name}: {value}" for name, value in self.headers)]
        if self.body:
            said.append(self.body.decode("ascii", "backslashreplace"))
        return " ".join(said)

    def request(self, body: bytes) -> bytes:
        """Return the request as it is sent, with one body or the other."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "host: interop.example"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if body and not any(name == "transfer-encoding" for name, _ in self.headers):
            lines.append(f"content-length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def get(target: str, *headers: tuple[str, str], label: str = "") -> Case:
    """Make a GET."""
    return Case(method="GET", target=target, headers=headers, label=label)


def post(
    target: str, body: bytes | str = b"", *headers: tuple[str, str], method: str = "POST", label: str = ""
) -> Case:
    """Make a POST, or another method with a body, of JSON unless the headers name another type."""
    octets = body.encode() if isinstance(body, str) else body
    typed = any(name == "content-type" for name, _ in headers)
    sent = headers if typed or not octets else (("content-type", "application/json"), *headers)
    shown = f"{method} {target}" + (f" {octets.decode('ascii', 'backslashreplace')}" if octets else "")
    return Case(
        method=method,
        target=target,
        headers=tuple(header for header in sent if header[1]),
        body=octets,
        label=label or (shown if headers == () else ""),
    )


class Verdict(NamedTuple):
    """What came of a case.

    `how` is empty where the answers say the same, else `404 → 405` (Envoy's status and ours) or `200, content` (one
    status, and what differs).
    """

    how: str
    differs: dict[str, tuple[Any, Any]]


def judge(envoy: Answer, ours: Answer) -> Verdict:
    """Compare two answers to one request."""
    theirs, own = _facets(envoy), _facets(ours)
    if theirs["code"] is None:
        own["code"] = None
    both = {name: (theirs.get(name), own.get(name)) for name in {**theirs, **own}}
    differs = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    if envoy.status != ours.status:
        return Verdict(f"{envoy.status} → {ours.status}", differs)
    return Verdict(", ".join([str(ours.status), *differs]) if differs else "", differs)


def _facets(answer: Answer) -> dict[str, Any]:
    """Return what has to be the same of an answer."""
    if answer.status >= 400:
        return {"status": answer.status, "code": _code(answer)}
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    return {
        "status": answer.status,
        "code": None,
        "rpc": answer.headers.get("x-rpc"),
        "request": answer.headers.get("x-request"),
        "units": answer.headers.get("x-units"),
        "type": media_type,
        "content": _content(media_type, answer),
        "whole": answer.whole,
    }


def _code(answer: Answer) -> str | None:
    """Return the canonical name of an error's code; Envoy writes numbers, and refuses in plain text without one."""
    if answer.headers.get("content-type") != "application/json" or not answer.body:
        number = answer.headers.get("grpc-status")
        return code_pb2.Code.Name(int(number)) if number is not None else None
    code = json.loads(answer.body)["code"]
    return code_pb2.Code.Name(code) if isinstance(code, int) else str(code)


def _content(media_type: str, answer: Answer) -> Any:
    """Return what the answer says: a document, a stream's documents however they are joined, or bytes."""
    method = _METHODS.get(answer.headers.get("x-rpc", ""))
    if method is None or not answer.body or media_type not in _DOCUMENTS:
        return answer.body
    output = method.output_type
    if media_type == "text/event-stream" and answer.body.startswith((b"data:", b"event:")):
        return [_event(block, output) for block in answer.body.decode().split("\n\n") if block]
    if not method.server_streaming:
        return _without_empty_lists(json.loads(answer.body), output)
    items = json.loads(answer.body) if answer.body[:1] == b"[" else map(json.loads, answer.body.splitlines())
    return [_without_empty_lists(item, output) for item in items]


def _event(block: str, output: Descriptor) -> tuple[str, Any]:
    """Return the type and the document of one event (HTML Living Standard, section 9.2.6)."""
    fields = [line.partition(":") for line in block.splitlines()]
    kind = "".join(value.strip() for name, _, value in fields if name == "event")
    document = json.loads("\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data"))
    return kind or "message", _without_empty_lists(document, output)


def _without_empty_lists(document: Any, message: Descriptor | None) -> Any:
    """Return a document without the empty lists and maps that ours always writes and Envoy does not."""
    if message is not None and message.full_name == "google.protobuf.Any" and "@type" in document:
        message = POOL.FindMessageTypeByName(document["@type"].rpartition("/")[2])
    if message is None or not isinstance(document, dict) or message.full_name in _SPECIAL:
        return document
    fields = {field.json_name: field for field in message.fields}
    return {
        name: _value_without(value, fields.get(name))
        for name, value in document.items()
        if value not in ([], {}) or (name in fields and not fields[name].is_repeated)
    }


def _value_without(value: Any, field: FieldDescriptor | None) -> Any:
    if field is None or field.message_type is None:
        return value
    message = field.message_type
    if message.GetOptions().map_entry:
        inner = message.fields_by_name["value"].message_type
        return {key: _without_empty_lists(item, inner) for key, item in value.items()}
    if isinstance(value, list) and field.is_repeated:
        return [_without_empty_lists(item, message) for item in value]
    return _without_empty_lists(value, message)
