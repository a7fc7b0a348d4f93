"""Charts as coordinates."""

from __future__ import annotations

import pytest

from api.dashboard.charts import HEIGHT, WIDTH, Series, chart, parts, round_up


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (0.03, 0.03), (0.7, 0.8), (1, 1), (7, 8), (95, 100), (101, 150), (1999, 2000)],
)
def test_axis_ends_at_a_round_number_above_all_values(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


def test_line_goes_through_every_value_from_left_to_right() -> None:
    drawn = chart([Series("a", [0, 5, 10], "accent")], ["x", "y", "z"])
    points = [pair.split() for pair in drawn.curves[0].line.removeprefix("M").split(" L")]
    xs = [float(x) for x, _ in points]
    ys = [float(y) for _, y in points]
    assert xs == [WIDTH / 6, WIDTH / 2, 5 * WIDTH / 6]
    assert ys[0] == HEIGHT and ys[0] > ys[1] > ys[2] > 0


def test_line_is_broken_where_there_is_no_value() -> None:
    drawn = chart([Series("a", [1, 2, None, 3, None, 4, 5], "accent", filled=True)], ["x"] * 7)
    curve = drawn.curves[0]
    assert curve.line.count("M") == 2
    assert curve.area.count("Z") == 2
    assert len(curve.dots) == 1


def test_chart_without_any_value_is_empty() -> None:
    assert chart([Series("a", [None, None], "accent")], ["x", "y"]).empty
    assert not chart([Series("a", [None, 0], "accent")], ["x", "y"]).empty


def test_every_moment_has_a_column_for_the_pointer() -> None:
    columns = chart([Series("a", [1, 2, 3, 4], "accent")], ["p", "q", "r", "s"]).columns
    assert [column.title for column in columns] == ["p", "q", "r", "s"]
    assert [column.x for column in columns] == [0, WIDTH / 4, WIDTH / 2, 3 * WIDTH / 4]


def test_parts_of_a_bar_lie_side_by_side_in_proportion() -> None:
    made = parts([("ok", 75, "a"), ("bad", 0, "b"), ("warn", 25, "c")], 100)
    assert [(part.tone, part.x, part.width) for part in made] == [("ok", 0, 75), ("warn", 75, 25)]


def test_part_that_is_tiny_can_be_seen_and_the_bar_is_no_longer_for_it() -> None:
    made = parts([("ok", 999_999, "a"), ("bad", 1, "b")], 1_000_000)
    assert made[1].width > 0.5
    assert made[-1].x + made[-1].width <= 100.001


def test_bar_of_nothing_has_no_parts() -> None:
    assert parts([("ok", 0, "a")], 0) == []
    assert parts([("ok", 0, "a")], 10) == []
