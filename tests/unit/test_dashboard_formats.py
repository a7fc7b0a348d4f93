"""Numbers as people read them."""

from __future__ import annotations

import pytest

from api.dashboard import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (3.25, "3.2"), (9.0, "9"), (12.6, "13"), (1234567, "1,234,567")],
)
def test_numbers_have_separators(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(9999, "9,999"), (12_345, "12.3k"), (250_000, "250k"), (4_500_000, "4.5M"), (2.1e9, "2.1B")],
)
def test_large_numbers_are_shortened(value: float, text: str) -> None:
    assert formats.short(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (200 * 2**20, "200 MiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_bytes_are_told_in_binary_units(count: int, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0004, "0 ms"),
        (0.85, "850 ms"),
        (0.9996, "1.0 s"),
        (4.21, "4.2 s"),
        (9.97, "10 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (3 * 86400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_moments_are_told_in_utc() -> None:
    assert formats.iso(1_700_000_000_123_456) == "2023-11-14T22:13:20.123Z"
    assert formats.moment(1_700_000_000_123_456) == "2023-11-14 22:13:20 UTC"


def test_clipped_text_is_no_longer_than_asked_for() -> None:
    assert formats.clip("short", 10) == "short"
    assert formats.clip("a b c d e f g", 6) == "a b c…"
