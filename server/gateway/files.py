"""The proto files of an upstream, collected without trust: only so many, only so large, and put in order.

Files whose messages the transcoder knows by name (`google/protobuf/*`, `google.api`'s annotations and bodies) are taken
from the installed packages, whatever the upstream calls by their names. Other files of Google's, which upstreams often
leave out, are taken from there when the upstream has none.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from importlib import import_module

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

MAXIMUM_FILES = 2_000
MAXIMUM_BYTES = 16 * 1024 * 1024

_OURS_FIRST = re.compile(r"google/protobuf/\w+\.proto|google/api/(annotations|http|httpbody)\.proto")
_INSTALLED = re.compile(r"google/(protobuf|api|rpc|type|longrunning|logging/type)/\w+\.proto")


UNREACHABLE = "The upstream cannot be reached, or not with these TLS options."


class CannotLearn(Exception):
    """What the upstream serves cannot be learned or described; the text is a sentence that says why and what to do."""


class Files:
    """Files as they come in. Of two by one name the first counts."""

    def __init__(self) -> None:
        self._files: dict[str, FileDescriptorProto] = {}
        self._services: set[str] = set()
        self._imported: deque[str] = deque()
        self._seen: set[bytes] = set()
        self._octets = 0

    def add(self, serialized: Iterable[bytes]) -> None:
        """Take files as reflection gives them. Raises `CannotLearn` for what is no file and for too many."""
        for octets in serialized:
            if octets in self._seen:
                continue  # many servers give all that a file imports with every file
            self._seen.add(octets)
            self._octets += len(octets)
            if self._octets > MAXIMUM_BYTES:
                raise CannotLearn(f"The upstream's proto files have more than {MAXIMUM_BYTES:,} bytes.")
            try:
                file = FileDescriptorProto.FromString(octets)
                "".join((file.name, file.package, *file.dependency, *(service.name for service in file.service)))
            except (DecodeError, TypeError):  # protobuf gives names that are not UTF-8 as bytes
                raise CannotLearn("The upstream's reflection gives files that are no FileDescriptorProto.") from None
            self._put((find_installed(file.name) if _OURS_FIRST.fullmatch(file.name) else None) or file)

    def has_service(self, name: str) -> bool:
        """Tell whether a service is in one of the files."""
        return name in self._services

    def next_missing(self) -> str | None:
        """Return the name of a file that is imported and has to be asked for, None when all are here."""
        while self._imported:
            name = self._imported.popleft()
            installed = find_installed(name) if _OURS_FIRST.fullmatch(name) else None
            if installed is not None:
                self._put(installed)
            elif name not in self._files:
                return name
        return None

    def substitute(self, name: str) -> None:
        """Put the installed file in the place of one that the upstream has not given; else an empty one.

        An import that only options need is not needed to serve, and an empty file satisfies it. One whose types are
        used is missed when the files are linked.
        """
        if name not in self._files:
            self._put(find_installed(name) or FileDescriptorProto(name=name))

    def in_order(self) -> Sequence[FileDescriptorProto]:
        """Return all files, each after those it imports. Raises `CannotLearn` where they import each other."""
        graph = {name: sorted(set(file.dependency)) for name, file in sorted(self._files.items())}
        try:
            return [self._files[name] for name in TopologicalSorter(graph).static_order()]
        except CycleError:
            raise CannotLearn("The upstream's proto files import each other in a circle.") from None

    def _put(self, file: FileDescriptorProto) -> None:
        if file.name in self._files:
            return
        if len(self._files) >= MAXIMUM_FILES:
            raise CannotLearn(f"The upstream has more than {MAXIMUM_FILES:,} proto files.")
        self._files[file.name] = file
        self._imported.extend(file.dependency)
        prefix = f"{file.package}." if file.package else ""
        self._services.update(prefix + service.name for service in file.service)


def find_installed(name: str) -> FileDescriptorProto | None:
    """Return a file of Google's that is installed here; None for any other."""
    if not _INSTALLED.fullmatch(name):
        return None
    try:
        module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    except ImportError:
        return None
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file
