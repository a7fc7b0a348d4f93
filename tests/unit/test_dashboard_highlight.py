"""The part of a text that is shown of a hit, and which of its words are marked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.dashboard.highlight import SHOWN, highlight


def marked(text: str, query: str) -> list[str]:
    return [piece.text for piece in highlight(text, query) if piece.marked]


def shown(text: str, query: str) -> str:
    return "".join(piece.text for piece in highlight(text, query))


def test_words_of_the_query_are_marked_whatever_their_case() -> None:
    assert marked("A window seat, or a SEAT.", "seat Window") == ["window", "seat", "SEAT"]
    assert marked("Straße", "STRASSE") == ["Straße"]


def test_parts_of_words_and_very_short_ones_are_not_marked() -> None:
    assert marked("seated on a seat", "on a seat") == ["seat"]


def test_short_text_is_shown_whole() -> None:
    assert shown("  one\n two ", "nothing of it") == "  one\n two "


def test_long_text_is_shown_from_its_beginning_if_no_word_is_found() -> None:
    text = "word " * 200
    assert shown(text, "absent") == text[:SHOWN] + "…"


def test_long_text_is_shown_around_the_first_word_found() -> None:
    text = "before " * 100 + "needle " + "after " * 100
    found = shown(text, "needle")
    assert found.startswith("…before ")
    assert "needle after" in found
    assert found.endswith("…")


def test_word_that_is_cut_at_the_end_is_not_marked() -> None:
    text = "needle" + " x" * ((SHOWN - 10) // 2) + " needle"
    assert marked(text, "needle") == ["needle"]
    assert shown(text, "needle") == text[:SHOWN] + "…"


@given(st.text(max_size=600), st.text(max_size=20))
def test_what_is_shown_is_a_piece_of_the_text(text: str, query: str) -> None:
    found = shown(text, query)
    assert found.removeprefix("…").removesuffix("…") in text or found in text
    assert len(found) <= SHOWN + 2
