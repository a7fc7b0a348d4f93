"""Rates of several sides, round by round, and what memrelay does in a round."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from statistics import median
from typing import Any, Self

from backends.registry import create_embedder
from benchmarks.ingest import MODEL, served
from benchmarks.stack import call
from benchmarks.texts import memories
from memrelay.driver import Driver
from memrelay.times import now_us
from memrelay.types import Scope
from tests.service import Service

US = "memrelay"


class Rates:
    """Memories a second by side; every round has one of each."""

    def __init__(self) -> None:
        self._rates: dict[str, list[float]] = defaultdict(list)

    def add(self, side: str, rate: float) -> None:
        self._rates[side].append(rate)

    def report(self) -> dict[str, Any]:
        """All of them, and the medians of memrelay's over the others'."""
        ours = self._rates[US]
        return {
            "per_s": {side: [round(rate) for rate in rates] for side, rates in self._rates.items()},
            "memrelay_over": {
                side: round(median(a / b for a, b in zip(ours, rates, strict=True)), 2)
                for side, rates in self._rates.items()
                if side != US
            },
        }


class Counter:
    """What memrelay's driver has of what a service stored, or of another scope; on a loop of its own."""

    def __init__(self, driver: Driver, namespace: str = "default") -> None:
        self._driver = driver
        space = create_embedder(MODEL, {}).space
        self._scope = Scope(namespace=namespace, source="default", space=space)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._driver.open())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._driver.close())
        self._runner.close()

    def count(self) -> int:
        return self._runner.run(self._driver.count(self._scope, None, now=now_us()))


def memrelay(service: Service, counter: Counter, *, seed: int, size: int) -> float:
    """Memories a second of a bulk import, until its jobs say ``stored``; all are there, and found."""
    rows = memories(size, users=100, seed=seed)
    before = counter.count()
    rate = served(service, rows)
    assert counter.count() - before == size
    query = {"query": rows[-1]["text"], "user_id": rows[-1]["user_id"], "mode": "semantic"}
    found = call(service, "/v1/search", query | {"top_k": 1})
    assert [hit["id"] for hit in found["hits"]] == [rows[-1]["id"]], found
    return rate
