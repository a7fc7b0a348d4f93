"""Cursors that are versions: lists of what the journal keeps, the newest first."""

from __future__ import annotations

from api.problems import invalid

DIGITS = 16


def version_of(cursor: str | None) -> int | None:
    """The version that the page before ended at, None for the first page; 422 for what is no cursor."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= DIGITS):
        raise invalid([("/cursor", "not one of ours")])
    return int(cursor)


def cursor_of(version: int | None) -> str | None:
    return None if version is None else str(version)
