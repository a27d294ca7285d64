"""Where the parts of a line chart, histogram or map lie: plain numbers that the report's template draws as SVG.

Written for figures as they come out of a training: gaps, NaN, infinities, a single point, none at all, a million
points, values without bounds. What cannot be drawn is left out and counted, never a crash or a broken picture.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import NamedTuple

__all__ = [
    "FRAME",
    "Bar",
    "Frame",
    "Key",
    "Line",
    "Mark",
    "Picture",
    "Plane",
    "Tick",
    "bars",
    "lines",
    "number",
    "scatter",
]

MOST_POINTS = 400
HUGE = 1e30  # beyond it differences and products may overflow; only a run that diverged gets there


class Frame(NamedTuple):
    """The drawing's own units, which the page scales; small enough that its type stays readable on a phone."""

    width: float = 440.0
    height: float = 240.0
    left: float = 46.0
    right: float = 430.0
    top: float = 24.0
    bottom: float = 200.0


FRAME = Frame()


class Tick(NamedTuple):
    """A mark on an axis: its place in the drawing and its text."""

    at: float
    label: str


class Line(NamedTuple):
    """A series: the points of its unbroken runs as SVG writes them, and points without neighbours."""

    runs: Sequence[str]
    dots: Sequence[tuple[float, float]]


class Bar(NamedTuple):
    """A bar of a histogram, its group's number, and what it stands for in words."""

    x: float
    y: float
    width: float
    height: float
    group: int
    label: str


class Key(NamedTuple):
    """A line of the legend."""

    name: str
    detail: str


class Picture(NamedTuple):
    """All that the template needs to draw a chart and to say it in words."""

    x_ticks: Sequence[Tick] = ()
    y_ticks: Sequence[Tick] = ()
    lines: Sequence[Line] = ()
    bars: Sequence[Bar] = ()
    keys: Sequence[Key] = ()
    description: str = "No values to draw."
    left_out: str = ""


class Mark(NamedTuple):
    """A point of a map, and the name beside it; the text's place is None where it would cover another's."""

    name: str
    x: float
    y: float
    text: tuple[float, float, str] | None  # x, y and SVG's text-anchor


class Plane(NamedTuple):
    """All that the template needs to draw a map."""

    marks: Sequence[Mark] = ()
    left_out: str = ""
    width: float = 960.0
    height: float = 600.0


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float


class _Axis(NamedTuple):
    ticks: Sequence[Tick]
    place: Callable[[float], float]


class _Bins(NamedTuple):
    first: int
    step: float
    number: int
    shift: float
    high: float

    def edge(self, i: int) -> float:
        return (self.first + i) * self.step - self.shift

    def label(self, i: int) -> str:
        start, last = self.edge(i) + self.shift, self.edge(i + 1) - self.shift
        return number(start) if start == last else f"{number(start)} to {number(last)}"


def lines(series: Sequence[tuple[str, Sequence[float], Sequence[float]]], *, log: bool = False) -> Picture:
    """A line chart of (name, x, y) series on common axes.

    Points that are not finite (with `log`: not positive) break their line and are counted in `left_out`.
    """
    floor = 1 / HUGE if log else -HUGE
    runs = [list(_runs(x, y, floor)) for _, x, y in series]
    shown = [point for of_series in runs for run in of_series for point in run]
    missing = sum(min(len(x), len(y)) for _, x, y in series) - len(shown)
    left_out = f"{missing:,} {_plural('value', missing)} {'not positive or ' if log else ''}not finite, not drawn."
    if not shown:
        return Picture(left_out=left_out if missing else "")
    x_values, y_values = [x for x, _ in shown], [y for _, y in shown]
    x_axis = _across(x_values, whole=all(x.is_integer() for x in x_values))
    y_axis = _logarithmic(y_values) if log else _upwards(y_values)
    drawn = [_line(of_series, x_axis, y_axis) for of_series in runs]
    keys = [_line_key(name, of_series) for (name, _, _), of_series in zip(series, runs, strict=True)]
    span = f"x from {number(min(x_values))} to {number(max(x_values))}; "
    description = span + "; ".join(f"{key.name}: {key.detail}" for key in keys)
    return Picture(x_axis.ticks, y_axis.ticks, drawn, (), keys, description, left_out if missing else "")


