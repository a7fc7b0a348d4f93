"""What grows with what is stored: rate, searches, bytes in store and journal, memory of the processes.

One namespace of ``USERS`` users is filled over HTTP; at each mark the last stretches before it are told. Its
rate at the end is set against that of another installation, with as much as at the mark before, in turn:
in the minutes between two marks a shared machine's own rate changes by a third.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.registry import create_driver
from benchmarks.ingest import served
from benchmarks.load import run_load
from benchmarks.search import TOP_K, bare, of_user
from benchmarks.sizes import PLACES, Measured, allocated
from benchmarks.stack import Stack
from benchmarks.texts import memories
from memrelay.filters import Compare, Filter
from tests.service import Service, children

USERS = 10_000
DIMENSIONS = 256
STRETCH = 10_000
TOLD = 9
SEARCHES = 200
THIRDS = 20
A_THIRD = Compare("metadata.category", "$eq", "a")
"""What a third of all memories passes."""
OVER_USERS = ("sqlite", "weaviate")
"""Redis serves no search over so many users, and pgvector would build its index beside what comes next."""
MIB = 2**20


def measure(stack: Stack, kind: str, *, marks: Sequence[int]) -> dict[str, Any]:
    """By mark. Medians of the last ``TOLD`` stretches; memory is resident, of API and worker as a whole.

    ``last_over_first`` is the rate at the last mark over that at the one before, the median of ``TOLD``
    pairs of stretches.
    """
    with _installed(stack, kind) as large:
        told = {str(mark): large.filled(mark) for mark in marks}
        beside = Stack(stack.directory / "beside")
        with beside.queue:
            beside.forget()
            with _installed(beside, kind) as small:
                small.fill(marks[-2])
                pairs = [_pair(large, small, number) for number in range(TOLD)]
    return {
        "marks": told,
        "pairs_per_s": [(round(last), round(first)) for last, first in pairs],
        "last_over_first": round(_median([last / first for last, first in pairs]), 3),
    }


def _pair(large: Installed, small: Installed, number: int) -> tuple[float, float]:
    """Memories a second of both; who begins takes turns."""
    if number % 2:
        first = small.stretch()
        return large.stretch(), first
    return large.stretch(), small.stretch()


@dataclass
class Installed:
    """memrelay with one store, and what is in it by now."""

    stack: Stack
    service: Service
    kind: str
    store: Measured
    empty: dict[str, int]
    """Bytes."""
    stretches: int = 0

    def stretch(self) -> float:
        """Memories a second of one more."""
        self.stretches += 1
        return served(self.service, self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Of the last stretch."""
        return memories(STRETCH, users=USERS, seed=1000 + self.stretches, prefix="grown")

    def fill(self, mark: int) -> list[float]:
        """Memories a second of each stretch up to that many memories."""
        return [self.stretch() for _ in range(mark // STRETCH - self.stretches)]

    def filled(self, mark: int) -> dict[str, Any]:
        """What is told of a mark, having come to it."""
        rates = self.fill(mark)
        told = {
            "per_s": round(_median(rates[-TOLD:])),
            "searches": _searched(self.service, self.kind, self.store, self.rows()),
            "store_bytes": {
                name: round((used - self.empty[name]) / mark)
                for name, used in self.store.size().items()
            },
            "journal_mib": round(allocated(self.stack.queue.url) / MIB, 1),
            "resident_mib": _resident(self.service),
        }
        print(f"{self.kind} {mark}: {told}", file=sys.stderr)
        return told


@contextmanager
def _installed(stack: Stack, kind: str) -> Iterator[Installed]:
    with PLACES[kind](stack, DIMENSIONS) as store:
        drivers = json.dumps({kind: store.settings})
        with stack.service(kind, MEMRELAY_DRIVERS=drivers) as service:
            yield Installed(stack, service, kind, store, store.size())


def _searched(
    service: Service, kind: str, store: Measured, rows: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Milliseconds, medians."""
    queries = [(row["text"][:80], row["user_id"]) for row in rows[:SEARCHES]]
    bodies = [
        json.dumps({"query": text, "user_id": user, "top_k": TOP_K, "mode": "semantic"})
        for text, user in queries
    ]
    report = run_load(
        port=service.port, path="/v1/search", bodies=bodies, clients=1, count=len(bodies)
    )
    assert set(report["statuses"]) == {"200"}, report["statuses"]

    def called(chosen: Sequence[tuple[str, Filter]]) -> float:
        return round(asyncio.run(bare(create_driver(kind, store.settings), chosen)), 3)

    found = {
        "p50_ms": report["p50_ms"],
        "bare_p50_ms": called([(text, of_user(user)) for text, user in queries]),
    }
    if kind in OVER_USERS:
        found["bare_third_p50_ms"] = called([(text, A_THIRD) for text, _ in queries[:THIRDS]])
    return found


def _resident(service: Service) -> dict[str, int]:
    """MiB; what processes share is counted once for each."""
    trees = {
        "api": [service.api_pid, *children(service.api_pid)],
        "worker": [service.worker_pid, *service.worker_lanes, *service.worker_children],
    }
    return {name: sum(map(_rss, pids)) // 1024 for name, pids in trees.items()}


def _rss(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
