"""Keys as text: written so that scanners recognise them, held so that nothing prints them, proved by digest alone."""

import base64
import hmac
import json
import pickle
import re
import zlib
from collections import Counter
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import peppers
from server.keys.model import Environment
from server.keys.secret import draw, find_prefix
from server.peppers import Peppers
from server.secret import Secret, prefix_of

FORMAT = re.compile(r"ang_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}[0-9A-Za-z]{6}")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
OLD, NEW = b"an old pepper of sufficient length", b"the current one, which is as long."
PEPPERS = Peppers({1: OLD, 2: NEW})
KEY = draw(Environment.LIVE).reveal()


@pytest.mark.parametrize("environment", Environment)
def test_a_drawn_key_has_the_published_form(environment: Environment) -> None:
    for _ in range(100):
        text = draw(environment).reveal()
        assert FORMAT.fullmatch(text)
        assert text.startswith(f"ang_{environment.value}_")
        assert len(text) == 67


def test_the_prefix_ends_with_the_public_id() -> None:
    secret = draw(Environment.TEST)
    assert prefix_of(secret) == find_prefix(secret.reveal()) == secret.reveal()[:17]


def test_drawn_keys_differ_in_public_id_and_in_tail() -> None:
    drawn = [draw(Environment.LIVE).reveal() for _ in range(2000)]
    assert len({text[:17] for text in drawn}) == len({text[-49:] for text in drawn}) == 2000


def test_every_digit_is_drawn_equally_often() -> None:
    """Chi-squared over 62 digits; 150 is beyond the 1 in 10^9 quantile of 61 degrees of freedom."""
    digits = "".join(text[9:17] + text[18:61] for text in (draw(Environment.LIVE).reveal() for _ in range(2000)))
    expected = len(digits) / 62
    counts = Counter(digits)
    assert set(counts) == set(BASE62)
    assert sum((counts[digit] - expected) ** 2 / expected for digit in BASE62) < 150


@given(position=st.integers(0, 66), character=st.sampled_from(BASE62 + "_-"))
def test_any_one_wrong_character_is_found(position: int, character: str) -> None:
    altered = KEY[:position] + character + KEY[position + 1 :]
    assert (find_prefix(altered) is None) == (altered != KEY)


@given(position=st.integers(0, 65))
def test_two_swapped_characters_are_found(position: int) -> None:
    swapped = KEY[:position] + KEY[position + 1] + KEY[position] + KEY[position + 2 :]
    assert (find_prefix(swapped) is None) == (swapped != KEY)


@given(st.text())
def test_any_other_text_is_no_key(text: str) -> None:
    assert find_prefix(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY[:17],
        KEY[:-1],
        KEY + "0",
        f" {KEY}",
        f"{KEY}\n",
        KEY.upper(),
        KEY.replace("live", "prod"),
        "ang_live_" + "\u0660" * 8 + KEY[17:],
    ],
)
def test_what_only_resembles_a_key_is_none(text: str) -> None:
    assert find_prefix(text) is None


def test_the_checksum_is_that_of_the_published_algorithm() -> None:
    """Fixed for ever: scanners of others compute it too (CRC-32 of everything before it, in base62)."""
    assert find_prefix("ang_live_00000000_" + "0" * 43 + "3QudW5") is None
    body = "ang_live_00000000_" + "0" * 43
    number = zlib.crc32(body.encode())
    checksum = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        checksum = BASE62[digit] + checksum
    assert find_prefix(body + checksum) == "ang_live_00000000"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{}".format,
        "%s".__mod__,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>80}",
        lambda secret: f"{secret:>80}",
        lambda secret: str([secret]),
        lambda secret: str({"a": (secret,)}),
    ],
)
def test_a_secret_is_not_printed(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(KEY))
    assert KEY[-49:] not in shown
    assert "[secret]" in shown


