"""What the error pages say: for each status a title, what it means and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from server.pages.languages import translatable


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The words of one error page, as message ids."""

    title: str
    advice: str


_REFUSED: Final = Fault(
    title=translatable("This form was not accepted"),
    advice=translatable(
        "Nothing was changed. Go back, reload the page and send the form again. "
        "If that does not help, allow cookies for this site and use the address that you signed in at."
    ),
)
_UNEXPECTED: Final = Fault(
    title=translatable("Something failed on our side"),
    advice=translatable("Try again in a moment. If it happens again, tell us when it happened."),
)
_FAULTS: Final[Mapping[int, Fault]] = {
    400: Fault(
        title=translatable("This request cannot be read"),
        advice=translatable("Go back, reload the page and try again."),
    ),
    401: Fault(
        title=translatable("You are not signed in"),
        advice=translatable("Sign in and try again."),
    ),
    403: Fault(
        title=translatable("You may not do this"),
        advice=translatable("Your account does not have access here. Nothing was changed."),
    ),
    404: Fault(
        title=translatable("There is nothing here"),
        advice=translatable("The address may be mistyped, or what was here is gone or belongs to another account."),
    ),
    405: Fault(
        title=translatable("This page cannot be used in that way"),
        advice=translatable("Open the page from the navigation and use its forms and links."),
    ),
    409: Fault(
        title=translatable("This is no longer possible"),
        advice=translatable("Something changed in the meantime. Reload the page to see how things are now."),
    ),
    413: Fault(
        title=translatable("That was too much at once"),
        advice=translatable("Go back, shorten what you entered and send it again."),
    ),
    415: Fault(
        title=translatable("This is not a form we can read"),
        advice=translatable("Use the forms on our pages."),
    ),
    429: Fault(
        title=translatable("Too many requests"),
        advice=translatable("Wait a little, then try again."),
    ),
    503: Fault(
        title=translatable("We cannot answer right now"),
        advice=translatable(
            "Try again in a moment. A change you just made may have happened: look before you repeat it."
        ),
    ),
}


def fault_of(status: int, *, refused_form: bool = False) -> Fault:
    """Return the words for a status; a form that was refused with 403 is told how to be sent again."""
    return _REFUSED if refused_form and status == 403 else _FAULTS.get(status, _UNEXPECTED)
