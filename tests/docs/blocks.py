"""What the documentation shows: its fenced blocks, with the marks that say how a test treats them.

A mark is an HTML comment, alone on the line before a block (readers do not see it):

- ``<!-- not run: reason -->``: a test only lists it.
- ``<!-- run by: tests/….py -->``: another test runs it, in an environment that this one has not.
- ``<!-- runs on -->``: its one command goes on until the page ends; what is shown must appear.
- ``<!-- status: 3 -->``: the exit status of its last command, instead of 0.

``<!-- prepare`` … ``-->`` holds a block of its own, run in its place and not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN = frozenset({"console", "bash", "python", "toml", "json", "yaml", "ini", "sql"})
SHOWN = frozenset({"text", "mermaid", "promql"})
"""Languages of blocks in which nothing can be wrong by itself."""
_MARK = re.compile(r"\s*<!--\s*(not run|run by|runs on|status)(?::\s*(.*?))?\s*-->\s*\Z")
_FENCE = re.compile(r"(\s*)(`{3,})\s*([\w-]*)(.*)\Z")
_TITLE = re.compile(r'title="([^"]+)"')
_PROMPT = "$ "


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. ``title`` is the file that it is the text of, ``line`` where it begins."""

    page: str
    line: int
    language: str
    title: str | None
    text: str
    mark: str | None = None
    said: str = ""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block, and the output that is shown below it."""

    line: str
    shown: str


def pages() -> list[Path]:
    """README and every page of the documentation."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    """In their order; ``ValueError`` for a block that no test would look at."""
    found = list(_blocks(name_of(page), page.read_text().splitlines()))
    for block in found:
        if block.language not in RUN | SHOWN:
            raise ValueError(f"{block.where}: say what the block is, not {block.language!r}")
    return found


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    mark: re.Match[str] | None = None
    fence: re.Match[str] | None = None
    begun, body = 0, list[str]()
    for number, line in enumerate(lines, start=1):
        if fence is None:
            fence = _FENCE.match(line)
            begun, body = number, []
            if fence is None and line.strip():
                mark = _MARK.match(line)
        elif line.strip() == fence[2]:
            title = _TITLE.search(fence[4])
            yield Block(
                page=page,
                line=begun,
                language=fence[3],
                title=title and title[1],
                text="".join(f"{kept.removeprefix(fence[1])}\n" for kept in body),
                mark=mark and mark[1],
                said=(mark and mark[2]) or "",
            )
            mark = fence = None
        else:
            body.append(line)
    if fence is not None:
        raise ValueError(f"{page}:{begun}: the block has no end")


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block; lines that end in ``\\`` go on."""
    commands: list[Command] = []
    parts: list[str] = []
    shown: list[str] = []
    for line in block.text.splitlines():
        goes_on = bool(parts) and parts[-1].endswith("\\") and not shown
        if line.startswith(_PROMPT) or goes_on:
            if parts and not goes_on:
                commands.append(Command("\n".join(parts), "\n".join(shown)))
                parts, shown = [], []
            parts.append(line.removeprefix(_PROMPT))
        elif not parts:
            raise ValueError(f"{block.where}: a console block begins with '{_PROMPT}'")
        else:
            shown.append(line)
    return [*commands, Command("\n".join(parts), "\n".join(shown))]
