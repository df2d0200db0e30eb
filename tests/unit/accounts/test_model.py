"""What developers may tell of themselves: addresses, companies, reasons."""

import pytest

from server.accounts.model import check_address, check_organisation, check_reason


@pytest.mark.parametrize(
    "address", ["dev@example.com", "a@b", "first.last+tag@sub.example.org", "x" * 64 + "@e.example"]
)
def test_an_address_of_plain_characters_passes(address: str) -> None:
    assert check_address(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "dev",
        "@example.com",
        "dev@",
        "dev@example.com\n",
        "dev@example.com\r\nBcc: all@example.com",
        "dev@exam\0ple.com",
        "dev @example.com",
        "désolé@example.com",
        "dev@exämple.com",
        "dev@example.com\u202e",
        "x" * 250 + "@e.example",
    ],
)
def test_an_address_that_could_break_what_it_stands_in_is_refused(address: str) -> None:
    fault = check_address(address)
    assert fault
    assert fault.field == "contact_email"


def test_no_organisation_is_one_too() -> None:
    assert check_organisation("") == ("", None)
    assert check_organisation("Cafe\u0301 AG") == ("Café AG", None)


@pytest.mark.parametrize("organisation", [" ", "a" * 101, "a\nb", "\u202eevil"])
def test_an_organisation_is_judged_as_a_name(organisation: str) -> None:
    _, fault = check_organisation(organisation)
    assert fault
    assert fault.field == "organisation"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        ("  We grow. \n", "We grow."),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("نكبر", "نكبر"),
        ("a" * 1000,) * 2,
    ],
)
def test_a_reason_may_have_lines(text: str, reason: str) -> None:
    assert check_reason(text) == (reason, None)


@pytest.mark.parametrize("reason", ["a" * 1001, "a\0b", "a\x1b[2Jb", "a\u202eb", "a\rb", "a\x7fb"])
def test_a_reason_that_would_play_with_a_terminal_is_refused(reason: str) -> None:
    _, fault = check_reason(reason)
    assert fault
    assert fault.field == "reason"
