"""The geometry of charts: round ticks, everything inside the frame, nothing that can break a picture."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nlpseq.charts import FRAME, Plane, bars, lines, number, scatter

NAN, INF = float("nan"), float("inf")
ANY = st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.sampled_from([10**400, 1e300, -1e300])), max_size=30)


def coordinates(picture):
    for line in picture.lines:
        yield from ((float(x), float(y)) for run in line.runs for x, y in (p.split(",") for p in run.split()))
        yield from line.dots
    for bar in picture.bars:
        yield from [(bar.x, bar.y), (bar.x + bar.width, bar.y + bar.height)]
    yield from ((tick.at, FRAME.bottom) for tick in picture.x_ticks)
    yield from ((FRAME.left, tick.at) for tick in picture.y_ticks)


def inside(picture):
    return all(
        FRAME.left - 0.1 <= x <= FRAME.right + 0.1 and FRAME.top - 0.1 <= y <= FRAME.bottom + 0.1
        for x, y in coordinates(picture)
    )


@given(ANY, ANY, st.booleans())
def test_lines_stay_inside_the_frame_whatever_they_are_given(x, y, log):
    picture = lines([("a", x, y), ("b", y, x)], log=log)
    assert inside(picture)
    assert len(picture.x_ticks) < 20
    assert len(picture.y_ticks) < 20


@given(ANY, ANY)
def test_bars_stay_inside_the_frame_and_none_is_lost(a, b):
    picture = bars({"a": a, "b": b})
    assert inside(picture)
    drawn = sum(int(bar.label.rsplit(": ", 1)[1].replace(",", "")) for bar in picture.bars)
    left_out = int(picture.left_out.split()[0].replace(",", "")) if picture.left_out else 0
    assert drawn + left_out == len(a) + len(b) or not drawn


def test_ticks_are_round_numbers():
    picture = lines([("loss", [0, 11_900], [0.13, 7.8])])
    assert [tick.label for tick in picture.y_ticks] == ["0", "2", "4", "6", "8"]
    assert [tick.label for tick in picture.x_ticks] == ["0", "2k", "4k", "6k", "8k", "10k"]
    assert [tick.label for tick in lines([("", [0, 1], [0, 0.03])]).y_ticks] == ["0", "0.01", "0.02", "0.03"]
    assert [tick.label for tick in lines([("", [0, 1], [0, 3e6])]).y_ticks] == ["0", "1M", "2M", "3M"]
    assert [tick.label for tick in lines([("", [0, 1], [-1, 1])]).y_ticks] == ["-1.0", "-0.5", "0", "0.5", "1.0"]


def test_a_higher_value_lies_higher_and_a_later_one_further_right():
    picture = lines([("a", [1, 2, 3], [1, 5, 3])])
    (x1, y1), (x2, y2), (x3, y3) = list(coordinates(picture))[:3]
    assert x1 < x2 < x3
    assert y2 < y3 < y1


def test_equal_steps_of_a_logarithm_are_equally_far_apart():
    picture = lines([("a", [1, 2, 3], [0.01, 1, 100])], log=True)
    ys = [y for _, y in coordinates(picture)][:3]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.11)
    assert [tick.label for tick in picture.y_ticks] == ["0.01", "0.1", "1", "10", "100"]


def test_values_that_are_not_finite_break_the_line_and_are_counted():
    picture = lines([("a", range(6), [1, 2, NAN, 4, INF, 6])])
    (line,) = picture.lines
    assert len(line.runs) == 1
    assert len(line.dots) == 2
    assert picture.left_out == "2 values not finite, not drawn."


def test_a_logarithm_leaves_out_what_is_not_positive():
    picture = lines([("a", range(3), [0, 1, 10])], log=True)
    assert picture.left_out == "1 value not positive or not finite, not drawn."


@pytest.mark.parametrize("picture", [lines([]), lines([("a", [], [])]), lines([("a", [1], [NAN])]), bars({"a": []})])
def test_nothing_to_draw_draws_nothing(picture):
    assert [*picture.lines, *picture.bars, *picture.x_ticks, *picture.y_ticks] == []
    assert picture.description == "No values to draw."


def test_one_point_is_a_dot_in_the_middle():
    ((dot,),) = [line.dots for line in lines([("a", [5], [3.2])]).lines]
    assert dot[0] == pytest.approx((FRAME.left + FRAME.right) / 2)


def test_a_million_points_are_thinned_and_no_spike_is_lost():
    y = np.zeros(100_000)
    y[51_234] = 9.0
    picture = lines([("a", np.arange(100_000), y)])
    points = [y for _, y in coordinates(picture._replace(x_ticks=(), y_ticks=()))]
    assert len(points) <= 400
    assert min(points) < FRAME.bottom - 100
    assert "highest 9" in picture.description


def test_the_legend_says_what_the_lines_show():
    assert lines([("loss", [1, 2, 3], [4, 1.25, 2])]).keys == [("loss", "last 2, lowest 1.25, highest 4")]


def test_bars_count_whole_numbers_in_the_middle_of_their_bins():
    picture = bars({"words": [1, 2, 2, 3]})
    assert [bar.label for bar in picture.bars] == ["1: 1", "2: 2", "3: 1"]
    heights = [bar.height for bar in picture.bars]
    assert heights[1] == pytest.approx(2 * heights[0])
    middle = next(tick.at for tick in picture.x_ticks if tick.label == "2")
    assert picture.bars[1].x + picture.bars[1].width / 2 == pytest.approx(middle, abs=0.01)
    assert picture.keys == [("words", "median 2, mean 2, 1 to 3")]


def test_a_long_tail_is_cut_and_counted_but_few_distinct_values_are_not():
    assert bars({"a": [1, 2, 3] * 300 + [10_000]}).left_out == "1 value above 3 or not finite, not drawn."
    assert bars({"a": [0] * 999 + [4]}).left_out == ""
    assert bars({"a": [0] * 999 + [4000]}).left_out == ""


def test_groups_share_their_bins_side_by_side():
    first, second = bars({"a": [1, 1], "b": [1]}).bars
    assert (first.group, second.group) == (0, 1)
    assert first.x + first.width == pytest.approx(second.x)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (1234.5, "1,234"),
        (123.44, "123.4"),
        (57.251, "57.25"),
        (-3.5, "-3.50"),
        (0.0341, "0.034"),
        (5e-5, "5e-05"),
        (2.5e9, "2.5e+09"),
        (0, "0"),
        (NAN, "–"),
        (-INF, "–"),
    ],
)
def test_numbers_read_well(value, text):
    assert number(value) == text


@given(st.lists(st.tuples(st.text(max_size=12), st.floats(), st.floats()), max_size=30))
@example([("", 0.0, 2.225073858507e-311)])
@example([("", 0.0, 5e-324), ("", 1e-320, -5e-324)])
def test_points_of_a_map_stay_inside_whatever_they_are_given(points):
    plane = scatter(points)
    assert len(plane.marks) <= len(points)
    assert all(0 <= mark.x <= plane.width and 0 <= mark.y <= plane.height for mark in plane.marks)


def test_a_map_keeps_directions_and_fills_the_plane():
    a, b, c = scatter([("a", 0, 0), ("b", 3, 0), ("c", 1, 9)]).marks
    assert a.y == b.y > c.y
    assert c.x - a.x == pytest.approx((b.x - a.x) / 3)
    assert (a.x, b.x) == (60, Plane().width - 60)


def test_names_that_would_cover_each_other_are_left_out_and_counted():
    crowd = scatter([("first", 0, 0), *(("second", 0.001 * n, 0) for n in range(8)), ("far", 9, 9)])
    assert crowd.marks[0].text
    assert crowd.marks[-1].text
    hidden = sum(mark.text is None for mark in crowd.marks)
    assert 3 <= hidden < 9
    assert crowd.left_out == f"{hidden} names would cover others: point at a dot to read its own."
    assert scatter([("a", 1, 1)]).left_out == ""
    assert scatter([]) == Plane()
