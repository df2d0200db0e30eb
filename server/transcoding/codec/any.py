"""`google.protobuf.Any` in JSON: `@type` beside the message's fields, or beside `value` for a well-known type.

A type that is not in the pool is refused when read; when written it shows as its bytes, so that an answer survives it.
"""

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from server.transcoding.codec.document import note_doubled
from server.transcoding.codec.required import missing_fields
from server.transcoding.codec.wellknown import Form, well_known
from server.transcoding.violation import Faults, Refused

ANY = "google.protobuf.Any"


def any_form(form_of: Callable[[Descriptor], Form], pool: DescriptorPool) -> Form:
    """Return the form of `Any` whose contents are looked up in `pool` and read and written by `form_of` their type."""
    contents = _Any(form_of, pool)
    return Form(contents.read, contents.write)


def is_special(descriptor: Descriptor) -> bool:
    """Tell a type whose JSON is not the object of its fields; inside `Any` it goes under `value`."""
    return descriptor.full_name == ANY or well_known(descriptor) is not None


class _Any:
    def __init__(self, form_of: Callable[[Descriptor], Form], pool: DescriptorPool) -> None:
        self._form_of = form_of
        self._pool = pool

    def read(self, message: Any, value: object, faults: Faults) -> None:
        if not isinstance(value, dict):
            raise Refused("must be a JSON object")
        note_doubled(value, faults)
        rest = {key: item for key, item in value.items() if key != "@type"}
        if "@type" not in value and not rest:
            return
        inner = self._find(value.get("@type"))
        if inner is None:
            faults.add("@type", "must be the URL of a known message type")
            return
        message_class = message_factory.GetMessageClass(inner)
        content = message_class()
        self._read_content(content, inner, rest, faults)
        for path in missing_fields(content):
            faults.add(path, "is required")
        message.type_url = value["@type"]
        message.value = message_class.SerializePartialToString(content, deterministic=True)

    def _read_content(self, content: Message, inner: Descriptor, rest: dict[str, object], faults: Faults) -> None:
        form = self._form_of(inner)
        if not is_special(inner):
            form.read(content, rest, faults)
            return
        if rest.keys() != {"value"}:
            raise Refused("must have the fields @type and value")
        mark = len(faults)
        try:
            form.read(content, rest["value"], faults)
        except Refused as refusal:
            faults.add("", str(refusal))
        faults.within(mark, "value")

    def write(self, message: Any) -> dict[str, Any]:
        if not message.type_url:
            return {}
        inner = self._find(message.type_url)
        try:
            content = None if inner is None else message_factory.GetMessageClass(inner).FromString(message.value)
        except DecodeError:
            content = None
        if inner is None or content is None:
            return {"@type": message.type_url, "value": base64.b64encode(message.value).decode("ascii")}
        written = self._form_of(inner).write(content)
        return {"@type": message.type_url, **({"value": written} if is_special(inner) else written)}

    def _find(self, url: object) -> Descriptor | None:
        if not isinstance(url, str) or "/" not in url or not url.isascii():
            return None
        try:
            return self._pool.FindMessageTypeByName(url.rpartition("/")[2])
        except KeyError:
            return None
