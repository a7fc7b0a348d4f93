"""What is found: ``python -m benchmarks.quality [--quick]`` prints one JSON.

Recall of each driver against exact cosines over real texts, and the two halves of a hybrid search against
both together on a labelled set: the question is one half of a text, the memory that it asks for the other.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from backends.registry import create_driver
from benchmarks.recall import NOW, TOP, embedded, exact, fill, recall
from benchmarks.stack import Stack
from memrelay.driver import Driver, Query
from memrelay.filters import And, Compare, Filter
from memrelay.fusion import fuse
from memrelay.types import Hit, Memory, Scope
from tests.acceptance.test_real_texts import fortunes

CANDIDATES = 50
"""Of each half of a hybrid search, as the API takes them."""
USERS = 50
QUERIES = 100
KINDS = ("redis", "weaviate", "pgvector", "sqlite")
RARE = 100
"""One memory of so many has the rare tag."""


def measure(stack: Stack, *, quick: bool) -> dict[str, Any]:
    """By driver; ``least_recall`` is the worst of all, ``hybrid_over_best_part`` the worst driver's."""
    texts = texts_in_no_order()
    with ExitStack() as running:
        for server in (stack.redis, stack.weaviate, stack.postgres):
            running.enter_context(server)
        drivers = {kind: _driver(stack, kind) for kind in KINDS}
        recalls = asyncio.run(_recalls(drivers, texts[:3_000] if quick else _halved(texts)))
        drivers = {kind: _driver(stack, kind) for kind in KINDS}
        labelled = asyncio.run(_labelled(drivers, texts[:3_000], 150 if quick else 600))
    return {
        "recall": recalls,
        "least_recall": min(value for of in recalls.values() for value in of.values()),
        "labelled": labelled,
        "hybrid_over_best_part": min(
            round(of["hybrid"]["mrr"] / max(of["semantic"]["mrr"], of["keyword"]["mrr"]), 3)
            for of in labelled.values()
        ),
    }


def texts_in_no_order() -> list[str]:
    """In an order that is always the same, and none of the texts' own."""
    texts = [memory["text"][:2000] for memory in fortunes()]
    Random(1).shuffle(texts)
    return texts


def _halved(texts: Sequence[str]) -> list[str]:
    """Both halves of each. Drivers search these exactly still, but for pgvector once its index is built."""
    return [half for text in texts for half in _cut(text) if half]


def _driver(stack: Stack, kind: str) -> Driver:
    settings = (
        {"path": str(stack.directory / "quality.db")}
        if kind == "sqlite"
        else stack.driver_settings(kind)
    )
    return create_driver(kind, settings)


def _memory(number: int, text: str) -> Memory:
    return Memory(
        id=f"m{number}",
        text=text,
        user_id=f"user-{number % USERS}",
        tags=("rare",) if number // USERS % RARE == 0 else (),
        created_at=number,
        version=number + 1,
    )


async def _recalls(drivers: dict[str, Driver], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    memories = [_memory(number, text) for number, text in enumerate(texts)]
    space, vectors = await embedded(texts)
    scope = Scope(namespace="recall", source="default", space=space)
    asked = Random(2).sample(range(len(texts)), QUERIES)
    found = {}
    for kind, driver in drivers.items():
        await driver.open()
        await fill(driver, scope, memories, vectors)
        found[kind] = {
            name: await recall(
                driver, scope, exact(memories, vectors, chosen, vectors[asked]), chosen
            )
            for name, chosen in _filters(driver).items()
        }
        await driver.close()
    return found


def _filters(driver: Driver) -> dict[str, Filter | None]:
    """By name; a driver may serve no search that names no user."""
    rare = Compare("tags", "$contains", "rare")
    user = Compare("user_id", "$eq", "user-7")
    chosen: dict[str, Filter | None] = {"of_a_user": user, "of_a_user_rare": And((user, rare))}
    if driver.capabilities.unscoped_search:
        chosen |= {"of_all": None, "of_all_rare": rare}
    return chosen


async def _labelled(
    drivers: dict[str, Driver], texts: Sequence[str], questions: int
) -> dict[str, dict[str, dict[str, float]]]:
    """MRR and recall at ``TOP`` of each mode: the one memory that a question was cut from."""
    parts = [_cut(text) for text in texts]
    able = [number for number, (question, _) in enumerate(parts) if question][:questions]
    memories = [_memory(number, rest) for number, (_, rest) in enumerate(parts)]
    space, vectors = await embedded([memory.text for memory in memories])
    _, asked = await embedded([parts[number][0] for number in able])
    scope = Scope(namespace="labelled", source="default", space=space)
    found = {}
    for kind, driver in drivers.items():
        if not driver.capabilities.keyword:
            continue
        await driver.open()
        await fill(driver, scope, memories, vectors)
        ranks: dict[str, list[int]] = {"semantic": [], "keyword": [], "hybrid": []}
        for number, vector in zip(able, asked, strict=True):
            halves = [
                await driver.search(scope, query)
                for query in _halves(parts[number][0], vector.tobytes())
            ]
            lists = dict(zip(ranks, (*halves, fuse(*halves)), strict=True))
            for mode, hits in lists.items():
                ranks[mode].append(_rank(hits, f"m{number}"))
        await driver.close()
        found[kind] = {
            mode: {
                "mrr": round(sum(1 / rank for rank in all if rank) / len(all), 3),
                f"recall_at_{TOP}": round(sum(0 < rank <= TOP for rank in all) / len(all), 3),
            }
            for mode, all in ranks.items()
        }
    return found


def _cut(text: str) -> tuple[str, str]:
    """The first half of its words, and the second; no question where that would be too little to go by."""
    words = text.split()
    if len(words) < 16:
        return "", text
    half = len(words) // 2
    return " ".join(words[:half][:24]), " ".join(words[half:])


def _halves(text: str, vector: bytes) -> tuple[Query, Query]:
    return (
        Query(mode="semantic", top_k=CANDIDATES, now=NOW, vector=vector),
        Query(mode="keyword", top_k=CANDIDATES, now=NOW, text=text),
    )


def _rank(hits: Sequence[Hit], id: str) -> int:
    """From 1; 0 if it was not found."""
    return next((at for at, hit in enumerate(hits, 1) if hit.memory.id == id), 0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="memrelay-quality-") as directory:
        told = measure(Stack(Path(directory)), quick="--quick" in sys.argv)
    print(json.dumps(told, indent=1))
