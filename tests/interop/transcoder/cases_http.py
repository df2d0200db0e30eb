"""HTTP itself: types, encodings, lengths and framing of bodies, and what the answer is in."""

import gzip
from dataclasses import replace

from tests.interop.transcoder.case import Case, get, post
from tests.interop.transcoder.fronts import MAX_BODY

_BODY = '{"aBool":true}'
_CHUNKED = ("transfer-encoding", "chunked")
_JSON = ("content-type", "application/json")


def _typed(content_type: str) -> Case:
    return post("/b/whole", _BODY, ("content-type", content_type))


def _accepting(media_type: str) -> Case:
    return get("/p/star/1", ("accept", media_type))


def _words(size: int) -> bytes:
    """Return a document of so many bytes."""
    return b'{"aString":"' + b"x" * (size - 14) + b'"}'


HTTP: tuple[Case, ...] = (
    _typed("application/json"),
    _typed("application/json; charset=utf-8"),
    _typed("APPLICATION/JSON;CHARSET=UTF-8"),
    _typed('application/json; charset="utf-8"'),
    _typed("application/json; charset=latin-1"),
    _typed("application/merge-patch+json"),
    _typed("text/plain"),
    _typed("text/json"),
    _typed("application/x-www-form-urlencoded"),
    _typed("nonsense"),
    _typed("application/x-protobuf"),
    _typed("application/grpc"),
    post("/b/whole", _BODY, ("content-type", ""), label="JSON without a type"),
    post("/b/whole", _BODY, _JSON, _JSON, label="two types"),
    post("/b/whole", b"\x68\x01", ("content-type", "application/x-protobuf"), label="a message in protobuf"),
    _accepting("*/*"),
    _accepting("application/json"),
    _accepting("text/html"),
    _accepting("application/x-protobuf"),
    _accepting("application/xml, */*;q=0.1"),
    get("/p/nothing", ("accept", "application/x-protobuf")),
    # lengths and framing
    post("/b/whole", _words(MAX_BODY), label="a body as large as may be"),
    post("/b/whole", _words(MAX_BODY + 1), label="a body that is one byte too large"),
    post("/b/whole", _words(MAX_BODY * 4), label="a body that is much too large"),
    post("/b/whole", b"e\r\n" + _BODY.encode() + b"\r\n0\r\n\r\n", _CHUNKED, _JSON, label="a body in one chunk"),
    post(
        "/b/whole",
        b"".join(b"1\r\n%c\r\n" % octet for octet in _BODY.encode()) + b"0\r\n\r\n",
        *(_CHUNKED, _JSON),
        label="a body byte by byte",
    ),
    post("/b/whole", b"0\r\n\r\n", _CHUNKED, _JSON, label="no body in chunks"),
    post("/b/whole", b"zz\r\n", _CHUNKED, _JSON, label="a chunk of no size"),
    post(
        "/b/whole",
        b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(8)) + b"0\r\n\r\n",
        *(_CHUNKED, _JSON),
        label="chunks that are too large together",
    ),
    # encodings
    post(
        "/b/whole",
        gzip.compress(_BODY.encode(), mtime=0),
        *(_JSON, ("content-encoding", "gzip")),
        label="a body in gzip",
    ),
    post("/b/whole", _BODY, _JSON, ("content-encoding", "identity"), label="a body in identity"),
    post("/b/whole", _BODY, _JSON, ("content-encoding", "br"), label="a body in an encoding that is not known"),
    post("/b/whole", _BODY, _JSON, ("content-encoding", "gzip"), label="a body that is no gzip"),
    # what is no request
    get("/p/star/é"),
    get("/p/literal", ("x-custom", "x" * 4000), label="a header of 4000 bytes"),
    get("/p/literal", ("transfer-encoding", "chunked"), ("content-length", "1"), label="two framings"),
    get("/p/literal", ("te", "trailers")),
    get("/p/literal", ("content-type", "application/grpc"), label="a GET that says it is gRPC"),
    replace(get("/p/literal"), method="get", label="a method in lower case"),
    replace(get("/p/literal"), method="QUERY", label="a method that is not known"),
)
