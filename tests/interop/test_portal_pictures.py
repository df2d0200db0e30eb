"""Takes the pictures of the portal that README shows: into `.screenshots/readme/`, from where docs/images has them."""

import pytest

from tests.interop.chromium import Guest
from tests.interop.portal_data import furnish
from tests.interop.tools import ROOT

pytestmark = pytest.mark.interop

FOLDER = ROOT / ".screenshots" / "readme"
LARGEST = 150 * 1024


async def test_the_pictures_of_the_readme_are_small(alice: Guest) -> None:
    ids = await furnish(alice)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, path in {
        "overview": "/portal/",
        "key": f"/portal/keys/{ids['Production backend']}",
        "usage": "/portal/usage",
    }.items():
        await alice.open(path)
        picture = await alice.page.screenshot(path=FOLDER / f"{name}.png")
        assert len(picture) < LARGEST, name
