"""Secrets of one installation kept in files: made once, whole or not at all, and readable by nobody else."""

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LARGEST = 64 * 1024


class PrivateFileError(Exception):
    """A secret file cannot be used. The text names the file and what to do about it, never its content."""


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of a private file, made with `make` when there is none; several processes may do so at once.

    Raises:
        PrivateFileError: the file or its folder cannot be used, or others may read the secret.
    """
    try:
        if not path.exists():
            _create(path, make())
        return _read(path)
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be used ({error.strerror}): this user must be able to write its folder and read it"
        ) from None


def _create(path: Path, content: bytes) -> None:
    """Put the content at `path` unless another process does so first; a half-written file never has that name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # the other process won: its secret is the secret
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            permissions = stat.S_IMODE(mode)
            raise PrivateFileError(f"{path} is open to other users (mode {permissions:04o}): chmod 600 {path}")
        return os.read(descriptor, _LARGEST)  # of anything but a file this fails, with a reason
    finally:
        os.close(descriptor)
