"""What the particulars of an event look like to people."""

import pytest

from server.audit.details import as_text
from server.audit.store import Action


@pytest.mark.parametrize(
    ("action", "details", "told"),
    [
        (Action.KEY_CREATED, {"scopes": ["read", "stream"]}, {"scopes": "read, stream"}),
        (Action.KEY_CREATED, {"name": "Production"}, {"name": "Production"}),
        (Action.KEY_UPDATED, {"name": ["Old", "New"]}, {"name": "Old → New"}),
        (
            Action.KEY_UPDATED,
            {"expires_at": [None, "2099-01-01 00:00:00+00:00"]},
            {"expires_at": "none → 2099-01-01T00:00:00.000000Z"},
        ),
        (
            Action.KEY_ROTATED,
            {"version": 2, "previous_expires_at": "2026-11-22T05:00:00.5+01:00"},
            {"version": "2", "previous_expires_at": "2026-11-22T04:00:00.500000Z"},
        ),
        (
            Action.CLIENT_UPDATED,
            {"redirect_uris": [["https://a"], ["https://a", "https://b"]]},
            {"redirect_uris": "https://a → https://a, https://b"},
        ),
        (
            Action.CLIENT_UPDATE_REAPPLIED,
            {"allowed_scopes": ["read stream", ""], "redirect_uris_removed": "https://a"},
            {"allowed_scopes": "read stream → none", "redirect_uris_removed": "https://a"},
        ),
        (Action.DEVELOPER_UPDATED, {"organisation": ["", "Acme"]}, {"organisation": "none → Acme"}),
        (Action.DEVELOPER_TIER_CHANGED, {"tier": ["standard", "partner"]}, {"tier": "standard → partner"}),
        (
            Action.KEY_LEAK_REPORTED,
            {"revoked": True, "found_at": "somewhere"},
            {"revoked": "yes", "found_at": "somewhere"},
        ),
        (Action.KEY_REVOKED, {}, {}),
    ],
)
def test_details_are_told_in_words(action: Action, details: dict[str, object], told: dict[str, str]) -> None:
    assert as_text(action.value, details) == told


def test_an_action_of_a_newer_release_is_told_all_the_same() -> None:
    assert as_text("key.painted", {"colours": ["red", "blue"], "times": 2}) == {"colours": "red, blue", "times": "2"}
