"""A neighbour in its own environment, told by lines on standard input and answering by lines.

The first line is ``{store, url}``; the answer to it names versions and ways. Then ``{way, seed, count}``, as
often as wanted: that many memories are added that way. The answer is ``{seconds, stored, found}``: how
many more the store then has, by its own count, and whether the neighbour's search finds one of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Protocol

from benchmarks.texts import memories

USERS = 100
Rows = list[dict[str, Any]]


class Store(Protocol):
    """One opened store of a neighbour."""

    ways: dict[str, Callable[[Rows], None]]
    """By name: each adds all rows, and returns when they are in the store."""

    def count(self) -> int:
        """What the store itself says that it has."""
        ...

    def found(self, row: dict[str, Any]) -> bool:
        """Whether a search for its text has it first."""
        ...


def serve(open_store: Callable[[str, str], Store], packages: Sequence[str]) -> None:
    """Until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a package prints is not an answer
    lines = map(json.loads, sys.stdin)
    first = next(lines)
    store = open_store(first["store"], first["url"])

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer({"versions": {name: version(name) for name in packages}, "ways": list(store.ways)})
    for order in lines:
        rows = memories(order["count"], users=USERS, seed=order["seed"])
        before = store.count()
        began = time.perf_counter()
        store.ways[order["way"]](rows)
        seconds = time.perf_counter() - began
        stored = store.count() - before
        answer({"seconds": seconds, "stored": stored, "found": store.found(rows[-1])})
