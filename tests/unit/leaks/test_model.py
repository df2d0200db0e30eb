"""The state of a secret follows from what the database holds; what cannot be undone is told first."""

from typing import Any

import pytest

from server.ids import new_developer_id
from server.leaks.model import HeldSecret, Holder, State

GOOD: dict[str, Any] = {
    "holder": Holder.KEY,
    "holder_id": "key_1",
    "developer_id": new_developer_id(),
    "prefix": "ang_live_12345678",
    "version": 1,
    "digest": bytes(32),
    "pepper_version": 1,
    "retires": False,
    "retired": False,
    "ended": False,
    "revoked": False,
    "expired": False,
    "suspended": False,
}


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ("", State.LIVE),
        ("retires retired", State.IN_GRACE),
        ("suspended", State.SUSPENDED),
        ("suspended retires retired", State.SUSPENDED),
        ("retires retired ended", State.ROTATED_OUT),
        ("retires retired ended suspended", State.ROTATED_OUT),
        ("retires ended", State.REVOKED),
        ("expired", State.EXPIRED),
        ("expired retires retired ended suspended", State.EXPIRED),
        ("revoked", State.REVOKED),
        ("revoked expired retires retired ended suspended", State.REVOKED),
    ],
)
def test_a_state_follows_from_the_facts(facts: str, state: State) -> None:
    assert HeldSecret(**GOOD | dict.fromkeys(facts.split(), True)).state is state


def test_live_is_what_opens_something_now_or_when_a_suspension_ends() -> None:
    assert [state for state in State if state.is_live] == [State.LIVE, State.IN_GRACE, State.SUSPENDED]
