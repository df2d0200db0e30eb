"""The generator in a copy of the tree: what it notices, and what it refuses to write."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
API_KEY = "proto/sdk/developer/v1/api_key.proto"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("proto", "gen", "server", ".ci"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def generate(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / ".ci" / "gen.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_committed_code_is_what_the_protos_make(tree: Path) -> None:
    result = generate(tree, "--check")

    assert result.returncode == 0, result.stdout + result.stderr


def test_a_changed_proto_makes_the_generated_code_stale(tree: Path) -> None:
    edit(
        tree / API_KEY,
        "  // Whether the key works",
        "  // Another field.\n  string note = 10;\n  // Whether the key works",
    )

    result = generate(tree, "--check")

    assert result.returncode == 1
    assert "stale: gen/sdk/developer/v1/api_key_pb2.py" in result.stderr
    assert "stale: gen/openapi/openapi.json" in result.stderr


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string name = 2;", "string name = 20;"),
        ("string created_at = 6;", "int64 created_at = 6;"),
        ("  API_KEY_STATUS_REVOKED = 2;", "  API_KEY_STATUS_DEAD = 2;"),
    ],
    ids=["renumbered field", "retyped field", "renamed enum value"],
)
@pytest.mark.parametrize("arguments", [[], ["--check"]], ids=["gen", "gen-check"])
def test_a_breaking_change_is_refused_before_anything_is_written(
    tree: Path, old: str, new: str, arguments: list[str]
) -> None:
    edit(tree / API_KEY, old, new)
    before = (tree / "gen" / "sdk.binpb").read_bytes()

    result = generate(tree, *arguments)

    assert result.returncode == 1
    assert "a published field never changes" in result.stderr
    assert (tree / "gen" / "sdk.binpb").read_bytes() == before
