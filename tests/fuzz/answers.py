"""Reads HTTP answers out of what a server wrote, and says what is wrong with them."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from tests.fuzz.cases import Case

_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [\x20-\x7e]*")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e\x80-\xff\t]*)")


class BrokenAnswer(Exception):
    """What the server wrote is no HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `whole` is False while something of the body is missing."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def is_last(self) -> bool:
        """Whether the server says that it closes the connection."""
        return self.headers.get("connection") == "close"


def read_answers(received: bytes, *, with_heads: bool) -> list[Answer]:
    """Read all answers, interim ones left out. `with_heads` allows answers to HEAD. Raises `BrokenAnswer`."""
    answers = []
    while received:
        head, blank, rest = received.partition(b"\r\n\r\n")
        if not blank:
            break
        status, headers = _head(head)
        if status < 200:
            received = rest
            continue
        body, received, whole = _body(status, headers, rest, with_heads)
        answers.append(Answer(status=status, headers=headers, body=body, whole=whole))
        if not whole:
            break
    return answers


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    found = [_HEADER.fullmatch(line) for line in lines]
    if status is None or None in found:
        raise BrokenAnswer(f"the answer begins with {head[:200]!r}")
    headers = {match[1].decode().lower(): match[2].decode("latin-1") for match in found if match}
    return int(status[1]), headers


def _body(status: int, headers: dict[str, str], rest: bytes, with_heads: bool) -> tuple[bytes, bytes, bool]:
    """Return the body, what follows it, and whether it is whole."""
    if status in {204, 304} or (with_heads and (not rest or rest.startswith(b"HTTP/1."))):
        return b"", rest, True
    if headers.get("transfer-encoding") == "chunked":
        return _chunked(rest)
    if "content-length" not in headers:
        raise BrokenAnswer("the answer has neither length nor chunks")
    length = int(headers["content-length"])
    return rest[:length], rest[length:], len(rest) >= length


def _chunked(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while True:
        size, blank, after = rest.partition(b"\r\n")
        if not blank:
            return body, b"", False
        try:
            count = int(size, 16)
        except ValueError:
            raise BrokenAnswer(f"a chunk's size is {size[:40]!r}") from None
        body += after[:count]
        if len(after) < count + 2:
            return body, b"", False
        rest = after[count + 2 :]
        if not count:
            return body, rest, True


def faults_of(case: Case, answers: list[Answer], *, closed: bool) -> Iterator[str]:
    """Say what is wrong with the answers to a case. `closed` tells whether it was the server who hung up.

    A stream that has begun may break off where the request does: then it can have no other end.
    """
    sent = b"".join(case.pieces).lower()
    if case.sound and not answers:
        yield "a request got no answer"
    for answer in answers:
        if not answer.whole and (case.sound or "content-length" in answer.headers):
            yield f"an answer {answer.status} broke off"
        elif not _may_be(answer, sent):
            yield f"status {answer.status}"
        elif answer.whole and (fault := _fault_in_body(answer, sent)):
            yield f"status {answer.status}: {fault}"
        elif answer.headers.get("x-content-type-options") != "nosniff":
            yield f"status {answer.status} without nosniff"
    if case.sound and answers and len(answers) < case.requests and not (answers[-1].is_last and closed):
        yield f"{len(answers)} answers to {case.requests} requests"
    if case.kind == "health" and [answer.status for answer in answers] != [200]:
        yield "the server is not well"


def _may_be(answer: Answer, sent: bytes) -> bool:
    """Tell whether the server may answer so: nothing of its own fault, but it may be full and the client in a hurry."""
    if answer.status == 504:
        return b"timeout" in sent
    if answer.status == 503:
        return b"OVERLOADED" in answer.body and answer.is_last
    if answer.status == 505:
        return b"http/1.0" in sent
    return answer.status < 500 or (answer.status == 501 and b"!unimplemented" in sent)


def _fault_in_body(answer: Answer, sent: bytes) -> str:
    body = answer.body
    if answer.headers.get("content-encoding") == "gzip" and body:
        body = gzip.decompress(body)
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if b"Traceback" in body:
        return "a traceback"
    if not body or (answer.status == 200 and (b"reflect" in sent or b"download" in sent)):
        return ""  # raw bodies are the client's own
    try:
        if kind == "application/json":
            document = orjson.loads(body)
            return "" if answer.status < 400 else _fault_in_error(answer.status, document)
        if kind == "application/x-ndjson":
            for line in body.splitlines():
                orjson.loads(line)
        elif kind == "application/x-protobuf" and answer.status >= 400:
            Status.FromString(body)
        elif kind == "text/event-stream":
            body.decode()
    except (ValueError, DecodeError) as fault:
        return f"{kind} that is none: {fault}"
    return ""


def _fault_in_error(status: int, document: Any) -> str:
    if not isinstance(document, dict) or not all(isinstance(document.get(name), str) for name in ("code", "message")):
        return "an error without code and message"
    if status == 400 and not isinstance(document.get("violations"), list):
        return "a 400 without violations"
    return ""
