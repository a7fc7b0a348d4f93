"""Charts: values as coordinates of small SVG drawings, made here so that pages need no script for them.

Drawings are ``WIDTH`` by ``HEIGHT`` units and are stretched to the room that there is; labels are not in
them, but beside them as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 120.0
HEADROOM = 1.08
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: ``values`` from left to right, None where there is none.

    ``tone`` is the name of its colour in the stylesheet; ``filled``: the area below it too.
    """

    name: str
    values: Sequence[float | None]
    tone: str
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """A series as SVG paths: ``line``, ``area`` if it is filled, ``dots`` for values without neighbours."""

    name: str
    tone: str
    line: str
    area: str
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Column:
    """The strip of one moment, for the pointer; ``title`` says what was then."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Ready to be drawn. ``top`` is the value of its upper edge; ``empty``: no series has a value."""

    curves: Sequence[Curve]
    columns: Sequence[Column]
    top: float
    empty: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar, from ``x`` on, in hundredths of the whole bar."""

    tone: str
    x: float
    width: float
    title: str


def chart(series: Sequence[Series], titles: Sequence[str]) -> Chart:
    """All series on one scale that begins at zero; ``titles`` has one text for each moment."""
    known = [value for one in series for value in one.values if value is not None]
    top = round_up(max(known, default=0.0))
    count = max(len(titles), 1)
    width = WIDTH / count
    return Chart(
        curves=[_curve(one, top, width) for one in series],
        columns=[Column(round(i * width, 2), round(width, 2), t) for i, t in enumerate(titles)],
        top=top,
        empty=not known,
    )


def round_up(value: float) -> float:
    """The next number above that people like on an axis."""
    if value <= 0:
        return 1.0
    magnitude = 1.0
    while magnitude * 10 <= value:
        magnitude *= 10
    while magnitude > value:
        magnitude /= 10
    return next(step * magnitude for step in (*_STEPS, 20.0) if step * magnitude >= value)


def parts(pieces: Sequence[tuple[str, float, str]], total: float) -> list[Part]:
    """(tone, amount, title) side by side; nothing that there is becomes too thin to be seen."""
    if total <= 0:
        return []
    there = [
        (tone, max(100 * amount / total, 0.8), title) for tone, amount, title in pieces if amount
    ]
    scale = min(1.0, 100 / sum(width for _, width, _ in there)) if there else 1.0
    made, x = [], 0.0
    for tone, width, title in there:
        made.append(Part(tone, round(x, 3), round(width * scale, 3), title))
        x += width * scale
    return made


def _curve(series: Series, top: float, width: float) -> Curve:
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(series.values):
        if value is None:
            runs.append([])
        else:
            y = HEIGHT - HEIGHT * value / (top * HEADROOM)
            runs[-1].append((round((index + 0.5) * width, 2), round(y, 2)))
    long = [run for run in runs if len(run) > 1]
    area = " ".join(_area(run) for run in long) if series.filled else ""
    dots = [run[0] for run in runs if len(run) == 1]
    return Curve(series.name, series.tone, " ".join(_line(run) for run in long), area, dots)


def _line(run: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in run)


def _area(run: Sequence[tuple[float, float]]) -> str:
    return f"{_line(run)} L{run[-1][0]:g} {HEIGHT:g} L{run[0][0]:g} {HEIGHT:g} Z"
