import stat
from pathlib import Path

import pytest

from server.private_file import PrivateFileError, read_or_create


def test_a_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret"

    assert read_or_create(path, lambda: b"first") == b"first"
    assert read_or_create(path, lambda: b"second") == b"first"


def test_only_the_owner_can_read_it_and_no_draft_is_left(tmp_path: Path) -> None:
    read_or_create(tmp_path / "data" / "secret", lambda: b"x")

    assert [file.name for file in (tmp_path / "data").iterdir()] == ["secret"]
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_open_to_others_is_refused_with_the_fix(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(mode)

    with pytest.raises(PrivateFileError, match=f"chmod 600 {path}"):
        read_or_create(path, lambda: b"y")


def test_a_link_in_place_of_the_secret_is_not_followed(tmp_path: Path) -> None:
    read_or_create(tmp_path / "real", lambda: b"x")
    (tmp_path / "secret").symlink_to(tmp_path / "real")

    with pytest.raises(PrivateFileError, match="cannot be used"):
        read_or_create(tmp_path / "secret", lambda: b"y")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"in the way")

    with pytest.raises(PrivateFileError, match=str(tmp_path / "data" / "secret")):
        read_or_create(tmp_path / "data" / "secret", lambda: b"y")
