"""How an import's lines become parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrelay.client.importing import PART_BYTES, PART_LINES, key_of_file, parts_of
from memrelay.errors import InvalidInput

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])))


@given(LINES)
def test_parts_hold_every_line_in_order(lines: list[str]) -> None:
    parts = list(parts_of(lines))
    assert b"".join(part.body for part in parts) == "".join(f"{x}\n" for x in lines).encode()
    assert sum(part.count for part in parts) == len(lines)


def test_parts_are_bounded_in_lines_and_go_on_counting() -> None:
    parts = list(parts_of("{}" for _ in range(2 * PART_LINES + 1)))
    assert [(part.first, part.count) for part in parts] == [
        (1, PART_LINES),
        (PART_LINES + 1, PART_LINES),
        (2 * PART_LINES + 1, 1),
    ]


def test_parts_are_bounded_in_bytes() -> None:
    line = "x" * (PART_BYTES // 4)
    assert [part.count for part in parts_of([line] * 9)] == [4, 4, 1]


def test_a_file_gives_the_same_parts_with_or_without_its_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(b'{"text":"a"}\n\n{"text":"b"}')
    (part,) = parts_of(file)
    assert (part.first, part.count, part.body) == (1, 3, file.read_bytes())


def test_an_item_with_a_line_break_would_shift_the_numbers() -> None:
    with pytest.raises(InvalidInput, match="line break"):
        list(parts_of(["{}\n{}"]))


def test_the_key_of_a_file_follows_from_its_content_alone(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    key = key_of_file(one)
    assert key == key_of_file(two)
    assert len(key) <= 256
    two.write_text("other")
    assert key != key_of_file(two)
