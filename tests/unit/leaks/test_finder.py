"""Secrets are found wherever they stand and however the stream is cut; what only resembles one is told apart."""

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.leaks.finder import PUBLISHED_PATTERN, Candidate, find_candidates, find_prefix, redact
from server.secret import checksum, draw_secret, prefix_of

KINDS = ("live", "test", "oauth")
SECRETS = [draw_secret(kind).reveal() for kind in KINDS for _ in range(3)]
KEY = SECRETS[0]
ALIKE = [secret[:-1] + ("0" if secret[-1] != "0" else "1") for secret in SECRETS]
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NEAR_MISSES = [KEY[:-1], KEY.upper(), KEY.replace("live", "prod"), KEY[:20] + "-" + KEY[21:], "ang_live_", "ang_"]

fillers = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet=ALPHABET + "_\n\"'", max_size=80).map(str.encode),
    st.sampled_from(NEAR_MISSES).map(str.encode),
)
planted = st.sampled_from([*SECRETS, *ALIKE])
cuts = st.lists(st.integers(1, 90), min_size=1, max_size=12)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in pieces of these sizes, over and over."""
    bounds = accumulate(sizes * (len(data) // sum(sizes) + 1), initial=0)
    for begin, end in pairwise(bounds):
        yield data[begin:end]


def found(data: bytes, sizes: list[int] | None = None) -> list[Candidate]:
    return list(find_candidates([data] if sizes is None else cut(data, sizes)))


def expected(data: bytes) -> list[tuple[int, str]]:
    """Find the same by looking at every single offset."""
    pattern = re.compile(PUBLISHED_PATTERN.encode())
    matches = (pattern.match(data, offset) for offset in range(len(data)))
    return [(match.start(), match[0].decode()) for match in matches if match]


@given(parts=st.lists(st.tuples(fillers, planted), max_size=6), rest=fillers, sizes=cuts)
def test_every_planted_secret_is_found_and_nothing_else(
    parts: list[tuple[bytes, str]], rest: bytes, sizes: list[int]
) -> None:
    data = b"".join(filler + b" " + secret.encode() + b" " for filler, secret in parts) + rest

    candidates = found(data, sizes)

    assert [(each.offset, each.secret.reveal()) for each in candidates] == expected(data)
    assert [each.secret.reveal() for each in candidates] == [secret for _, secret in parts]
    for each in candidates:
        text = each.secret.reveal()
        assert each.is_genuine == (text in SECRETS)
        assert text.startswith(f"{each.prefix}_")
        assert len(text) == len(each.prefix) + 50


@given(parts=st.lists(st.one_of(fillers, planted.map(str.encode)), max_size=8), sizes=cuts)
def test_where_a_stream_is_cut_changes_nothing(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)

    candidates = found(data, sizes)

    assert [(each.offset, each.secret.reveal()) for each in candidates] == expected(data)
    for each in candidates:
        before = data[: each.offset]
        mark = 3 if data.startswith(b"\xef\xbb\xbf") else 2 if data[:2] in (b"\xff\xfe", b"\xfe\xff") else 0
        line_start = before.rfind(b"\n") + 1 or mark
        assert (each.line, each.column) == (before.count(b"\n") + 1, each.offset - line_start + 1)


@given(
    lines=st.lists(st.text(alphabet=ALPHABET + " é漢", max_size=20), max_size=6),
    position=st.integers(0, 5),
    column=st.integers(0, 20),
    secret=planted,
    encoding=st.sampled_from(["utf-16-le", "utf-16-be", "utf-16"]),
    sizes=cuts,
)
def test_secrets_in_utf_16_are_found(
    lines: list[str], position: int, column: int, secret: str, encoding: str, sizes: list[int]
) -> None:
    lines = [*lines, ""]
    position = min(position, len(lines) - 1)
    line = lines[position]
    before = line[:column]
    lines[position] = before + secret + line[column:]

    (candidate,) = found("\n".join(lines).encode(encoding), sizes)

    assert candidate.secret.reveal() == secret
    assert candidate.is_genuine == (secret in SECRETS)
    assert (candidate.line, candidate.column) == (position + 1, len(before) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_secret_that_we_draw_is_found(kind: str) -> None:
    for _ in range(50):
        secret = draw_secret(kind)
        (candidate,) = found(b"x" + secret.reveal().encode() + b"x")
        assert candidate.is_genuine
        assert candidate.prefix == prefix_of(secret) == find_prefix(secret.reveal())
        assert re.fullmatch(PUBLISHED_PATTERN, secret.reveal())


def test_a_genuine_secret_in_the_tail_of_one_that_looks_alike_is_found() -> None:
    alike = "ang_test_00000000_" + "0" * 46
    assert [each.is_genuine for each in found(f"{alike}{KEY}".encode())] == [False, True]


def test_two_genuine_secrets_that_share_a_letter_are_both_found() -> None:
    bodies = (f"ang_live_00000000_{number:043}" for number in range(10_000))
    first = next(body + checksum(body) for body in bodies if checksum(body)[-1] == "a")
    assert [each.is_genuine for each in found(f"{first}{KEY[1:]}".encode())] == [True, True]


@pytest.mark.parametrize("around", ['"', "'", "=", "%22", "\\n", "\x00", "é", "A"])
def test_what_stands_around_a_secret_does_not_matter(around: str) -> None:
    (candidate,) = found(f"{around}{KEY}{around}".encode())
    assert candidate.is_genuine


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_another_form_is_not_even_alike(text: str) -> None:
    assert found(f" {text} ".encode()) == []


def test_an_empty_stream_has_none() -> None:
    assert list(find_candidates([])) == list(find_candidates([b"", b""])) == []


def test_a_candidate_does_not_show_its_secret() -> None:
    (candidate,) = found(KEY.encode())
    assert KEY[-49:] not in repr(candidate)
    assert candidate.prefix in repr(candidate)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://example.org/a?b=c", "https://example.org/a?b=c"),
        (f"dir/{KEY}.txt", f"dir/{KEY[:17]}_[masked].txt"),
        (f"{KEY[:40]}", f"{KEY[:17]}_[masked]"),
        ("a\x1b[2Jb\u202ec\udc80d\x00", "a\ufffd[2Jb\ufffdc\ufffdd\ufffd"),
    ],
)
def test_redacted_text_holds_no_secret_and_only_what_prints(text: str, shown: str) -> None:
    assert redact(text) == shown
