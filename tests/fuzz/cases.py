"""What is thrown at the server: one case is one connection, made from a seed and a number alone."""

import base64
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.mutation import mutated
from tests.fuzz.requests import HttpRequest, any_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The bytes of one connection. A `sound` case is good HTTP, so that every request in it is due an answer."""

    kind: str
    number: int
    pieces: tuple[bytes, ...]
    """What is written, piece by piece."""
    requests: int = 1
    pause: float = 0.0
    """Seconds between two pieces."""
    sound: bool = False
    leaves: bool = False
    """Whether the client hangs up after the last piece, without reading."""

    def document(self) -> dict[str, Any]:
        """Return the case as JSON can say it."""
        pieces = [base64.b64encode(piece).decode() for piece in self.pieces]
        return {name: getattr(self, name) for name in self.__slots__} | {"pieces": pieces}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Case":
        """Read what `document` returned."""
        return cls(**{**document, "pieces": tuple(base64.b64decode(piece) for piece in document["pieces"])})


def case_of(seed: int, number: int) -> Case:
    """Make one case. The same seed and number always give the same case."""
    rng = Random(f"{seed}/{number}")
    chance = rng.random()
    if chance < 0.62:
        return Case(kind="request", number=number, pieces=(_plain(rng).wire(),), sound=True)
    if chance < 0.68:
        return _pipelined(rng, number)
    if chance < 0.94:
        return _mutated(rng, number)
    if chance < 0.96:
        return Case(kind="hung up", number=number, pieces=(_cut(rng, any_request(rng).wire()),), leaves=True)
    if chance < 0.975:
        return _dripping(rng, number)
    return Case(kind="huge", number=number, pieces=(_huge(rng),))


def health() -> Case:
    """Make the request that must always be answered with 200."""
    request = HttpRequest(method="GET", target="/v1/books/health")
    return Case(kind="health", number=-1, pieces=(request.wire(),), sound=True)


def _plain(rng: Random) -> HttpRequest:
    """Make a request whose framing nobody can misread: what asks for another protocol is left out."""
    request = any_request(rng)
    request.headers = [
        (name, value) for name, value in request.headers if name not in {"expect", "upgrade", "connection"}
    ]
    return request


def _pipelined(rng: Random, number: int) -> Case:
    count = rng.choice((2, 3, 5, 10))
    wire = b"".join(_plain(rng).wire() for _ in range(count))
    return Case(
        kind="pipelined", number=number, pieces=_split(rng, wire, rng.choice((1, 2))), sound=True, requests=count
    )


def _mutated(rng: Random, number: int) -> Case:
    wire = any_request(rng).wire()
    if rng.random() < 0.2:
        wire += any_request(rng).wire()
    head, blank, body = wire.partition(b"\r\n\r\n")
    wire = mutated(rng, head) + blank + body if rng.random() < 0.5 else mutated(rng, wire)
    return Case(kind="mutated", number=number, pieces=_split(rng, wire, rng.choice((1, 1, 1, 2))))


def _dripping(rng: Random, number: int) -> Case:
    wire = any_request(rng).wire()
    return Case(
        kind="dripping", number=number, pieces=_split(rng, wire, rng.randint(2, 6)), pause=rng.choice((0.01, 0.06))
    )


def _huge(rng: Random) -> bytes:
    size = rng.choice((8_000, 8_192, 8_193, 16_383, 16_384, 16_385, 70_000, 300_000))
    filler = rng.choice((b"a", b"/", b"%41", b"&a=b", b"\xff", b"a/", b"%2F")) * size
    filler = filler[:size]
    return rng.choice(
        (
            b"GET /v1/books/%s HTTP/1.1\r\nhost: a\r\n\r\n" % filler,
            b"GET /v1/files/%s HTTP/1.1\r\nhost: a\r\n\r\n" % filler,
            b"GET /v1/books?%s HTTP/1.1\r\nhost: a\r\n\r\n" % filler,
            b"GET /v1/books HTTP/1.1\r\nhost: a\r\nx: %s\r\n\r\n" % filler,
            b"GET /v1/books HTTP/1.1\r\nhost: a\r\n%s: x\r\n\r\n" % filler,
            b"GET /v1/books HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * (size // 6) + b"\r\n",
            b"POST /v1/sinks HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;%s\r\n{}\r\n0\r\n\r\n" % filler,
            b"POST /v1/sinks HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
            + b"1\r\n \r\n" * (size // 6)
            + b"0\r\n\r\n",
            b"POST /v1/sinks HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: %s\r\n\r\n"
            % filler,
            b"POST /v1/sinks HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999\r\n\r\n%s" % filler,
            filler,
            b"GET /v1/books/a HTTP/1.1\r\nhost: a\r\n\r\n" * (size // 400),
        )
    )


def _split(rng: Random, wire: bytes, count: int) -> tuple[bytes, ...]:
    places = sorted(rng.randint(0, len(wire)) for _ in range(count - 1))
    return tuple(wire[start:end] for start, end in zip([0, *places], [*places, len(wire)], strict=True))


def _cut(rng: Random, wire: bytes) -> bytes:
    return wire[: rng.randint(len(wire) // 2, len(wire))]
