"""JSON text, strictly by RFC 8259, with the standard decoder as the oracle of what it gives."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.codec.document import MAX_DEPTH, MAX_DIGITS, Doubled, Number, note_doubled, parse_document
from server.transcoding.violation import Faults, Refused

# Text that a fast parser could get wrong: names doubled under an escape, quotes in strings, numbers that round.
_NAMES = st.sampled_from(['"a"', r'"\u0061"', '"b"', r'"\""', r'"\u0022"', '"é"', '"a:1,"'])
_NUMBERS = st.sampled_from(
    ["0", "-0", "1.0", "-0.0", "1e2", "0.1e-400", "18446744073709551616", "-9223372036854775809", "9007199254740993.0"]
)
_LEAVES = _NUMBERS | st.sampled_from(
    ["null", "true", '""', r'"\\"', r'"\n{["', r'"\ud83d\ude00"', r'"\ud800"', "18446744073709551615"]
)
_SPACES = st.sampled_from(["", " ", "\t\r\n"])


def _object(members: list[tuple[str, str]], space: str) -> str:
    return "{" + f"{space},".join(f"{name}{space}:{space}{value}" for name, value in members) + space + "}"


_DOCUMENTS = st.recursive(
    _NAMES | _LEAVES,
    lambda inner: (
        st.builds(_object, st.lists(st.tuples(_NAMES, inner), max_size=4), _SPACES)
        | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
    ),
    max_leaves=12,
)


def _oracle(body: bytes) -> object:
    """Parse with the standard decoder, losing nothing."""

    def members(pairs: list[tuple[str, object]]) -> object:
        doubled = sorted({name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1})
        return ("object", dict(pairs), doubled)

    def number(text: str) -> object:
        return ("number", text)

    def integer(text: str) -> object:
        return number(text) if text == "-0" else int(text)

    return json.loads(body, object_pairs_hook=members, parse_float=number, parse_int=integer)


def _shown(value: object) -> object:
    """Return a parsed document in the oracle's terms."""
    if isinstance(value, Number):
        return ("number", value.text)
    if isinstance(value, dict):
        names = sorted(value.names) if isinstance(value, Doubled) else []
        return ("object", {key: _shown(item) for key, item in value.items()}, names)
    return [_shown(item) for item in value] if isinstance(value, list) else value


def _same(left: object, right: object) -> bool:
    """Compare with the types, so that 1 is not True."""
    return left == right and repr(left) == repr(right)


@given(_DOCUMENTS, _SPACES)
@settings(deadline=None, max_examples=1000)
def test_nothing_of_a_document_is_lost(document: str, space: str) -> None:
    body = f"{space}{document}{space}".encode()

    assert _same(_shown(parse_document(body)), _oracle(body))


@given(st.text(st.sampled_from('{}[]:,"\\u0de1-.+ \n\tntrfalsxE/'), max_size=20) | st.binary(max_size=20))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_parsed_as_by_the_standard_decoder_or_refused(text: str | bytes) -> None:
    body = text.encode() if isinstance(text, str) else text
    try:
        parsed = parse_document(body)
    except Refused:
        return
    assert _same(_shown(parsed), _oracle(body))


@pytest.mark.parametrize(
    "body",
    [
        r'{"a": 1, "\u0061": 1}',
        r'{"a": "\u0022\u0022", "a": 1}',
        r'{"a": 1, "a": "\u0022\u0022"}',
        r'{"b": "\"", "a": 1, "a": 2}',
        '{"b": {"a": "x", "a": 1}, "c": ["y", "z"]}',
        '[{"a": [], "a": []}]',
    ],
)
def test_a_doubled_name_is_never_overlooked(body: str) -> None:
    assert "Doubled" in repr(_types(parse_document(body.encode())))


def _types(value: object) -> object:
    if isinstance(value, dict):
        return [type(value), *map(_types, value.values())]
    return [*map(_types, value)] if isinstance(value, list) else type(value)


def test_doubled_names_are_looked_up_and_not_searched_for() -> None:
    document = parse_document(b'{"b": 1, "a": 1, "c": 1, "a": 2, "b": 1, "a": 3}')

    assert isinstance(document, Doubled)
    assert document.names == frozenset({"a", "b"})


def test_every_doubled_name_is_noted() -> None:
    faults = Faults()
    document = parse_document(b'{"b": 1, "a": 1, "c": 1, "a": 2, "b": 1, "a": 3}')

    assert isinstance(document, dict)
    note_doubled(document, faults)

    assert document == {"b": 1, "a": 3, "c": 1}
    assert faults == [("a", "is given more than once"), ("b", "is given more than once")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is not valid JSON at line 1, column 1"),
        (b"  ", "is not valid JSON at line 1, column 3"),
        (b'\n{"a": 1,}', "is not valid JSON at line 2, column 9"),
        (b"{} {}", "is not valid JSON at line 1, column 3"),
        (b"{}\x00", "is not valid JSON at line 1, column 3"),
        (b"\xc2\xa0{}", "is not valid JSON at line 1, column 1"),
        (b"\xef\xbb\xbf{}", "is not valid JSON at line 1, column 1"),
        (b'{"a": "\xff"}', "is not valid UTF-8 at byte 7"),
        (b'"\xed\xa0\x80"', "is not valid UTF-8 at byte 1"),
        ("{}".encode("utf-16"), "is not valid UTF-8 at byte 0"),
        (b"NaN", "is not valid JSON: NaN must be written as a string"),
        (b"[-Infinity]", "is not valid JSON: -Infinity must be written as a string"),
        (b"9" * 5000, "has a number of too many digits"),
        (b"-" + b"9" * 5000, "has a number of too many digits"),
        (b"0." + b"9" * MAX_DIGITS, "has a number of too many digits"),
        (b"1e" + b"0" * MAX_DIGITS, "has a number of too many digits"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nests deeper than 100 levels"),
        (b'{"a":[' * 51 + b"]}" * 51, "nests deeper than 100 levels"),
        (b"[" * 100_000, "nests deeper than 100 levels"),
    ],
)
def test_the_refusal_says_what_is_wrong(body: bytes, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_document(body)

    assert str(refused.value) == sentence


def test_nesting_up_to_the_limit_is_parsed() -> None:
    for inside in (b"", b"1", b'""', b"1.5"):
        parse_document(b"[" * MAX_DEPTH + inside + b"]" * MAX_DEPTH)


def test_a_wide_document_is_not_a_deep_one() -> None:
    for last in (b'"{[{["', b"1.5"):
        assert isinstance(parse_document(b"[" + b"{}," * 200 + last + b"]"), list)


def test_minus_zero_is_one_number_however_often_it_is_written() -> None:
    document = parse_document(b"[-0, -0]")

    assert isinstance(document, list)
    assert document[0] is document[1]


def test_a_number_with_a_fraction_is_kept_exactly() -> None:
    number = parse_document(b" 9007199254740993.0 ")

    assert isinstance(number, Number)
    assert number.text == "9007199254740993.0"
