import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.identity.strict_json import parse_object

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
OBJECTS = st.dictionaries(st.text(), st.recursive(SCALARS | st.text(), st.lists, max_leaves=5))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{} {}",
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"outer":{"a":1,"a":2}}',
        b'{"outer":[{"a":1,"a":2}]}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e400}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":01}',
        b"{'a':1}",
        b'{"a":"\n"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 100_000,
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_parsers_disagree_about_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_object(text)


@given(OBJECTS)
def test_what_an_encoder_writes_is_read_back(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary() | st.text(alphabet='{}[]:,"0123456789eE+-.\\u ntrfals').map(str.encode))
def test_nothing_but_value_error_ever_comes_out(text: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(parse_object(text), dict)
