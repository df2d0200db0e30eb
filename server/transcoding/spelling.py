"""Paths of fields in the client's own spelling: names as the document wrote them, or as it would write them."""

import re
from collections.abc import Iterable

from server.transcoding.codec.message import FieldCodec, MessageCodec
from server.transcoding.violation import join

_STEP = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)((?:\[(?:"(?:[^"\\]|\\.)*"|[^\]"]*)\])*)(?:\.|$)')
_ENDS = frozenset({"", ".", "["})
"""What may follow a path in those below it."""
_MAX_INDEX = 9
"""How many digits of an index are looked at; no document has that many elements."""


def names(codec: MessageCodec, document: object, field: str) -> bool:
    """Tell whether a document holds a field, given by its path in proto names, under whatever spelling."""
    return isinstance(document, dict) and _written(codec.fields[field.partition(".")[0]], document) in document


def find_head(field: str, paths: Iterable[str]) -> str | None:
    """Find the longest of some paths that a path is or lies below: `a.b[0]` lies below `a.b`, and `a.bc` does not."""
    heads = [path for path in paths if field.startswith(path) and field[len(path) : len(path) + 1] in _ENDS]
    return max(heads, key=len, default=None)


def spell(codec: MessageCodec | None, document: object, path: str) -> str:
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
    if isinstance(value, list) and len(index) <= _MAX_INDEX and index.isdecimal() and int(index) < len(value):
        return value[int(index)]
    return value
