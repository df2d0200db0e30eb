"""Bodies as they arrive: whole or in lines, compressed or not, and never more than the limit."""

import asyncio
import gzip
import itertools
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.transcoding.body import Gone, read_body, read_lines
from server.transcoding.violation import InvalidRequest, Refusal

LIMIT = 1000


def receiving(chunks: Sequence[bytes], *, cut: bool = False) -> Any:
    events: list[Any] = [
        {"type": "http.request", "body": chunk, "more_body": cut or index + 1 < len(chunks)}
        for index, chunk in enumerate(chunks)
    ]

    async def receive() -> Any:
        return events.pop(0) if events else {"type": "http.disconnect"}

    return receive


async def whole(*chunks: bytes, encoding: bytes = b"", length: int | None = None) -> bytes:
    return await read_body(receiving(chunks), encoding, length, LIMIT)


async def lines(*chunks: bytes, encoding: bytes = b"") -> list[bytes]:
    return [line async for line in read_lines(receiving(chunks), encoding, LIMIT)]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3), st.booleans())
@settings(deadline=None)
def test_however_it_is_cut_and_compressed_the_body_is_the_same(body: bytes, cuts: list[int], compressed: bool) -> None:
    sent = gzip.compress(body) if compressed else body
    bounds = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    chunks = [sent[start:end] for start, end in itertools.pairwise(bounds)]
    encoding = b"gzip" if compressed else b"identity"

    assert asyncio.run(whole(*chunks, encoding=encoding)) == body
    assert asyncio.run(lines(*chunks, encoding=encoding)) == [
        line for line in body.split(b"\n") if line and not line.isspace()
    ]


@pytest.mark.parametrize("length", [LIMIT + 1, None])
@pytest.mark.parametrize("chunks", [[b"a" * (LIMIT + 1)], [b"a" * LIMIT, b"a"], [b"a" * (LIMIT + 1), b"a"]])
async def test_more_than_the_limit_is_refused(chunks: list[bytes], length: int | None) -> None:
    with pytest.raises(Refusal) as caught:
        await whole(*chunks, length=length)

    assert (caught.value.status, caught.value.message) == (413, "The body must be at most 1000 bytes.")


async def test_the_limit_is_of_what_a_body_inflates_to() -> None:
    assert len(await whole(gzip.compress(b"a" * LIMIT), encoding=b"gzip")) == LIMIT
    for size in (LIMIT + 1, 50_000_000):
        bomb = zlib.compressobj(wbits=31)
        with pytest.raises(Refusal):
            await whole(bomb.compress(b"a" * size) + bomb.flush(), encoding=b"x-gzip")


GOOD = gzip.compress(b"{}")


@pytest.mark.parametrize(
    "chunks",
    [[b"{}"], [GOOD[:-1]], [GOOD[:-1], b""], [GOOD + b"x"], [GOOD, GOOD], [GOOD, b"x"], [GOOD[:4]], [b"\x1f"]],
)
async def test_what_is_not_one_whole_gzip_stream_is_invalid(chunks: list[bytes]) -> None:
    for read in (whole, lines):
        with pytest.raises(InvalidRequest) as caught:
            await read(*chunks, encoding=b"gzip")
        assert caught.value.violations == (("body", "is not one whole gzip stream"),)


async def test_no_body_at_all_is_empty_under_any_coding() -> None:
    for chunks in ([b""], [b"", b""]):
        assert await whole(*chunks, encoding=b"gzip") == b""
        assert await lines(*chunks, encoding=b"gzip") == []


async def test_a_client_that_goes_away_is_gone() -> None:
    for chunks in ([], [b"{"]):
        with pytest.raises(Gone):
            await read_body(receiving(chunks, cut=True), b"", None, LIMIT)
        with pytest.raises(Gone):
            async for _ in read_lines(receiving(chunks, cut=True), b"", LIMIT):
                pass


async def test_blank_lines_are_bounded_too_and_let_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    with pytest.raises(Refusal):
        await lines(gzip.compress(b"\n" * 5_000_000), encoding=b"gzip")
    assert await lines(b"\n" * 900 + b"a\n" + b" \n" * 450 + b"b") == [b"a", b"b"]
    before, limit = turns, 100_000_000
    async for _ in read_lines(receiving([gzip.compress(b"a" * 1_000_000)]), b"gzip", limit):
        assert turns > before + 10
    counting.cancel()


@pytest.mark.parametrize("chunks", [[b"a" * 1001], [b"a\n" + b"a" * 1001 + b"\n"], [b"a" * 999, b"aa\n"]])
async def test_a_line_longer_than_the_limit_is_refused(chunks: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        await lines(*chunks)

    assert caught.value.message == "The line must be at most 1000 bytes."
