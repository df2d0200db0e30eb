"""Which types of messages lie below which."""

from collections.abc import Callable

from google.protobuf.descriptor import Descriptor


class Holders:
    """The types of messages that are of a sought kind or can hold one that is, anywhere below them.

    Each type is looked at once, whichever was asked about first: many routes lead to the same types. One per
    descriptor pool.
    """

    def __init__(self, is_sought: Callable[[Descriptor], bool]) -> None:
        self._is_sought = is_sought
        self._above: dict[str, list[str]] = {}
        """The types that have a field of a type, for every type met so far."""
        self._holders: set[str] = set()

    def __contains__(self, descriptor: Descriptor) -> bool:
        if descriptor.full_name not in self._above:
            self._add(descriptor)
        return descriptor.full_name in self._holders

    def _add(self, descriptor: Descriptor) -> None:
        found = []
        self._above[descriptor.full_name] = []
        ahead = [descriptor]
        while ahead:
            kind = ahead.pop()
            if self._is_sought(kind):
                found.append(kind.full_name)
            for below in filter(None, (field.message_type for field in kind.fields)):
                if below.full_name not in self._above:
                    self._above[below.full_name] = []
                    ahead.append(below)
                self._above[below.full_name].append(kind.full_name)
                if below.full_name in self._holders:
                    found.append(kind.full_name)
        while found:
            name = found.pop()
            if name not in self._holders:
                self._holders.add(name)
                found += self._above[name]
