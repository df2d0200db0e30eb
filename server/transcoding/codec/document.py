"""JSON text into Python values, strictly by RFC 8259, keeping what the standard decoder lets through or loses.

Objects come as dict, or as `Doubled` when a name occurs twice; numbers that are not plain integers as `Number`, exact.
Minus zero is none either: in a floating-point field it is not zero.
"""

import json
import re
from collections.abc import Iterable
from typing import NoReturn

import orjson

from server.transcoding.violation import Faults, Refused

MAX_DEPTH = 100
"""How deep objects and arrays may nest, protobuf's own limit for messages."""
MAX_DIGITS = 1000
"""How long a number may be written."""

_SPACE = " \t\n\r"
_WRITTEN_MINUS_ZERO = re.compile(rb"-0(?![0-9.eE])")


class Number:
    """A number with a fraction or an exponent, or minus zero, kept as written until its field's type is known."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        if len(text) > MAX_DIGITS:
            raise Refused("has a number of too many digits")
        self.text = text


_MINUS_ZERO = Number("-0")
"""The one for them all, as a body may be full of it."""


class Doubled(dict[str, object]):
    """An object in which names occur more than once; `names` holds them."""

    __slots__ = ("names",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.names = frozenset(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def note_doubled(document: dict[str, object], faults: Faults) -> None:
    """Note every name that occurs more than once in an object."""
    if type(document) is Doubled:
        for name in sorted(document.names):
            faults.add(name, "is given more than once")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    return document if len(document) == len(pairs) else Doubled(pairs)


def _constant(name: str) -> NoReturn:
    raise Refused(f"is not valid JSON: {name} must be written as a string")


def _integer(text: str) -> int | Number:
    return _MINUS_ZERO if text == "-0" else int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=_integer, parse_constant=_constant)


def parse_document(body: bytes) -> object:
    """Parse one JSON document. Raises `Refused` with what completes the sentence "The body …"."""
    document = _find_plain(body)
    return _parse(body) if document is None else document


def _find_plain(body: bytes) -> object:
    """Parse with orjson, which takes a quarter of the time; None where it may have lost something, and for null.

    It keeps the last of doubled names, rounds whatever is no plain integer and takes minus zero for one. Names and
    strings have two quotes each: when those of the outcome make up for every quote in the text, no name was dropped.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    quotes, has_zero = 0, False
    level = [document]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if type(value) is str:
                quotes += 2
            elif type(value) is dict:
                quotes += 2 * len(value)
                below += value.values()
            elif type(value) is list:
                below += value
            elif type(value) is float:
                return None
            elif type(value) is int and not value:
                has_zero = True
        if not below:
            is_whole = quotes == body.count(b'"') and not (has_zero and _WRITTEN_MINUS_ZERO.search(body))
            return document if is_whole else None
        level = below
    return None


def _parse(body: bytes) -> object:
    try:
        text = body.decode()
    except UnicodeDecodeError as fault:
        raise Refused(f"is not valid UTF-8 at byte {fault.start}") from None
    try:
        document: object = _decode(text)
    except json.JSONDecodeError as fault:
        raise Refused(f"is not valid JSON at line {fault.lineno}, column {fault.colno}") from None
    except RecursionError:
        raise Refused(f"nests deeper than {MAX_DEPTH} levels") from None
    except Refused:
        raise
    except ValueError:  # Python's own limit on the digits of an integer
        raise Refused("has a number of too many digits") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _too_deep(document):
        raise Refused(f"nests deeper than {MAX_DEPTH} levels")
    return document


def _decode(text: str) -> object:
    document, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
    if end != len(text) and end != len(text.rstrip(_SPACE)):
        raise json.JSONDecodeError("text after the document", text, end)
    return document


def _too_deep(document: object) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value) if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
