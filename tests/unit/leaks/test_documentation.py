"""What docs/leaks.md tells others to use is what we use, and works."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from server.leaks.finder import PUBLISHED_PATTERN
from server.secret import draw_secret

DOCUMENT = (Path(__file__).parents[3] / "docs" / "leaks.md").read_text()
(HOOK,) = re.findall(r"^git grep .*$", DOCUMENT, re.MULTILINE)
KEY = draw_secret("live").reveal()


def test_the_published_pattern_is_ours() -> None:
    assert f"```\n{PUBLISHED_PATTERN}\n```" in DOCUMENT
    assert PUBLISHED_PATTERN in HOOK


@pytest.mark.parametrize(
    ("content", "passes"),
    [
        (b"key = $KEY\n", True),
        (f"key = '{KEY}'\n".encode(), False),
        (b"\x00\xff" + KEY.encode() + b"\x00", False),
        (KEY[:-1].encode(), True),
    ],
)
def test_the_line_for_a_pre_commit_hook_stops_keys(tmp_path: Path, content: bytes, passes: bool) -> None:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, env=clean, check=True)
    (tmp_path / "config.py").write_bytes(content)
    subprocess.run(["git", "add", "."], cwd=tmp_path, env=clean, check=True)

    run = subprocess.run(["sh", "-c", HOOK], cwd=tmp_path, env=clean, check=False, capture_output=True, text=True)

    assert (run.returncode == 0) == passes
    assert run.stdout == ("" if passes else "config.py\n")
