from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrelay.errors import InvalidInput
from memrelay.times import format_time, now_us, parse_time

FIRST, LAST = "1700-01-01T00:00:00Z", "2249-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T05:30:00+05:30", 0),
        ("1969-12-31T19:00:00-05:00", 0),
        ("2026-01-31 12:00:00Z", 1769860800_000000),
        ("2024-02-29T00:00:00.5Z", 1709164800_500000),
    ],
)
def test_time_is_microseconds_since_1970(text: str, microseconds: int) -> None:
    assert parse_time(text) == microseconds


@pytest.mark.parametrize("text", [FIRST, LAST, "1970-01-01T00:00:00.000000Z"])
def test_time_is_written_as_it_is_read(text: str) -> None:
    assert parse_time(format_time(parse_time(text))) == parse_time(text)
    assert format_time(parse_time(text)).endswith("Z")
    assert len(format_time(parse_time(text))) == 27


@settings(derandomize=True, database=None)
@given(st.integers(parse_time(FIRST), parse_time(LAST)))
def test_every_microsecond_survives_the_way_out_and_in(moment: int) -> None:
    assert parse_time(format_time(moment)) == moment
    assert int(float(moment)) == moment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-01-31T12:00:00", "needs Z or an offset"),
        ("2026-01-31", "needs Z or an offset"),
        ("", "not an RFC 3339 time"),
        ("now", "not an RFC 3339 time"),
        ("2026-02-30T00:00:00Z", "not an RFC 3339 time"),
        ("2026-01-31T24:30:00Z", "not an RFC 3339 time"),
        ("2026-01-31T12:00:00+25:00", "not an RFC 3339 time"),
        ("1699-12-31T23:59:59.999999Z", "between 1700 and 2250"),
        ("2250-01-01T00:00:00Z", "between 1700 and 2250"),
        ("0001-01-01T00:00:00+23:59", "between 1700 and 2250"),
        ("9999-12-31T23:59:59-23:59", "between 1700 and 2250"),
    ],
)
def test_what_is_no_time_is_refused_with_its_pointer(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_time(text, pointer="/memories/0/created_at")
    assert caught.value.pointer == "/memories/0/created_at"


def test_now_is_in_microseconds() -> None:
    assert parse_time("2025-01-01T00:00:00Z") < now_us() < parse_time("2200-01-01T00:00:00Z")
