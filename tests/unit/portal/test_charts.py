"""Charts: what is drawn, what is said beside it, and that nothing comes out as markup that went in as text."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from server.portal.charts import Column, Words, columns, lines

WORDS = Words(
    name="calls",
    title="Calls",
    description="6 calls in all",
    point="Time",
    as_table="Show as a table",
    nothing="No calls in this time.",
    number=lambda value: f"{value:,}",
)
SERIES = ("Accepted", "Throttled", "Refused")


def points(*rows: tuple[int, ...]) -> list[Column]:
    return [Column(label=f"{at:02}:00", title=f"Nov 22, {at:02}:00", values=row) for at, row in enumerate(rows)]


def parsed(markup: Markup) -> ET.Element:
    return ET.fromstring(markup)


def bars(figure: ET.Element) -> list[dict[str, str]]:
    drawings = [svg for svg in figure.iter("svg") if "chart-drawing" in svg.get("class", "")]
    return [bar.attrib for svg in drawings for bar in svg.iter("rect") if "chart-bar" in bar.get("class", "")]


def test_a_column_is_stacked_from_the_axis_up() -> None:
    accepted, throttled = bars(parsed(columns(WORDS, SERIES, points((3, 1, 0)))))

    assert float(accepted["y"]) + float(accepted["height"]) == pytest.approx(198)
    assert float(throttled["y"]) + float(throttled["height"]) == pytest.approx(float(accepted["y"]))
    assert float(accepted["height"]) == pytest.approx(3 * float(throttled["height"]))


def test_the_figures_of_the_axis_are_drawn_over_the_marks() -> None:
    for drawn in (columns(WORDS, SERIES, points((9, 0, 0))), lines(WORDS, SERIES, points((9, 0, 0)))):
        drawing = next(parsed(drawn).iter("svg"))
        order = [element.get("class", "") for element in drawing.iter()]
        last_mark = max(place for place, name in enumerate(order) if name.startswith(("chart-bar", "chart-line")))
        assert last_mark < min(place for place, name in enumerate(order) if "chart-figure" in name)


def test_what_is_zero_is_not_drawn() -> None:
    assert len(bars(parsed(columns(WORDS, SERIES, points((1, 0, 0), (0, 0, 0), (0, 0, 2)))))) == 2


def test_every_number_stands_in_the_table_too() -> None:
    figure = parsed(columns(WORDS, SERIES, points((1200, 0, 0), (0, 0, 0), (0, 7, 2))))

    rows = [["".join(cell.itertext()) for cell in row] for row in figure.iter("tr")]
    assert rows == [
        ["Time", "Accepted", "Throttled", "Refused"],
        ["Nov 22, 00:00", "1,200", "0", "0"],
        ["Nov 22, 02:00", "0", "7", "2"],
    ]


def test_a_chart_without_calls_says_so() -> None:
    figure = parsed(columns(WORDS, SERIES, points((0, 0, 0), (0, 0, 0))))

    assert "No calls in this time." in "".join(figure.itertext())
    assert figure.find("svg") is None


def test_a_drawing_has_a_name_and_a_description() -> None:
    drawing = next(parsed(columns(WORDS, SERIES, points((1, 0, 0)))).iter("svg"))

    assert drawing.get("role") == "img"
    ids = {element.get("id"): element.text for element in drawing.iter() if element.get("id")}
    assert [ids[name] for name in drawing.get("aria-labelledby", "").split()] == ["Calls", "6 calls in all"]


def test_time_runs_from_left_to_right_in_every_language() -> None:
    drawing = next(parsed(columns(WORDS, SERIES, points((1, 0, 0), (1, 0, 0)))).iter("svg"))

    assert drawing.get("direction") == "ltr"
    first, second = bars(parsed(columns(WORDS, SERIES, points((1, 0, 0), (1, 0, 0)))))
    assert float(first["x"].rstrip("%")) < float(second["x"].rstrip("%"))


@pytest.mark.parametrize("count", [1, 2, 7, 24, 30, 48, 60, 61])
def test_labels_are_few_and_marks_stay_within_the_drawing(count: int) -> None:
    figure = parsed(columns(WORDS, SERIES, points(*[(9, 1, 1)] * count)))

    labels = [text.get("class", "") for text in figure.iter("text") if "chart-figure" not in text.get("class", "")]
    assert 1 <= len(labels) <= 6
    assert labels == (["chart-label", "chart-label minor"] * 3)[: len(labels)]  # those left on a phone are 3 at most
    for bar in bars(figure):
        assert 0 <= float(bar["x"].rstrip("%")) < 100
        assert float(bar["x"].rstrip("%")) + float(bar["width"].rstrip("%")) <= 100.01
        assert 0 <= float(bar["y"]) <= 198


@given(st.lists(st.tuples(*[st.integers(0, 10**12)] * 3), min_size=1, max_size=60))
def test_no_number_leaves_the_plot(rows: list[tuple[int, int, int]]) -> None:
    for bar in bars(parsed(columns(WORDS, SERIES, points(*rows)))):
        assert float(bar["y"]) >= 17.9
        assert float(bar["y"]) + float(bar["height"]) <= 198.2


def test_lines_are_drawn_for_each_series() -> None:
    figure = parsed(lines(WORDS, SERIES[:2], points((1, 2), (3, 0), (2, 2))))

    first, second = figure.iter("polyline")
    assert (first.get("class"), second.get("class")) == ("chart-line s1", "chart-line s2")
    assert len(first.get("points", "").split()) == 3


HOSTILE = "</title><script>alert(1)</script>\"' onload=x"


def test_texts_come_out_as_texts() -> None:
    words = Words(
        name="calls",
        title=HOSTILE,
        description=HOSTILE,
        point=HOSTILE,
        as_table=HOSTILE,
        nothing=HOSTILE,
        number=lambda value: HOSTILE,
    )
    drawn = [Column(label=HOSTILE, title=HOSTILE, values=(1, 2, 3))]

    for markup in (columns(words, [HOSTILE] * 3, drawn), lines(words, [HOSTILE] * 3, drawn)):
        figure = parsed(markup)
        assert not list(figure.iter("script"))
        assert HOSTILE in "".join(figure.itertext())
        assert all(not name.startswith("on") for element in figure.iter() for name in element.attrib)


def test_no_style_stands_in_the_markup() -> None:
    assert not re.search(r"\sstyle=", columns(WORDS, SERIES, points((1, 2, 3))))
