"""JSON as security-relevant documents must be read: one meaning per text, and ValueError for everything else."""

import json
import math
from typing import NoReturn

JsonObject = dict[str, object]


def parse_object(data: bytes) -> JsonObject:
    """Parse `data` as one JSON object in UTF-8.

    Raises ValueError for anything else and for what parsers disagree about: duplicate members at any depth (RFC 7515
    section 4), NaN and infinities, numbers beyond a double, a byte order mark, nesting beyond the interpreter's limit.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - callers know one exception for a faulty document
    return value


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number
