"""The loader of named statements takes one form and refuses all others, by file and name."""

from pathlib import Path

import pytest

from server.postgres.queries import find_files, load


def _write(folder: Path, text: str) -> Path:
    path = folder / "queries.sql"
    path.write_text(text)
    return path


def test_statements_are_found_by_name_without_their_comments(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "-- name: one\n-- Say one.\nSELECT 1;\n\n-- name: two\n-- Say two,\n-- twice.\nSELECT 2,\n  -- again\n  2;\n",
    )

    assert dict(load(path)) == {"one": "SELECT 1;", "two": "SELECT 2,\n  -- again\n  2;"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;\n", "text before the first"),
        ("-- name: one\n-- A.\nSELECT 1;\n-- name: one\n-- B.\nSELECT 2;\n", "repeated name 'one'"),
        ("-- name: Two Words\n-- A.\nSELECT 1;\n", "bad or repeated name"),
        ("-- name:\n-- A.\nSELECT 1;\n", "bad or repeated name"),
        ("-- name: one\nSELECT 1;\n", "one has no sentence"),
        ("-- name: one\n--\nSELECT 1;\n", "one has no sentence"),
        ("-- name: one\n", "one has no sentence"),
        ("-- name: one\n-- Only a sentence.\n", "not exactly one statement"),
        ("-- name: one\n-- Unfinished.\nSELECT 1\n", "not exactly one statement"),
        ("-- name: one\n-- Two.\nSELECT 1; SELECT 2;\n", "not exactly one statement"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load(_write(tmp_path, text))


def test_files_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, "")

    assert [path.parent.name for path in find_files(tmp_path)] == ["a", "b"]
