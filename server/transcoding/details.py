"""What the details of a `google.rpc.Status` say: what HTTP has a place for by its meaning, the rest in its JSON form.

Details come from servers that need not be ours: their types may be unknown here, and nothing in them can fail an error.
"""

import base64
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from server.transcoding.codec.any import is_special
from server.transcoding.codec.message import Codecs
from server.transcoding.options import Options
from server.transcoding.violation import join

DETAILS_KEY = "grpc-status-details-bin"
_VALIDATION = "buf.validate.Violations"
_MAX_SHOWN = 20
_MAX_SHOWN_SIZE = 16 * 1024
"""How many details a JSON error shows at most, and in how many bytes."""
_CACHED_TYPES = 256


@dataclass(slots=True, kw_only=True)
class Details:
    """What the details of one status say.

    `retry_after` is in whole seconds; `shown` is what HTTP has no place for, `room` how many bytes more it may have.
    """

    reason: str = ""
    violations: list[tuple[str, str]] = field(default_factory=list)
    retry_after: int | None = None
    shown: list[dict[str, Any]] = field(default_factory=list)
    room: int = _MAX_SHOWN_SIZE


class _Type(NamedTuple):
    """How a detail's bytes are parsed and the message written; a special one is shown under `value`."""

    parse: Callable[[bytes], Any]
    write: Callable[[Any], Any]
    is_special: bool


class DetailReader:
    """Reads details as one application's options say. `pool` has the types of details that this process lacks."""

    def __init__(self, options: Options, pool: DescriptorPool | None = None) -> None:
        self._domain = options.domain
        self._hidden = options.hidden_details
        own = descriptor_pool.Default()
        self._pools = [(known, Codecs()) for known in ((own,) if pool is None or pool is own else (pool, own))]
        self._type = lru_cache(_CACHED_TYPES)(self._get_type)
        self._meanings: dict[str, Callable[[str, Packed, Details], None]] = {
            ErrorInfo.DESCRIPTOR.full_name: self._read_reason,
            BadRequest.DESCRIPTOR.full_name: self._read_violations,
            RetryInfo.DESCRIPTOR.full_name: self._read_delay,
            _VALIDATION: self._read_validation,
        }

    def read(self, status: Status) -> Details:
        """Sort out the details of a status. Those of a type that nobody here knows, or damaged, are left out."""
        known = Details()
        for detail in status.details:
            name = type_name(detail)
            with suppress(Exception):  # whatever a detail holds, the error itself is still told
                self._meanings.get(name, self._show)(name, detail, known)
        return known

    def _read_reason(self, name: str, detail: Packed, known: Details) -> None:
        info = ErrorInfo.FromString(detail.value)
        if self._domain and info.domain == self._domain:
            known.reason = info.reason
        else:
            self._show(name, detail, known)

    def _read_violations(self, _name: str, detail: Packed, known: Details) -> None:
        violations = BadRequest.FromString(detail.value).field_violations
        known.violations += [(violation.field, violation.description) for violation in violations]

    def _read_delay(self, _name: str, detail: Packed, known: Details) -> None:
        delay = RetryInfo.FromString(detail.value).retry_delay
        known.retry_after = max(1, math.ceil(delay.seconds + delay.nanos / 1e9))

    def _read_validation(self, name: str, detail: Packed, known: Details) -> None:
        known.violations += list(_violations(self._type(name).parse(detail.value)))

    def _show(self, name: str, detail: Packed, known: Details) -> None:
        if name in self._hidden or len(known.shown) == _MAX_SHOWN:
            return
        parse, write, special = self._type(name)
        written = write(parse(detail.value))
        shown = {"@type": detail.type_url, **({"value": written} if special else written)}
        size = len(orjson.dumps(shown))
        if size <= known.room:
            known.room -= size
            known.shown.append(shown)

    def _get_type(self, name: str) -> _Type:
        """Find a type in the pool, else in this process. Raises `LookupError`."""
        for pool, codecs in self._pools:
            with suppress(KeyError):
                found = pool.FindMessageTypeByName(name)
                return _Type(
                    message_factory.GetMessageClass(found).FromString, codecs.form(found).write, is_special(found)
                )
        raise LookupError(name)


def type_name(detail: Packed) -> str:
    """Return the full name of the type of a detail."""
    return detail.type_url.rpartition("/")[2]


def _violations(content: Any) -> Iterator[tuple[str, str]]:
    """Yield the violations of a `buf.validate.Violations` of any version, whose type this library does not have."""
    for violation in content.violations:
        path = ""
        for element in violation.field.elements if hasattr(violation, "field") else ():
            path = join(path, str(element.field_name)) + _subscript(element)
        rule = getattr(violation, "rule_id", "") or getattr(violation, "constraint_id", "")
        yield path or str(getattr(violation, "field_path", "")), str(violation.message or rule or "is not valid")


def _subscript(element: Any) -> str:
    kind = element.WhichOneof("subscript")
    if kind is None:
        return ""
    key = getattr(element, kind)
    if kind == "index":
        return f"[{key}]"
    return f"[{json.dumps(str(key).lower() if kind == 'bool_key' else str(key))}]"  # as it is in JSON


def details_of(metadata: Sequence[tuple[str, str | bytes]]) -> bytes | None:
    """Return the serialized status details among trailing metadata. A text value is base64, as on the wire."""
    for key, value in metadata:
        if key == DETAILS_KEY:
            return value if isinstance(value, bytes) else _from_base64(value)
    return None


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
