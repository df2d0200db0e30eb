"""Every page, in both languages and both themes, on a desk and on a phone: nothing shuts anybody out.

Leaves pictures in `.screenshots/`, of English by day on a desk and of Arabic by night on a phone.
"""

from typing import Any

import pytest

from tests.interop import third_party
from tests.interop.chromium import Guest, Visit
from tests.interop.portal_tour import tour
from tests.interop.tools import ROOT

pytestmark = pytest.mark.interop

PICTURES = {
    ("en", "light", False): ROOT / ".screenshots" / "english",
    ("ar", "dark", True): ROOT / ".screenshots" / "arabic",
}
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    third_party.install()
    return (third_party.TOOLS / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize(
    ("language", "theme", "phone"),
    [("en", "light", False), ("en", "dark", True), ("ar", "light", False), ("ar", "dark", True)],
)
async def test_every_page_is_for_everybody(visit: Visit, axe: str, language: str, theme: str, phone: bool) -> None:
    folder = PICTURES.get((language, theme, phone))
    faults: list[str] = []
    async with visit(language=language, theme=theme, phone=phone) as guest:
        number = 0
        async for name in tour(guest):
            number += 1
            if folder:
                await guest.page.screenshot(path=folder / f"{number:02}-{name}.png", full_page=True)
            faults += [f"{name}: {fault}" for fault in await _faults(guest, axe, language)]
    assert not faults, "\n".join(faults)


async def _faults(guest: Guest, axe: str, language: str) -> list[str]:
    """Say what is wrong with the page that is open."""
    said = await guest.page.evaluate(
        """() => [document.documentElement.dir, document.documentElement.lang,
                  document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth]"""
    )
    expected = ["rtl" if language == "ar" else "ltr", language, 0]
    faults = [] if said == expected else [f"direction, language, pixels too wide: {said}"]
    await guest.page.evaluate(axe)
    answer: Any = await guest.page.evaluate("axe.run({resultTypes: ['violations']})")
    for violation in answer["violations"]:
        if violation["impact"] in SERIOUS:
            nodes = [node["html"][:160] + " " + node["failureSummary"][:300] for node in violation["nodes"][:3]]
            faults.append(f"{violation['id']}: {nodes}")
    return faults
