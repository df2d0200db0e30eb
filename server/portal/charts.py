"""Charts as SVG, drawn by the server. Pure: texts come written for their reader, markup goes out escaped.

Widths are shares of the whole and heights are pixels, so that a drawing fits any screen and its texts keep their size.
Time runs from left to right in every language, as the axis below says. Beside the drawing goes a table of the same
numbers, for those who cannot see it. Colours and patterns are classes of the style sheet.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

_TOP: Final = 18
"""Pixels above the plot, for the figure at its uppermost line."""
_BELOW: Final = 24
"""Pixels below it, for the labels of the axis."""
_PLOT: Final = 180
_SMALL_PLOT: Final = 60
_GAP: Final = 0.18
"""The share of a column's place that stays empty."""
_LABELS: Final = 6
"""Labels below the axis at most. Every other one is `minor`: the style sheet leaves it out on a phone, where they would
meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The numbers of one point in time, one for each series; `label` goes below the axis, `title` says it in full."""

    label: str
    title: str
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a chart says. `name` is its id in the page, of ASCII letters, digits and hyphens."""

    name: str
    title: str
    description: str
    point: str
    """What a point is called, the heading of the table's first column, e.g. `Time`."""
    as_table: str
    """The words that open the table."""
    nothing: str
    """What is said instead when all is zero."""
    number: Callable[[float], str]
    """Writes a number."""


def columns(words: Words, series: Sequence[str], points: Sequence[Column], *, small: bool = False) -> Markup:
    """Draw columns, of several series stacked. A small chart has a low plot, for several below one another."""
    frame = _Frame(
        words, series, points, top=_nice(max((sum(point.values) for point in points), default=0)), small=small
    )
    return frame.around(_join(frame.column(index, point) for index, point in enumerate(points)))


def lines(words: Words, series: Sequence[str], points: Sequence[Column], *, small: bool = False) -> Markup:
    """Draw a line for each series."""
    highest = max((max(point.values, default=0) for point in points), default=0)
    frame = _Frame(words, series, points, top=_nice(highest), small=small)
    return frame.around(frame.plot(_join(frame.line(index) for index in range(len(series)))))


