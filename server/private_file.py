"""Secrets of one installation kept in files: made once, whole or not at all, and readable by nobody else."""

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class PrivateFileError(Exception):
    """A secret file cannot be used. The text names the file and what to do about it, never its content."""


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the content of a private file, made with `make` when there is none; several processes may do so at once.

    Raises:
        PrivateFileError: others may read the file, or it cannot be read or written.
    """
    try:
        if not path.exists():
            _create(path, make())
        return _read(path)
    except OSError as error:
        raise PrivateFileError(f"{path}: {error.strerror}. Give its owner access, or set DEVELOPER_DATA_DIR.") from None


def _create(path: Path, content: bytes) -> None:
    """Put the content at `path` unless another process does so first; a half-written file never has that name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise PrivateFileError(f"{path}: others may read this secret. Run: chmod 600 {path}")
        return file.read()
