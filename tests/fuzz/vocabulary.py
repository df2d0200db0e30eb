"""What requests are made of: path segments, values and headers that servers trip over, among some that are fine."""

import base64
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "CONNECT")
SEGMENTS = (
    *(
        "a",
        "1",
        "shelves",
        "books",
        "moby%20dick",
        "a:b",
        "a:burn",
        "a:download",
        ":",
        ":burn",
        "a%3Aburn",
        "%2F",
        "a%2Fb",
    ),
    *(
        "%zz",
        "%",
        "%4",
        "%FF",
        "%00",
        "%c3%a9",
        "é",
        "%ed%a0%80",
        "",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "~",
        "a+b",
        "!NOT_FOUND",
    ),
    *("x" * 300, "%41" * 200, "{name}", "*", "**", "a=b", "a;b", "@", "!UNAVAILABLE_", "!ABORTED", "\x7f", "[0]", "|"),
)
PLAIN_SEGMENTS = 5
NAMES = (
    "",
    "nothing",
    "a.b",
    "inner..nums",
    "inner.deep_name",
    "inner.deepName",
    "inner",
    "inners",
    "labels",
    "%zz",
    "%00",
)
VALUES = (
    *(
        "",
        "1",
        "-1",
        "0",
        "a",
        "true",
        "TRUE",
        "t",
        "F",
        "yes",
        "1.5",
        "1e3",
        "99999999999999999999",
        "%zz",
        "%FF",
        "%00",
    ),
    *(
        "2026-01-02T03:04:05Z",
        "RED",
        "COLOR_RED",
        "color_red",
        "7",
        "a%26b",
        "+",
        "%2B1",
        "é",
        "%F0%9F%98%80",
        "fail",
        "null",
    ),
    *(
        "!NOT_FOUND",
        "!RESOURCE_EXHAUSTED",
        "x" * 500,
        "[]",
        "{}",
        '"a"',
        "=",
        "a=b",
        "NaN",
        "0x1",
        " 1",
        "1_000",
        "\u0661",
    ),
)
ACCEPTS = (
    *(
        "*/*",
        "application/json",
        "application/x-protobuf",
        "application/x-ndjson",
        "text/event-stream",
        "text/html",
        "",
    ),
    *("application/json;q=0, */*", "text/html, application/json;q=0.5", "application/json;q=2", "application/json;q=x"),
    *("*", "*/json", "application/*", ";;;", ",,,", 'a/b;c="d,e"', "application/json; charset=latin-1", "a/b," * 200),
)
TYPES = (
    *(
        "application/json",
        "application/json; charset=utf-8",
        'application/JSON;charset="UTF-8"',
        "application/a+json",
        "",
    ),
    *(
        "application/json; charset=latin-1",
        "application/x-protobuf",
        "application/x-ndjson",
        "text/plain",
        "json",
        "/",
        ";",
    ),
    *(
        "multipart/form-data; boundary=a",
        "application/x-www-form-urlencoded",
        "application/json, text/plain",
        "é/é",
        "a" * 500,
    ),
)
TIMEOUTS = (
    "1S",
    "5S",
    "1n",
    "1u",
    "0S",
    "-1S",
    "99999999H",
    "100000000S",
    "S",
    "1",
    "1s",
    "1 S",
    "1.5S",
    "é",
    "",
    "1e3S",
)
CODINGS = (
    "gzip",
    "identity",
    "*",
    "gzip;q=0",
    "gzip;q=1.0, identity; q=0",
    "br",
    "deflate",
    "gzip, gzip",
    "",
    "*;q=0",
    ";q=",
    "x" * 300,
)


def _details(detail: Message) -> str:
    status = Status(code=7, message="detailed")
    status.details.add().Pack(detail)
    status.details.add(type_url="type.googleapis.com/no.Such", value=b"\xff")
    return base64.b64encode(status.SerializeToString()).decode()


OTHERS: Sequence[tuple[str, Sequence[str]]] = (
    ("authorization", ("Bearer a", "", "é", "Bearer " + "a" * 4_000, "a\tb")),
    ("x-http-method-override", ("DELETE",)),
    ("x-server-timeout", ("1", "0.5", "0", "-1", "1e3", "nan", "inf", "x", "9" * 400, "")),
    ("te", ("trailers", "gzip")),
    ("x-request-id", ("a", "a b", "é", "x" * 500)),
    ("traceparent", ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x")),
    ("grpc-status", ("0", "13")),
    ("grpc-encoding", ("gzip",)),
    ("grpc-status-details-bin", ("AAAA", "=")),
    ("x-etag-bin", ("AAAA", "DQp4OiB5", "ImEi", "===", "w6k", "YQ==,Yg")),
    ("x-details-bin", ("AAAA", _details(BadRequest(field_violations=[{"field": "nums[0]", "description": "is bad"}])))),
    (
        "x-details-bin",
        (_details(RetryInfo(retry_delay=Duration(seconds=2**62))), _details(Status(message="in itself"))),
    ),
    ("cookie", ("a=b",)),
    ("origin", ("https://example.com", "null", "é")),
    ("access-control-request-method", ("PATCH", "")),
    ("if-none-match", ('"a"', "*")),
    ("range", ("bytes=0-1", "bytes=-")),
    ("trailer", ("x",)),
    ("expect", ("100-continue", "200-ok")),
    ("connection", ("close", "keep-alive", "upgrade, http2-settings", ",,,")),
    ("upgrade", ("h2c", "websocket")),
)
