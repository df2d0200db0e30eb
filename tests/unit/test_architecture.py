"""What import-linter cannot say of the house: which files may import which libraries, and how long code may be."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server"
FILES = sorted(SERVER.rglob("*.py"))
PURE = {"model.py", "secret.py", "verdict.py"}
GRPC_FILES = {"rpc.py", "interceptor.py", "envoy.py", "app.py"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function below its signature, without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    first = function.body[1] if docstring is not None and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVER)))
def test_only_stores_talk_to_postgresql(path: Path) -> None:
    allowed = path.name == "store.py" or path.parent.name == "postgres"
    assert allowed or "asyncpg" not in packages(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVER)))
def test_only_the_edges_talk_grpc(path: Path) -> None:
    allowed = path.name in GRPC_FILES or {"rpc", "transcoding", "gateway"} & {parent.name for parent in path.parents}
    assert allowed or not {"grpc", "grpc_status", "grpc_health", "grpc_reflection"} & packages(path)


@pytest.mark.parametrize("path", [path for path in FILES if path.name in PURE], ids=str)
def test_models_are_pure(path: Path) -> None:
    sibling = f"server.{path.parent.name}.model"
    ours = {name for name in imported(path) if name.startswith("server")}
    assert ours <= {"server.errors", "server.ids", "server.secret", "server.text", sibling}
    assert packages(path) - {"server"} <= sys.stdlib_module_names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVER)))
def test_only_the_command_line_hands_over_the_environment(path: Path) -> None:
    reads = any(
        isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
        for node in ast.walk(ast.parse(path.read_text()))
    )
    assert not reads or path.name == "cli.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SERVER)))
def test_files_and_functions_can_be_read_in_one_breath(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert [function.name for function in functions(path) if own_lines(function) > 40] == []
