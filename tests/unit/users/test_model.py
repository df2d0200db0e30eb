"""Which names and passwords may be chosen."""

import pytest

from server.users.model import check_password, check_username, find_username, normalise_password


@pytest.mark.parametrize("name", ["a", "alice", "0day", "a.b_c-d", "x" * 63])
def test_these_are_names(name: str) -> None:
    assert check_username(name) is None
    assert find_username(name) == name


@pytest.mark.parametrize(
    "name", ["", ".a", "-a", "_a", "a b", "a/b", "al\nice", "alice\n", "ålice", "x" * 64, "a@b", "a:b"]
)
def test_these_are_none(name: str) -> None:
    assert check_username(name) is not None
    if not name.endswith("\n"):
        assert find_username(name) is None


def test_a_new_name_is_lower_case() -> None:
    assert check_username("Alice") is not None


@pytest.mark.parametrize("typed", ["Alice", " alice ", "ALICE\n"])
def test_a_name_is_found_in_any_case(typed: str) -> None:
    assert find_username(typed) == "alice"


def test_a_letter_that_only_becomes_ascii_in_lower_case_is_not_it() -> None:
    assert find_username("\u212aate") is None  # the Kelvin sign


def test_composed_and_decomposed_passwords_are_the_same() -> None:
    assert normalise_password("cafe\u0301 au lait, s'il") == normalise_password("caf\u00e9 au lait, s'il")


@pytest.mark.parametrize(
    "password", ["twelve chars", "x7#uV" * 40, "kaffee mit milch", "كلمة سر طويلة جدا", "🦜🦊🐢🐙🦋🐝🐞🦂🐌🪲🦗🐜"]
)
def test_these_passwords_will_do(password: str) -> None:
    assert check_password(password, "alice") is None


@pytest.mark.parametrize(
    "password",
    [
        "",
        "elevenchars",
        "xyzuv" * 41,
        "Password1234",
        "password!!!!!",
        "QWERTYuiop12",
        "letmein123456",
        "Correct Horse Battery Staple",
        "123456789012",
        "aaaaaaaaaaaaaaa",
        "abababababab",
        "with\x00a nul in it",
        "a lone \ud800 surrogate",
        "Administrator",
    ],
)
def test_these_are_refused(password: str) -> None:
    violation = check_password(password, "alice")
    assert violation is not None
    assert violation.field == "password"
    assert not password or password not in violation.description


@pytest.mark.parametrize("password", ["hieronymus.bosch", "Hieronymus.Bosch", "hieronymus.bosch1"])
def test_the_name_is_no_password(password: str) -> None:
    assert check_password(password, "hieronymus.bosch") is not None