class _Frame:
    """What is around the marks of a chart: figure, axes, legend and table."""

    def __init__(self, words: Words, series: Sequence[str], points: Sequence[Column], *, top: int, small: bool) -> None:
        self._words = words
        self._series = series
        self._points = points
        self._top = top
        self._small = small
        self._height = _SMALL_PLOT if small else _PLOT

    def around(self, marks: Markup) -> Markup:
        """Put everything around the marks."""
        used = any(any(point.values) for point in self._points)
        drawing = self._drawing(marks) if used else _tag("p", self._words.nothing, class_="muted")
        legend = self._legend() if used and len(self._series) > 1 else Markup()
        caption = _tag("figcaption", self._words.title)
        return _tag("figure", _join((caption, drawing, legend, self._table() if used else Markup())), class_="chart")

    def column(self, index: int, point: Column) -> Markup:
        """Draw one column, its parts on top of one another."""
        width = 100 / len(self._points)
        x, breadth = _share(width * (index + _GAP / 2)), _share(width * (1 - _GAP))
        below = 0
        parts = []
        for number, value in enumerate(point.values, start=1):
            if value:
                height = self._height * value / self._top
                y = _TOP + self._height * (1 - below / self._top) - height
                parts.append(
                    f'<rect class="chart-bar s{number}"{self._filled(number)} x="{x}" width="{breadth}"'
                    f' y="{_pixels(y)}" height="{_pixels(height)}"></rect>'
                )
            below += value
        # Written at once and not by `_tag`: a page has hundreds of these.
        return Markup(f"<g><title>{escape(point.title)}</title>{''.join(parts)}</g>") if below else Markup()  # noqa: S704

    def line(self, index: int) -> Markup:
        """Draw one line, in a plot of 100 by 100."""
        width = 100 / len(self._points)
        corners = " ".join(
            f"{width * (place + 0.5):.2f},{100 - 100 * point.values[index] / self._top:.2f}"
            for place, point in enumerate(self._points)
        )
        return _tag("polyline", class_=f"chart-line s{index + 1}", points=corners, vector_effect="non-scaling-stroke")

    def plot(self, marks: Markup) -> Markup:
        """Stretch a plot of 100 by 100 to its place."""
        size = {"x": "0", "y": str(_TOP), "width": "100%", "height": str(self._height)}
        stretch = {"viewBox": "0 0 100 100", "preserveAspectRatio": "none"}
        return _tag("svg", marks, class_="chart-plot", **size, **stretch)

    def _drawing(self, marks: Markup) -> Markup:
        name = self._words.name
        told = (
            _tag("title", self._words.title, id=f"{name}-title"),
            _tag("desc", self._words.description, id=f"{name}-desc"),
        )
        return _tag(
            "svg",
            _join((*told, self._patterns(), self._grid(), marks, self._figures(), self._axis())),
            class_="chart-drawing small" if self._small else "chart-drawing",
            role="img",
            aria_labelledby=f"{name}-title {name}-desc",
            direction="ltr",
            width="100%",
            height=str(_TOP + self._height + _BELOW),
        )

    def _grid(self) -> Markup:
        """Draw the lines of round numbers."""
        return _join(
            _tag("line", class_="chart-axis" if value == 0 else "chart-grid", x1="0", x2="100%", y1=y, y2=y)
            for value, y, _ in self._levels()
        )

    def _figures(self) -> Markup:
        """Write the round numbers above their lines: after the marks, or a tall one would cover them."""
        return _join(
            _tag("text", self._words.number(value), class_="chart-label chart-figure", x="0", y=above)
            for value, _, above in self._levels()
            if value
        )

    def _levels(self) -> list[tuple[int, str, str]]:
        halves = self._top % 2 == 0 and not self._small
        values = (0, self._top // 2, self._top) if halves else (0, self._top)
        places = [_TOP + self._height * (1 - value / self._top) for value in values]
        return [(value, _pixels(place), _pixels(place - 4)) for value, place in zip(values, places, strict=True)]

    def _axis(self) -> Markup:
        """Write the labels: every so many columns one, the first and the last within the drawing."""
        count = len(self._points)
        every = -(-count // _LABELS)
        return _join(
            _tag(
                "text",
                self._points[index].label,
                class_="chart-label minor" if index // every % 2 else "chart-label",
                x=_share(100 / count * (index + 0.5)) if index else "0",
                y=str(_TOP + self._height + _BELOW - 6),
                text_anchor="middle" if index else "start",
            )
            for index in range(0, count - every // 2, every)
        )

    def _fill(self, number: int) -> str | None:
        return f"url(#{self._words.name}-{number})" if number > 1 else None

    def _filled(self, number: int) -> str:
        return f' fill="{self._fill(number)}"' if number > 1 else ""

    def _patterns(self) -> Markup:
        drawn = [
            _tag(
                "pattern",
                _PATTERNS[number],
                id=f"{self._words.name}-{number}",
                width="6",
                height="6",
                patternUnits="userSpaceOnUse",
                patternTransform="rotate(45)" if number == 2 else None,
            )
            for number in range(2, len(self._series) + 1)
        ]
        return _tag("defs", _join(drawn)) if drawn else Markup()

    def _legend(self) -> Markup:
        return _tag("ul", _join(map(self._key, range(1, len(self._series) + 1))), class_="chart-legend")

    def _key(self, number: int) -> Markup:
        swatch = _tag("rect", class_=f"chart-bar s{number}", fill=self._fill(number), width="14", height="14", rx="2")
        picture = _tag(
            "svg", swatch, class_="chart-key", viewBox="0 0 14 14", width="14", height="14", aria_hidden="true"
        )
        return _tag("li", picture + " " + escape(self._series[number - 1]))

    def _table(self) -> Markup:
        """Write the numbers that are not all zero."""
        titles = _join(_tag("th", title, scope="col") for title in (self._words.point, *self._series))
        rows = _join(self._row(point) for point in self._points if any(point.values))
        table = _tag("table", _tag("thead", _tag("tr", titles)) + _tag("tbody", rows))
        region = _tag("div", table, class_="table", tabindex="0", role="region", aria_label=self._words.title)
        return _tag("details", _tag("summary", self._words.as_table) + region, class_="chart-data")

    def _row(self, point: Column) -> Markup:
        numbers = "".join(f"<td>{escape(self._words.number(value))}</td>" for value in point.values)
        return Markup(f'<tr><th scope="row">{escape(point.title)}</th>{numbers}</tr>')  # noqa: S704 - all was escaped


def _nice(highest: int) -> int:
    """Return the round number at or above the highest: 1, 2, 4, 5 or 8 and zeros; 1 for nothing at all."""
    power = 1
    while power * 10 < highest:
        power *= 10
    return next(power * factor for factor in (1, 2, 4, 5, 8, 10) if power * factor >= highest)


def _tag(name: str, content: str = "", /, **attributes: str | None) -> Markup:
    """Write an element; what is no markup yet is escaped. `class_` is `class`, `text_anchor` is `text-anchor`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{escape(content)}</{name}>")  # noqa: S704 - every part was escaped


def _join(parts: Iterable[Markup | str]) -> Markup:
    return Markup("").join(parts)


def _share(value: float) -> str:
    return f"{value:.3f}%"


def _pixels(value: float) -> str:
    return f"{value:.1f}"


_PATTERNS: Final = {
    2: _tag("rect", class_="chart-tint s2", width="6", height="6")
    + _tag("rect", class_="chart-ink s2", width="3", height="6"),
    3: _tag("rect", class_="chart-tint s3", width="6", height="6")
    + _tag("circle", class_="chart-ink s3", cx="3", cy="3", r="1.8"),
    4: _tag("rect", class_="chart-tint s4", width="6", height="6")
    + _tag("rect", class_="chart-ink s4", width="6", height="2.5"),
}