def bars(groups: Mapping[str, Sequence[float]], *, bins: int = 20) -> Picture:
    """A histogram of the groups over about `bins` common bins of round width.

    A tail that would squeeze the rest to nothing (beyond three times the 99.5th percentile) is cut and counted.
    """
    usable = [[float(v) for v in values if _usable(v, -HUGE)] for values in groups.values()]
    pooled = sorted(value for values in usable for value in values)
    if not pooled:
        return Picture()
    scale = _bins(pooled, bins)
    counts = [_counts(values, scale) for values in usable]
    x_axis = _across([scale.edge(0), scale.edge(scale.number)], whole=scale.shift > 0)
    y_axis = _upwards([0.0, float(max(map(max, counts)))], whole=True)
    drawn = [
        _bar(x_axis, y_axis, scale=scale, place=(i, group, len(counts)), count=count)
        for group, of_group in enumerate(counts)
        for i, count in enumerate(of_group)
        if count
    ]
    keys = [_group_key(name, values) for name, values in zip(groups, usable, strict=True)]
    missing = sum(map(len, groups.values())) - sum(map(sum, counts))
    left_out = f"{missing:,} {_plural('value', missing)} above {number(scale.high)} or not finite, not drawn."
    description = "; ".join(f"{key.name}: {key.detail}" for key in keys)
    return Picture(x_axis.ticks, y_axis.ticks, (), drawn, keys, description, left_out if missing else "")


def scatter(points: Sequence[tuple[str, float, float]]) -> Plane:
    """A map of named points (name, x, y), the most important first; either axis is stretched to fill the plane.

    A name that would cover one before it is left out, and counted; points that are not finite are not drawn.
    """
    usable = [(name, float(x), float(y)) for name, x, y in points if _usable(x, -HUGE) and _usable(y, -HUGE)]
    if not usable:
        return Plane()
    plane = Plane()
    (left, right), (low, high) = (_widened(min(v), max(v)) for v in list(zip(*usable, strict=True))[1:])
    scales = (plane.width - 120) / (right - left), (plane.height - 40) / (high - low)
    marks: list[Mark] = []
    boxes: list[_Box] = []
    for name, x, y in usable:
        at = 60 + (x - left) * scales[0], plane.height - 20 - (y - low) * scales[1]
        boxes.append(_Box(at[0] - 2, at[1] - 2, at[0] + 2, at[1] + 2))
        text, box = next((one for one in _beside(name, *at) if _is_free(one[1], boxes[:-1])), (None, None))
        boxes += [box] if box else []
        marks.append(Mark(name, *at, text))
    hidden = sum(mark.text is None for mark in marks)
    left_out = f"{hidden} {_plural('name', hidden)} would cover others: point at a dot to read its own."
    return plane._replace(marks=marks, left_out=left_out if hidden else "")


def _beside(name: str, x: float, y: float) -> Iterator[tuple[tuple[float, float, str], _Box]]:
    """Yield where a name may stand beside its point, and the box that it covers."""
    width = 6.4 * len(name)
    yield (x + 5, y + 4, "start"), _Box(x + 4, y - 6, x + 6 + width, y + 7)
    yield (x - 5, y + 4, "end"), _Box(x - 6 - width, y - 6, x - 4, y + 7)
    yield (x, y - 6, "middle"), _Box(x - width / 2, y - 16, x + width / 2, y - 3)
    yield (x, y + 14, "middle"), _Box(x - width / 2, y + 4, x + width / 2, y + 17)


def _is_free(box: _Box, taken: Sequence[_Box]) -> bool:
    return all(box.right < a or box.left > c or box.bottom < b or box.top > d for a, b, c, d in taken)


def number(value: float) -> str:
    """A number as people read it: 12,345 · 57.3 · 0.034 · 1.2e+09 · – where there is none."""
    size = abs(value)
    if not size < math.inf:
        return "–"
    if size >= 1e9 or 0 < size < 1e-3:
        return f"{value:.3g}"
    if float(value).is_integer():
        return f"{value:,.0f}"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def _usable(value: object, floor: float) -> bool:
    # comparisons with NaN are false; whole numbers too large for a float are compared as they are
    return isinstance(value, Real) and bool(floor <= value <= HUGE)  # type: ignore[operator]


