"""What is wrong with a request: one violation per faulty field, and the exceptions that carry them.

A violation's `field` is the path as the client spelled it (`quota.inner.nums[2]`), a header's name, or `body` for the
document as a whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

BODY = "body"
MAX_VIOLATIONS = 100
"""How many violations one answer lists at most, so that a small request cannot ask for a huge answer."""
_MAX_NAME = 200


class Violation(NamedTuple):
    """One faulty field and a sentence that says what is wrong with it."""

    field: str
    description: str


class Refused(ValueError):
    """One value is not what its field takes. The text completes the sentence "<field> …"."""


class InvalidRequest(Exception):
    """The request does not fit its message; `violations` names every fault that can be known."""

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {description}" for field, description in violations))
        self.violations = tuple(Violation(field, description) for field, description in violations)


class Refusal(Exception):
    """The request is refused as a whole and for no field: `status`, the transcoder's `code`, a sentence, headers."""

    def __init__(self, status: int, code: str, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = tuple(headers)


class Faults(list[Violation]):
    """Violations collected while a document is read, at most `MAX_VIOLATIONS`. Paths grow from the inside outwards."""

    def add(self, field: str, description: str) -> None:
        """Note one fault. A name that only the client can have made up is shortened and made printable."""
        if len(self) < MAX_VIOLATIONS:
            self.append(Violation(printable(field), description))

    def within(self, mark: int, step: str) -> None:
        """Put `step` in front of the paths of every fault noted since the list was `mark` long."""
        for index in range(mark, len(self)):
            field, description = self[index]
            self[index] = Violation(join(printable(step), field), description)


def join(parent: str, child: str) -> str:
    """Join two parts of a path: `a` and `b` to `a.b`, `a` and `[0]` to `a[0]`."""
    if not parent or not child:
        return parent or child
    return parent + child if child[0] == "[" else f"{parent}.{child}"


def printable(name: str) -> str:
    """Return a client's name fit for an answer: no lone surrogates, no control characters, at most 200 characters."""
    if len(name) > _MAX_NAME:
        name = name[:_MAX_NAME] + "…"
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in name)
