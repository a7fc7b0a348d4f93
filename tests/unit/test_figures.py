"""The record of the benchmarks: what is shown is what was measured, and what is worse by a third is told."""

from __future__ import annotations

import pytest

from benchmarks import figures
from benchmarks.figures import BEGIN, END, FIGURES, PAGE, Figure, fallen, table

HIGH = Figure(("a", "ratio"), "more is better", 1.0, steady=True)
LOW = Figure(("b", "ratio"), "less is better", 1.2, low=True, steady=True)


def test_the_page_shows_the_record() -> None:
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == table(figures.load()["full"]).strip()


def test_what_is_held_against_the_record_is_in_it() -> None:
    recorded = figures.load()["quick"]
    assert [
        figure.name for figure in FIGURES if figure.steady and figure.of(recorded) is None
    ] == []


@pytest.mark.parametrize(
    ("figure", "recorded", "value", "fell"),
    [
        (HIGH, 0.9, 0.61, False),
        (HIGH, 0.9, 0.59, True),
        (HIGH, 0.9, 2.0, False),
        (LOW, 1.4, 2.0, False),
        (LOW, 1.4, 2.2, True),
        (LOW, 1.4, 0.5, False),
    ],
)
def test_what_is_worse_by_more_than_a_third_fell(
    monkeypatch: pytest.MonkeyPatch, figure: Figure, recorded: float, value: float, fell: bool
) -> None:
    monkeypatch.setattr(figures, "FIGURES", (figure,))

    def results(number: float) -> figures.Results:
        return {figure.place[0]: {"ratio": number}}

    found = list(fallen(results(value), results(recorded)))
    assert found == ([(figure, value, recorded)] if fell else [])


def test_what_was_not_measured_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", (HIGH,))
    assert list(fallen({}, {"a": {"ratio": 1.0}})) == []
    assert list(fallen({"a": {"ratio": 0.1}}, {})) == []
    assert table({}).count("\n") == 2
