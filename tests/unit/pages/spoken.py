"""The sentences that the source of services can say, read from the source itself, with a sample for each value."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import server

SAMPLE = "7"
"""What stands for a value that is not known before something runs: it fits the places of numbers and of text."""

_SERVER = Path(server.__file__).parent
_SPEAKERS = (
    "errors.py",
    "paging.py",
    "rotation.py",
    "text.py",
    "times.py",
    "accounts",
    "audit",
    "authorization/interceptor.py",
    "authorization/service.py",
    "billing",
    "clients",
    "keys",
    "limits",
    "metering",
    "rpc",
    "usage",
)
_SILENT = ("clients/directory", "metering/ledger", "rpc/reflection.py")
_SILENT_NAMES = frozenset({"logged.py", "reapply.py"})
"""What speaks to operators and to internal services alone, never to a page."""
_TOLD = frozenset(
    {
        "CallFailed",
        "Conflict",
        "Error",
        "InvalidRequest",
        "NotFound",
        "PermissionDenied",
        "RateLimited",
        "Unauthenticated",
        "Unavailable",
        "Unimplemented",
        "UntrustedRequest",
        "Violation",
    }
)
_MUTE = frozenset({"AssertionError", "Counter", "Gauge", "Histogram", "RuntimeError"})
"""What is called with words that no client reads, besides logs and the errors that are not the domain's."""
_VALUES = {"self._owner": ("key", "client")}
"""The words that a value of this name can be."""
_WORD = re.compile(r"[A-Za-z-]{2,}[.,:;]?")
_FEWEST_WORDS = 3
"""Of a sentence: what has fewer is a name, a pattern or a part of one."""

Known = Mapping[str, Sequence[str]]


def spoken() -> list[tuple[str, str]]:
    """Return every sentence with where it is said."""
    return sorted({(text, path) for path, tree in _trees() for text in _sentences(tree)})


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for name in _SPEAKERS:
        place = _SERVER / name
        for path in sorted(place.rglob("*.py") if place.is_dir() else [place]):
            relative = path.relative_to(_SERVER).as_posix()
            if not relative.startswith(_SILENT) and path.name not in _SILENT_NAMES:
                yield relative, ast.parse(path.read_text())


def _sentences(tree: ast.Module) -> Iterator[str]:
    known: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            known.setdefault(node.targets[0].id, []).extend(_texts(node.value, {}))
    yield from (text for text in _said(tree, known) if sum(map(_is_word, text.split())) >= _FEWEST_WORDS)


def _said(node: ast.AST, known: Known) -> Iterator[str]:
    """Walk through what can be read by a client; docstrings, logs, metrics and programming errors are not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call) and not _is_told(child.exc):
            continue
        if isinstance(child, ast.Call) and (_name(child) in _MUTE or ast.unparse(child.func).startswith("_log.")):
            continue
        texts = _texts(child, known) if isinstance(child, ast.Constant | ast.JoinedStr) else []
        yield from texts or _said(child, known)


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _is_told(raised: ast.Call) -> bool:
    return _name(raised) in _TOLD or _name(raised).startswith("_")


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _texts(node: ast.AST, known: Known) -> list[str]:
    """Return what an expression of text can come to."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(each) for each in product(*(_texts(part, known) or [SAMPLE] for part in parts))]
        case ast.FormattedValue(value=value):
            return list(_VALUES.get(ast.unparse(value), ())) or _texts(value, known) or [SAMPLE]
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one, known), *_texts(other, known)]
        case ast.Name(id=name):
            return list(known.get(name, ()))
    return []
