"""Whether the style sheet can be read by everyone: contrast in both themes, nothing tied to a side."""

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[3] / "server" / "pages" / "static" / "portal.css").read_text()
PAIRS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", CSS)
}
PAIRS["white"] = ("#ffffff", "#ffffff")

TEXT = [
    *((text, ground) for text in ("text", "muted", "link") for ground in ("page", "card", "sunk")),
    *(("text", f"{tone}-tint") for tone in ("good", "warn", "bad", "note")),
    *((tone, f"{tone}-tint") for tone in ("good", "warn", "bad", "note")),
    *((tone, ground) for tone in ("good", "warn", "bad") for ground in ("page", "card")),
    ("link", "tint"),
    ("text", "tint"),
    ("white", "accent"),
    ("white", "accent-deep"),
    ("white", "bad-fill"),
    ("white", "bad-deep"),
]
SHAPES = [
    *(("edge", ground) for ground in ("page", "card", "sunk")),
    *(("focus", ground) for ground in ("page", "card", "sunk", "tint")),
    *((f"s{series}", "card") for series in (1, 2, 3, 4)),
    ("link", "tint"),
    ("accent", "card"),
]


def luminance(colour: str) -> float:
    """Compute the relative luminance of `#rrggbb` (WCAG 2.2)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("colour", "ground"), TEXT)
def test_texts_stand_out(colour: str, ground: str, theme: int) -> None:
    assert contrast(PAIRS[colour][theme], PAIRS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("colour", "ground"), SHAPES)
def test_borders_focus_and_charts_stand_out(colour: str, ground: str, theme: int) -> None:
    assert contrast(PAIRS[colour][theme], PAIRS[ground][theme]) >= 3


def test_nothing_is_tied_to_left_or_right() -> None:
    sided = (
        r"(?:margin|padding|border)-(?:left|right)|(?:^|[;{\s])(?:left|right)\s*:|text-align:\s*(?:left|right)|float:"
    )
    assert re.findall(sided, CSS) == []


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "@import" not in CSS
    assert "url(" not in CSS
    assert "http" not in CSS


def test_every_variable_that_is_used_is_set() -> None:
    assert set(re.findall(r"var\(--([\w-]+)", CSS)) <= set(re.findall(r"--([\w-]+):", CSS))
