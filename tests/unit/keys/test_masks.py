"""Update masks: which fields an update changes, and what is said of those it cannot."""

import pytest

from server.errors import InvalidRequest
from server.keys.service import UpdateKey, _checked_paths


def _wish(paths: tuple[str, ...] | None, name: str = "", expires_at: str = "") -> UpdateKey:
    return UpdateKey(id="key", name=name, expires_at=expires_at, paths=paths)


@pytest.mark.parametrize(
    ("wish", "paths"),
    [
        (_wish(None, name="a"), ["name"]),
        (_wish(None, expires_at="soon"), ["expires_at"]),
        (_wish(None, name="a", expires_at="soon"), ["name", "expires_at"]),
        (_wish(("name",)), ["name"]),
        (_wish(("expires_at",), name="a"), ["expires_at"]),
        (_wish(("expires_at", "name")), ["expires_at", "name"]),
    ],
)
def test_a_mask_names_what_changes_and_without_one_what_was_set(wish: UpdateKey, paths: list[str]) -> None:
    assert list(_checked_paths(wish)) == paths


@pytest.mark.parametrize(
    ("wish", "faults"),
    [
        (_wish(None), 1),
        (_wish(("id",)), 1),
        (_wish(("name", "scopes")), 1),
        (_wish(("scopes", "scopes", "status")), 2),
        (_wish(("*",)), 1),
        (_wish(("Name",)), 1),
        (_wish(("name.first",)), 1),
        (_wish(("",)), 1),
        (_wish(("x" * 5000,)), 1),
    ],
)
def test_a_path_that_cannot_change_is_named_once(wish: UpdateKey, faults: int) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        _checked_paths(wish)
    assert [violation.field for violation in refusal.value.violations] == ["update_mask"] * faults
    assert len(refusal.value.message) < 300
