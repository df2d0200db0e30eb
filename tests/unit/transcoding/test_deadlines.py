"""How long a client says that it waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transcoding.deadlines import timeout_of
from server.transcoding.violation import InvalidRequest


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"250m", 0.25),
        (b"250u", 0.00025),
        (b"99999999n", 0.099999999),
        (b"0n", 0),
        (b"007S", 7),
        (b"99999999H", 99999999 * 3600),
    ],
)
def test_a_grpc_timeout_is_a_number_and_a_unit(asked: bytes, seconds: float) -> None:
    assert timeout_of(asked, None) == pytest.approx(seconds)


@pytest.mark.parametrize(("asked", "seconds"), [(b"2", 2), (b"2.5", 2.5), (b"0", 0), (b"0.001", 0.001)])
def test_a_server_timeout_is_in_decimal_seconds(asked: bytes, seconds: float) -> None:
    assert timeout_of(None, asked) == seconds


def test_the_smaller_of_two_timeouts_counts() -> None:
    assert timeout_of(b"3S", b"2.5") == 2.5
    assert timeout_of(b"2S", b"2.5") == 2


def test_no_header_asks_for_nothing() -> None:
    assert timeout_of(None, None) is None


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"S",
        b"1",
        b"1s",
        b"1h",
        b"-1S",
        b"+1S",
        b"1.5S",
        b"123456789S",
        b" 1S",
        b"1S ",
        b"1S, 1S",
        b"1S\n",
        b"nanS",
    ],
)
def test_a_malformed_grpc_timeout_is_named(malformed: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        timeout_of(malformed, b"1")

    assert [violation.field for violation in raised.value.violations] == ["grpc-timeout"]


@pytest.mark.parametrize(
    "malformed",
    [b"", b"-1", b"+1", b"nan", b"inf", b"1e3", b"1.", b".5", b"1s", b"0x1", b"1_0", b"1, 1", b"1\n", b"1" * 10],
)
def test_a_malformed_server_timeout_is_named(malformed: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        timeout_of(b"1S", malformed)

    assert [violation.field for violation in raised.value.violations] == ["x-server-timeout"]


def test_both_are_named_when_both_are_malformed() -> None:
    with pytest.raises(InvalidRequest) as raised:
        timeout_of(b"x", b"y")

    assert [violation.field for violation in raised.value.violations] == ["grpc-timeout", "x-server-timeout"]


@given(st.none() | st.binary(max_size=12), st.none() | st.binary(max_size=12))
def test_any_bytes_are_a_timeout_or_refused(grpc_timeout: bytes | None, server_timeout: bytes | None) -> None:
    try:
        seconds = timeout_of(grpc_timeout, server_timeout)
    except InvalidRequest:
        return
    assert (seconds is None) == (grpc_timeout is None and server_timeout is None)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 99_999_999), st.sampled_from("HMSmun"))
def test_every_grpc_timeout_of_the_specification_is_read(number: int, unit: str) -> None:
    scale = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}[unit]

    assert timeout_of(f"{number}{unit}".encode(), None) == pytest.approx(number * scale)
