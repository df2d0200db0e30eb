"""Loader of named SQL statements: `queries.sql` files in which every statement has a name and a sentence."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_NAME_LINE = re.compile(r"^-- name:(.*)$", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def load(path: Path) -> Mapping[str, str]:
    """Read the statements of a file by name.

    The form is a line `-- name: find_key`, one or more comment lines, one statement with its semicolon.

    Raises:
        ValueError: naming the file and what breaks the form: text before the first name, a bad or repeated name, a
            missing sentence, no statement or more than one.
    """
    before, *parts = _NAME_LINE.split(path.read_text(encoding="utf-8"))
    if before.strip():
        raise ValueError(f"{path}: text before the first '-- name:' line")
    statements: dict[str, str] = {}
    for name, body in zip(map(str.strip, parts[::2]), parts[1::2], strict=True):
        if not _NAME.fullmatch(name) or name in statements:
            raise ValueError(f"{path}: bad or repeated name '{name}'")
        statements[name] = _statement(body.strip(), f"{path}: {name}")
    return MappingProxyType(statements)


def find_files(root: Path) -> list[Path]:
    """Find every `queries.sql` below a folder, in a stable order."""
    return sorted(root.rglob("queries.sql"))


def _statement(body: str, where: str) -> str:
    lines = body.splitlines()
    code = [line for line in lines if not line.startswith("--")]
    if not lines or not lines[0].startswith("--") or not lines[0].strip("- "):
        raise ValueError(f"{where} has no sentence")
    statement = "\n".join(code).strip()
    if not statement.endswith(";") or ";" in statement[:-1]:
        raise ValueError(f"{where} is not exactly one statement with its semicolon")
    return statement