def test_a_secret_is_not_serialised() -> None:
    secret = Secret(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        orjson.dumps(secret)
    assert KEY[-49:] not in json.dumps([secret], default=str)
    assert not hasattr(secret, "__dict__")


def test_a_secret_in_a_failure_is_not_printed() -> None:
    with pytest.raises(ValueError) as failure:
        raise ValueError(Secret(KEY))
    assert KEY[-49:] not in str(failure.value) + repr(failure.value)


def test_secrets_do_not_compare_by_their_text() -> None:
    assert Secret(KEY) != Secret(KEY)


def test_a_digest_is_the_hmac_of_the_whole_key_under_one_pepper() -> None:
    assert PEPPERS.current == 2
    assert PEPPERS.digest(Secret(KEY), 1) == hmac.digest(OLD, KEY.encode(), "sha256")
    assert PEPPERS.digest(Secret(KEY), 2) == hmac.digest(NEW, KEY.encode(), "sha256")


@pytest.mark.parametrize("version", [1, 2])
def test_a_digest_proves_its_key_and_no_other(version: int) -> None:
    digest = PEPPERS.digest(Secret(KEY), version)
    assert PEPPERS.proves(Secret(KEY), digest, version)
    assert not PEPPERS.proves(draw(Environment.LIVE), digest, version)
    assert not PEPPERS.proves(Secret(KEY), digest, 3 - version)
    assert not PEPPERS.proves(Secret(KEY), digest[:-1], version)
    assert not PEPPERS.proves(Secret(KEY), b"", version)


def test_a_digest_under_a_pepper_that_is_gone_proves_nothing() -> None:
    assert not PEPPERS.proves(Secret(KEY), PEPPERS.digest(Secret(KEY), 1), 3)
    assert PEPPERS.derive("purpose", 3) is None


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    class Spy:
        digest = staticmethod(hmac.digest)
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(peppers, "hmac", Spy)
    digest = PEPPERS.digest(Secret(KEY), 1)
    assert PEPPERS.proves(Secret(KEY), digest, 1)
    assert compared == [(digest, digest)]


def test_derived_keys_differ_by_purpose_version_and_context() -> None:
    derived = {
        PEPPERS.derive(purpose, version, context)
        for purpose in ("one", "two")
        for version in (1, 2)
        for context in (b"", b"a", b"ab")
    }
    assert len(derived) == 12
    assert all(key is not None and len(key) == 32 for key in derived)
    assert PEPPERS.derive("one", 1, b"a") == PEPPERS.derive("one", 1, b"a")


def _encoded(pepper: bytes) -> str:
    return base64.b64encode(pepper).decode()


@pytest.mark.parametrize(
    ("text", "current"),
    [
        (f"1:{_encoded(OLD)}", 1),
        (f"1:{_encoded(OLD)},2:{_encoded(NEW)}", 2),
        (f" 7:{_encoded(OLD)} , 3:{_encoded(NEW)} ", 7),
        (f"999999999:{_encoded(OLD)}", 999_999_999),
    ],
)
def test_peppers_are_read_and_the_highest_is_current(text: str, current: int) -> None:
    assert Peppers.parse(text).current == current


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "entry 1 is not VERSION:BASE64"),
        (_encoded(OLD), "entry 1 is not VERSION:BASE64"),
        (f"one:{_encoded(OLD)}", "entry 1 is not VERSION:BASE64"),
        (f"-1:{_encoded(OLD)}", "entry 1 is not VERSION:BASE64"),
        (f"\u0661:{_encoded(OLD)}", "entry 1 is not VERSION:BASE64"),
        (f"²:{_encoded(OLD)}", "entry 1 is not VERSION:BASE64"),
        (f"1:{_encoded(OLD)},1:{_encoded(NEW)}", "entry 2 is not VERSION:BASE64 with a version of its own"),
        (f"1:{_encoded(OLD)},", "entry 2 is not VERSION:BASE64"),
        (f"1:{_encoded(OLD)[:-3]}!", "entry 1 is not valid base64"),
        ("1:ä", "entry 1 is not valid base64"),
        (f"0:{_encoded(OLD)}", "pepper 0: versions are 1 to 999999999"),
        (f"1000000000:{_encoded(OLD)}", "pepper 1000000000: versions are 1 to 999999999"),
        (f"1:{_encoded(OLD)},2:{_encoded(b'x' * 31)}", "pepper 2: "),
        ("1:", "pepper 1: "),
    ],
)
def test_faulty_peppers_are_refused_without_being_repeated(text: str, fault: str) -> None:
    with pytest.raises(ValueError) as failure:
        Peppers.parse(text)
    assert str(failure.value).startswith(fault)
    assert _encoded(OLD)[:12] not in str(failure.value)


def test_there_must_be_a_pepper() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Peppers({})


def test_peppers_are_not_printed() -> None:
    assert repr(PEPPERS) == str(PEPPERS) == "Peppers(versions=[1, 2])"


def test_a_new_pepper_can_be_known_before_it_is_used() -> None:
    peppers = Peppers({1: b"a" * 32, 2: b"b" * 32})

    assert peppers.current == 2
    assert peppers.using(None).current == 2
    assert peppers.using(1).current == 1
    assert 2 in peppers.using(1)
    with pytest.raises(ValueError, match="pepper 3"):
        peppers.using(3)
