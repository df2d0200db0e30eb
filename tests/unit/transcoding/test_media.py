"""What a body is, and which form of response an Accept header chooses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transcoding.media import Form, Kind, accepts_gzip, content_of, stream_form, unary_form


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"", Kind.JSON),
        (b"application/json", Kind.JSON),
        (b'Application/JSON ; Charset="UTF-8"', Kind.JSON),
        (b"application/json; charset=utf8", Kind.JSON),
        (b"application/json; odata=verbose", Kind.JSON),
        (b"application/merge-patch+json", Kind.JSON),
        (b"application/json; charset=utf-16", Kind.OTHER),
        (b"application/json; charset=", Kind.OTHER),
        (b"text/json", Kind.OTHER),
        (b"image/svg+json", Kind.OTHER),
        (b"application/x-www-form-urlencoded", Kind.OTHER),
        (b"\xff", Kind.OTHER),
        (b"application/x-ndjson", Kind.LINES),
        (b"application/jsonl", Kind.LINES),
        (b"application/x-ndjson; charset=latin-1", Kind.OTHER),
        (b"application/x-protobuf", Kind.PROTOBUF),
        (b"application/protobuf; proto=a.B", Kind.PROTOBUF),
    ],
)
def test_a_content_type_tells_what_a_body_is(content_type: bytes, kind: Kind) -> None:
    content = content_of(content_type)

    assert (content.kind, content.written) == (kind, content_type.decode("latin-1"))


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (b"", Form.JSON),
        (b"*/*", Form.JSON),
        (b"application/json", Form.JSON),
        (b"APPLICATION/JSON;charset=utf-8", Form.JSON),
        (b"application/json, text/plain, */*", Form.JSON),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form.JSON),
        (b"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", Form.JSON),
        (b"text/html, *;q=0.2", Form.JSON),
        (b"application/*", Form.JSON),
        (b"application/x-protobuf", Form.PROTOBUF),
        (b"application/protobuf", Form.PROTOBUF),
        (b"application/x-protobuf, */*", Form.PROTOBUF),
        (b"application/x-protobuf, application/json", Form.JSON),
        (b"application/x-protobuf, application/json;q=0.9", Form.PROTOBUF),
        (b"application/x-protobuf;q=0.8, application/*;q=0.9", Form.JSON),
        (b"application/x-protobuf;q=0.8, application/*;q=0.7", Form.PROTOBUF),
        (b"application/json;q=0, */*", Form.PROTOBUF),
        (b"application/json;q=0.2;v=1, application/json;v=2, application/x-protobuf;q=0.5", Form.JSON),
        (b"application/json;v=2, application/json;q=0.2;v=1, application/x-protobuf;q=0.5", Form.JSON),
        (b'application/x-protobuf;q=0.5, application/json;p="a,b;q=0.1;"', Form.JSON),
        (b'application/x-protobuf;q=0.5, application/json;p="a\\";q=0.1;"', Form.JSON),
        (b"application/x-protobuf;q=1.000, application/json;q=0.999", Form.PROTOBUF),
        (b"application/json;q=0.", None),
        (b"application/json;q=0.000", None),
        (b"*/*;q=0", None),
        (b"application/*;q=0, */*", None),
        (b"application/x-protobuf;q=0, application/json;q=0, */*", None),
        (b"text/html", None),
        (b"text/*", None),
        (b"application/problem+json", None),
        (b"text/html, application/json;q=2", None),
        (b"text/html, application/json;q=x", None),
        (b"text/html, application/json;q", None),
    ],
)
def test_an_accept_header_chooses_the_form_of_one_response(accept: bytes, form: Form | None) -> None:
    assert unary_form(accept) is form


@pytest.mark.parametrize(
    "accept", [b",", b" ; ", b"json", b"/", b"a/", b"/b", b"application/x-protobuf;q=2", b"\xff/\xfe", b'"', b"a b/c"]
)
def test_an_accept_header_that_nobody_can_read_asks_for_nothing(accept: bytes) -> None:
    assert unary_form(accept) is Form.JSON
    assert stream_form(accept) is Form.LINES


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (b"", Form.LINES),
        (b"*/*", Form.LINES),
        (b"application/x-ndjson", Form.LINES),
        (b"application/jsonl", Form.LINES),
        (b"application/*", Form.LINES),
        (b"text/event-stream", Form.EVENTS),
        (b"text/event-stream, */*", Form.EVENTS),
        (b"text/*", Form.EVENTS),
        (b"text/*;q=0.5, application/*;q=0.4", Form.EVENTS),
        (b"application/json, text/event-stream", Form.EVENTS),
        (b"application/json", Form.ARRAY),
        (b"application/json, text/event-stream;q=0.9", Form.ARRAY),
        (b"application/json, text/plain, */*", Form.ARRAY),
        (b"application/x-ndjson;q=0, text/event-stream;q=0, */*;q=0.1", Form.ARRAY),
        (b"application/x-protobuf", None),
        (b"text/html", None),
    ],
)
def test_an_accept_header_chooses_the_form_of_a_stream(accept: bytes, form: Form | None) -> None:
    assert stream_form(accept) is form


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        (b"", False),
        (b"gzip", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"gzip, deflate, br, zstd", True),
        (b"br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        (b"*", True),
        (b"br, *;q=0.1", True),
        (b"gzip;q=0.5, identity;q=0.5", True),
        (b"gzip;q=0.5, identity", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0, *", False),
        (b"*;q=0", False),
        (b"gzip, *;q=0", True),
        (b"identity", False),
        (b"br", False),
        (b"gzip;q=no", False),
        (b"\xff", False),
    ],
)
def test_gzip_is_sent_to_those_who_ask_for_it(accept_encoding: bytes, gzip: bool) -> None:
    assert accepts_gzip(accept_encoding) is gzip


_PIECES = st.sampled_from([b"application/json", b"*/*", b"gzip", b"q=", b"0.5", b";", b",", b'"', b"\\", b" ", b"*"])


@given(st.binary(max_size=30) | st.lists(_PIECES, max_size=12).map(b"".join))
def test_any_bytes_as_headers_choose_something(header: bytes) -> None:
    assert unary_form(header) in {Form.JSON, Form.PROTOBUF, None}
    assert stream_form(header) in {Form.LINES, Form.EVENTS, Form.ARRAY, None}
    assert accepts_gzip(header) in {True, False}
    assert content_of(header).kind in Kind


@given(st.lists(st.sampled_from([b"text/html", b"image/*;q=0.3", b"a/b;c=d;q=0", b"junk"]), max_size=5))
def test_a_client_that_takes_everything_is_never_refused(others: list[bytes]) -> None:
    accept = b", ".join([*others, b"*/*;q=0.1"])

    assert unary_form(accept) is Form.JSON
    assert stream_form(accept) is Form.LINES
