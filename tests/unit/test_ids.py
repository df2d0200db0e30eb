"""Ids: typed by a prefix, sortable by age, and recognised without a look-up."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ids import find_key_id, new_call_id, new_developer_id, new_event_id, new_key_id

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.mark.parametrize(
    ("make", "prefix"),
    [(new_key_id, "key"), (new_developer_id, "dev"), (new_event_id, "evt"), (new_call_id, "call")],
)
def test_an_id_is_a_prefix_and_26_characters(make: object, prefix: str) -> None:
    assert callable(make)
    made = [make() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(re.fullmatch(rf"{prefix}_[0-7][{ALPHABET}]{{25}}", each) for each in made)


def test_ids_sort_by_age() -> None:
    made = [new_key_id() for _ in range(5000)]
    assert made == sorted(made)


def test_a_made_id_is_found() -> None:
    for _ in range(100):
        made = new_key_id()
        assert find_key_id(made) == made


@given(st.integers(0, 2**128 - 1))
def test_every_number_of_128_bits_could_be_an_id(number: int) -> None:
    tail = "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
    assert find_key_id(f"key_{tail}") == f"key_{tail}"


@given(st.text())
def test_garbage_is_no_id(text: str) -> None:
    assert find_key_id(text) is None


@given(st.text(alphabet="key_" + ALPHABET + "ILOU8", max_size=32))
def test_what_is_found_is_of_the_one_form(text: str) -> None:
    found = find_key_id(text)
    assert (found is not None) == bool(re.fullmatch(rf"key_[0-7][{ALPHABET}]{{25}}", text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key_",
        "key_123",
        "dev_01jd3m8r5vf4q9zq5k2t7w6x8y",
        "KEY_01jd3m8r5vf4q9zq5k2t7w6x8y",
        "key_01JD3M8R5VF4Q9ZQ5K2T7W6X8Y",
        "key_81jd3m8r5vf4q9zq5k2t7w6x8y",
        "key_01jd3m8r5vf4q9zq5k2t7w6x8i",
        "key_01jd3m8r5vf4q9zq5k2t7w6x8y\n",
        "key__01jd3m8r5vf4q9zq5k2t7w6x8",
        "key_01jd3m8r5vf4q9zq5k2t7w6x8y0",
    ],
)
def test_what_only_resembles_an_id_is_none(text: str) -> None:
    assert find_key_id(text) is None
