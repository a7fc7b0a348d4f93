"""Whether a command said what the page shows: its lines, in their order, numbers and ids aside."""

from __future__ import annotations

import re

ANYTHING = "…"
_CHANGING = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"  # an id that we gave
    r"|\bjob_\w+"
    r"|\b\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|\+00:00)?"
    r"|-?\d+(?:[.,]\d+)*"
)


def missing_line(shown: str, said: str) -> str | None:
    """The first line of ``shown`` that ``said`` lacks after those before it; None if it has all.

    A line is found within a line that was said; ``…`` in it stands for anything, blanks for any blanks.
    """
    lines = iter(_plain(said).splitlines())
    for line in shown.splitlines():
        wanted = _pattern(line)
        if wanted and not any(re.search(wanted, other) for other in lines):
            return line
    return None


def _pattern(line: str) -> str:
    parts = (_plain(part).strip() for part in line.split(ANYTHING))
    return ".*".join(re.escape(part) for part in parts).removeprefix(".*").removesuffix(".*")


def _plain(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(_CHANGING.sub("0", line) for line in lines)