def _runs(x: Sequence[float], y: Sequence[float], floor: float) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for a, b in zip(x, y, strict=False):
        if _usable(a, -HUGE) and _usable(b, floor):
            run.append((float(a), float(b)))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _thinned(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` points that keep each stretch's lowest and highest, so that no spike is lost."""
    if len(run) <= MOST_POINTS:
        return run
    stretch = math.ceil(2 * len(run) / MOST_POINTS)
    kept: list[tuple[float, float]] = []
    for start in range(0, len(run), stretch):
        part = range(start, min(start + stretch, len(run)))
        ends = {min(part, key=lambda i: run[i][1]), max(part, key=lambda i: run[i][1])}
        kept += [run[i] for i in sorted(ends)]
    return kept


def _line(runs: Sequence[list[tuple[float, float]]], x_axis: _Axis, y_axis: _Axis) -> Line:
    placed = [[(x_axis.place(x), y_axis.place(y)) for x, y in _thinned(run)] for run in runs]
    long = [" ".join(f"{x:.1f},{y:.1f}" for x, y in run) for run in placed if len(run) > 1]
    return Line(long, [run[0] for run in placed if len(run) == 1])


def _line_key(name: str, runs: Sequence[list[tuple[float, float]]]) -> Key:
    values = [y for run in runs for _, y in run]
    if not values:
        return Key(name, "no values")
    if len(values) == 1:
        return Key(name, number(values[0]))
    return Key(name, f"last {number(values[-1])}, lowest {number(min(values))}, highest {number(max(values))}")


def _group_key(name: str, values: Sequence[float]) -> Key:
    if not values:
        return Key(name, "no values")
    middle, mean = number(statistics.median(values)), number(statistics.fmean(values))
    return Key(name, f"median {middle}, mean {mean}, {number(min(values))} to {number(max(values))}")


def _step(low: float, high: float, wanted: int, *, whole: bool) -> float:
    """The round width (1, 2 or 5 times a power of ten) that cuts the span into at most about `wanted` parts."""
    rough = (high - low) / wanted
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    return max(1.0, step) if whole else step


def _widened(low: float, high: float) -> tuple[float, float]:
    # a span that rounding swallows would leave a step of nothing, and one over which a division overflows has no scale
    if high - low > max(1e-9 * max(abs(low), abs(high)), 1 / HUGE):
        return low, high
    pad = max(abs(high) * 0.1, 1 / HUGE) if high else 1.0
    return low - pad, high + pad


def _across(values: Sequence[float], *, whole: bool) -> _Axis:
    """The horizontal axis: it ends where the values end, so that lines use the whole width."""
    low, high = _widened(min(values), max(values))
    return _linear(low, high, ends=(FRAME.left, FRAME.right), step=_step(low, high, 7, whole=whole))


def _upwards(values: Sequence[float], *, whole: bool = False) -> _Axis:
    """The vertical axis: it reaches out to round numbers on both sides."""
    low, high = _widened(min(values), max(values))
    step = _step(low, high, 5, whole=whole)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return _linear(low, high, ends=(FRAME.bottom, FRAME.top), step=step)


def _linear(low: float, high: float, *, ends: tuple[float, float], step: float) -> _Axis:
    marks = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    largest = max(abs(low), abs(high))

    def place(value: float) -> float:
        return ends[0] + (value - low) / (high - low) * (ends[1] - ends[0])

    return _Axis([Tick(place(i * step), _tick_label(i * step, step, largest)) for i in marks], place)


def _logarithmic(values: Sequence[float]) -> _Axis:
    decades = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 2)
    rounds = [m * 10.0**k for k in decades for m in (1, 2, 5)]
    low = max(r for r in rounds if r <= min(values))
    high = min(r for r in rounds if r >= max(values) and r > low)
    marks = [r for r in rounds if low <= r <= high]
    if len(marks) > 6:
        marks = [10.0**k for k in decades if low <= 10.0**k <= high]
        marks = marks[:: math.ceil(len(marks) / 6)]

    def place(value: float) -> float:
        return FRAME.bottom + math.log(value / low) / math.log(high / low) * (FRAME.top - FRAME.bottom)

    return _Axis([Tick(place(mark), _tick_label(mark, mark, mark)) for mark in marks], place)


def _tick_label(value: float, step: float, largest: float) -> str:
    if abs(value) < step / 2:
        return "0"
    if largest >= 1e12 or step < 1e-5:
        return f"{value:.3g}"
    for size, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if largest >= size and step >= 1:
            return f"{value / unit:.6g}{letter}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _bins(pooled: Sequence[float], wanted: int) -> _Bins:
    low, end, high = pooled[0], pooled[math.ceil(0.995 * len(pooled)) - 1], pooled[-1]
    whole = all(value.is_integer() for value in pooled)
    if high - low > 3 * (end - low) > 0 and not (whole and high - low <= wanted):
        high = end
    step = _step(*_widened(low, high), wanted, whole=whole)
    first = math.floor(low / step)
    # whole numbers sit in the middle of their bin
    return _Bins(first, step, math.floor(high / step) - first + 1, 0.5 if whole else 0.0, high)


def _counts(values: Sequence[float], scale: _Bins) -> list[int]:
    counts = [0] * scale.number
    for value in values:
        place = math.floor(value / scale.step) - scale.first
        if place < len(counts):
            counts[place] += 1
    return counts


def _bar(x_axis: _Axis, y_axis: _Axis, *, scale: _Bins, place: tuple[int, int, int], count: int) -> Bar:
    i, group, groups = place
    left, right = x_axis.place(scale.edge(i)), x_axis.place(scale.edge(i + 1))
    width, top = (right - left) * 0.9 / groups, y_axis.place(float(count))
    x = left + (right - left) * 0.05 + group * width
    return Bar(x, top, width, FRAME.bottom - top, group, f"{scale.label(i)}: {count:,}")


def _plural(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"
