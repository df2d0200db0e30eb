"""Page tokens: whoever changes one, or brings another's, is told so and nothing else."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import InvalidRequest
from server.ids import DeveloperId, new_developer_id, new_key_id
from server.paging import PageTokens
from server.peppers import Peppers

ALICE, BOB = new_developer_id(), new_developer_id()
OLD, NEW = b"o" * 32, b"n" * 32
TOKENS = PageTokens(Peppers({7: OLD}), "ListApiKeys")
KEY_ID = new_key_id()
MOMENT = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TOKEN = TOKENS.after(ALICE, MOMENT, KEY_ID)


def _refused(token: str, tokens: PageTokens = TOKENS, developer_id: DeveloperId = ALICE) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        tokens.read(token, developer_id)
    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_token_leads_back_to_where_it_was_made(moment: datetime) -> None:
    assert TOKENS.read(TOKENS.after(ALICE, moment, KEY_ID), ALICE) == (moment, KEY_ID)


def test_a_token_can_stand_in_a_url_and_in_a_request() -> None:
    assert set(TOKEN) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(TOKEN) <= 500


def test_every_byte_of_a_token_counts() -> None:
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for position in range(len(raw)):
        for flipped in (1, 0x80):
            altered = raw[:position] + bytes([raw[position] ^ flipped]) + raw[position + 1 :]
            _refused(base64.urlsafe_b64encode(altered).rstrip(b"=").decode())
        _refused(base64.urlsafe_b64encode(raw[:position]).rstrip(b"=").decode())
    _refused(base64.urlsafe_b64encode(raw + b"0").rstrip(b"=").decode())


def test_a_token_is_of_no_use_to_another_developer() -> None:
    _refused(TOKEN, developer_id=BOB)


def test_a_token_of_one_list_is_of_no_use_in_another() -> None:
    _refused(TOKEN, PageTokens(Peppers({7: OLD}), "ListAuditEvents"))


def test_a_token_outlives_a_new_pepper_but_not_the_loss_of_its_own() -> None:
    both, only_new, forged = Peppers({7: OLD, 8: NEW}), Peppers({8: NEW}), Peppers({7: NEW})
    assert PageTokens(both, "ListApiKeys").read(TOKEN, ALICE) == (MOMENT, KEY_ID)
    assert PageTokens(both, "ListApiKeys").after(ALICE, MOMENT, KEY_ID) != TOKEN
    _refused(TOKEN, PageTokens(only_new, "ListApiKeys"))
    _refused(TOKEN, PageTokens(forged, "ListApiKeys"))


def test_the_highest_version_of_a_pepper_makes_tokens_too() -> None:
    tokens = PageTokens(Peppers({999_999_999: OLD}), "ListApiKeys")
    assert tokens.read(tokens.after(ALICE, MOMENT, KEY_ID), ALICE) == (MOMENT, KEY_ID)


@given(st.text(max_size=200))
def test_garbage_is_refused(text: str) -> None:
    _refused(text)


@given(st.binary(max_size=200))
def test_garbage_in_base64_is_refused(raw: bytes) -> None:
    _refused(base64.urlsafe_b64encode(raw).decode())


@given(st.binary(min_size=16, max_size=16), st.integers(), st.text(max_size=30))
def test_a_position_without_its_tag_is_refused(tag: bytes, moment: int, key_id: str) -> None:
    position = f"7.{moment}.{key_id}".encode("utf-8", "surrogatepass")
    _refused(base64.urlsafe_b64encode(tag + position).rstrip(b"=").decode())


@pytest.mark.parametrize("token", ["=", "====", TOKEN + "\n", f" {TOKEN}", "é", "\ud800", "A" * 10_000])
def test_odd_text_is_refused(token: str) -> None:
    _refused(token)
