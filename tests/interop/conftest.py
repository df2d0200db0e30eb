"""Outside tools: `.ci/tools` puts its own into .tools/bin, which comes first here."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.interop.chromium import alice, chromium, place, visit
from tests.interop.tools import ROOT

__all__ = ["alice", "chromium", "place", "visit"]


@pytest.fixture(scope="session", autouse=True)
def tools() -> Iterator[None]:
    """Find the tools of `.ci/tools`; that one is missing is a failure, since a skipped test would hide it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # a make below `make interop` would name its folder
            patch.delenv(name, raising=False)
        patch.setenv("PATH", f"{ROOT / '.tools' / 'bin'}:{os.environ['PATH']}")
        tools = ("grpcurl", "ghz", "museum", "curl", "node", "npm", "chromium")
        missing = [tool for tool in tools if shutil.which(tool) is None]
        assert not missing, f"{', '.join(missing)} not found: run .ci/tools, or `make interop`, which does"
        yield
