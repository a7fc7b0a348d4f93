"""Formats: numbers as people read them, for templates. All take None where there is nothing to tell."""

from __future__ import annotations

import json
from typing import Any

from memrelay.times import format_time

NOTHING = "–"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT = ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k"))


def number(value: float | None) -> str:
    """With separators; one digit after the point below ten, unless it is whole."""
    if value is None:
        return NOTHING
    if value != round(value) and abs(value) < 10:
        return f"{value:.1f}"
    return f"{round(value):,}"


def short(value: float | None) -> str:
    """A number for little room: ``12.3k``, ``4.5M``; below 10,000 it is written out."""
    if value is None:
        return NOTHING
    for size, unit in _SHORT:
        if abs(value) >= size:
            scaled = value / (1000 if unit == "k" else size)
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return number(value)


def size(count: float | None) -> str:
    """Bytes in binary units: ``1.5 MiB``."""
    if count is None:
        return NOTHING
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 1 if unit and value < 100 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """The two largest units of a time span: ``850 ms``, ``4.2 s``, ``3 min 20 s``, ``2 d 4 h``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for length, unit, lower, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= length:
            return _two(whole // length, unit, whole % length // lower, name)
    return _two(whole // 60, "min", whole % 60, "s")


def _two(much: int, unit: str, little: int, lower: str) -> str:
    return f"{much} {unit} {little} {lower}" if little else f"{much} {unit}"


def percent(part: float, whole: float) -> str:
    """``99.5%``; never 100% or 0% unless it is exactly that."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if share in (0, 100):
        return f"{share:.0f}%"
    return f"{min(max(share, 0.1), 99.9):.1f}%"


def iso(microseconds: int) -> str:
    """RFC 3339 in UTC, to the millisecond: for ``datetime`` attributes."""
    return format_time(microseconds)[:23] + "Z"


def moment(microseconds: int) -> str:
    """``2026-01-31 12:00:00 UTC``."""
    return iso(microseconds)[:19].replace("T", " ") + " UTC"


def clip(text: str, length: int) -> str:
    """The beginning of a text, with an ellipsis if it goes on."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def pretty(value: Any) -> str:
    """A JSON value as its authors would write it, in several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


FILTERS = {
    "number": number,
    "short": short,
    "size": size,
    "duration": duration,
    "iso": iso,
    "moment": moment,
    "clip": clip,
    "pretty": pretty,
}
