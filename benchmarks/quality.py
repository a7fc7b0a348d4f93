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

import numpy as np

from backends.registry import create_driver, create_embedder
from benchmarks.ingest import BATCH, MODEL
from benchmarks.stack import Stack
from memrelay.driver import Driver, Query
from memrelay.filters import And, Compare, Filter, matches
from memrelay.fusion import fuse
from memrelay.types import Hit, Memory, Scope, Upsert
from tests.acceptance.test_real_texts import fortunes

TOP = 10
CANDIDATES = 50
"""Of each half of a hybrid search, as the API takes them."""
USERS = 50
QUERIES = 100
NOW = 1
KINDS = ("redis", "weaviate", "pgvector", "sqlite")
RARE = 100
"""One memory of so many has the rare tag."""


def measure(stack: Stack, *, quick: bool) -> dict[str, Any]:
    """By driver; ``least_recall`` is the worst of all, ``hybrid_over_best_part`` the worst driver's."""
    texts = _texts()
    with ExitStack() as running:
        for server in (stack.redis, stack.weaviate, stack.postgres):
            running.enter_context(server)
        drivers = {kind: _driver(stack, kind) for kind in KINDS}
        recall = asyncio.run(_recalls(drivers, texts[:3_000] if quick else _halved(texts)))
        drivers = {kind: _driver(stack, kind) for kind in KINDS}
        labelled = asyncio.run(_labelled(drivers, texts[:3_000], 150 if quick else 600))
    return {
        "recall": recall,
        "least_recall": min(value for of in recall.values() for value in of.values()),
        "labelled": labelled,
        "hybrid_over_best_part": min(
            round(of["hybrid"]["mrr"] / max(of["semantic"]["mrr"], of["keyword"]["mrr"]), 3)
            for of in labelled.values()
        ),
    }


def _texts() -> list[str]:
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


async def _filled(driver: Driver, scope: Scope, memories: Sequence[Memory], vectors: Any) -> None:
    await driver.open()
    await driver.ensure(scope)
    for start in range(0, len(memories), BATCH):
        part = memories[start : start + BATCH]
        ops = [Upsert(memory, vectors[start + at].tobytes()) for at, memory in enumerate(part)]
        outcomes = await driver.apply(scope, ops)
        assert all(outcome.status == "applied" for outcome in outcomes.values()), outcomes


async def _embedded(texts: Sequence[str]) -> tuple[Any, Any]:
    """The space, and a row for each text."""
    embedder = create_embedder(MODEL, {})
    await embedder.open()
    raw = [
        vector
        for start in range(0, len(texts), BATCH)
        for vector in await embedder.embed(texts[start : start + BATCH])
    ]
    await embedder.close()
    return embedder.space, np.frombuffer(b"".join(raw), "<f4").reshape(len(texts), -1)


async def _recalls(drivers: dict[str, Driver], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    memories = [_memory(number, text) for number, text in enumerate(texts)]
    space, vectors = await _embedded(texts)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scope = Scope(namespace="recall", source="default", space=space)
    asked = Random(2).sample(range(len(texts)), QUERIES)
    found = {}
    for kind, driver in drivers.items():
        await _filled(driver, scope, memories, vectors)
        found[kind] = {
            name: await _recall(driver, scope, _exact(memories, unit, chosen, asked), chosen)
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


def _exact(
    memories: Sequence[Memory], unit: Any, chosen: Filter | None, asked: Sequence[int]
) -> list[tuple[bytes, Any]]:
    """Each question's vector, and its cosine with every memory; -2 for what does not pass."""
    passing = np.array([matches(chosen, memory) for memory in memories])
    return [
        (unit[number].tobytes(), np.where(passing, unit @ unit[number], -2.0)) for number in asked
    ]


async def _recall(
    driver: Driver, scope: Scope, exact: Sequence[tuple[bytes, Any]], chosen: Filter | None
) -> float:
    """The mean part of the true nearest that is found; what is as near as the last of them counts."""
    parts = []
    for vector, cosines in exact:
        most = min(TOP, int((cosines > -2).sum()))
        bar = np.sort(cosines)[-most] - 1e-5
        query = Query(mode="semantic", top_k=TOP, now=NOW, vector=vector, filter=chosen)
        hits = await driver.search(scope, query)
        near = sum(cosines[int(hit.memory.id[1:])] >= bar for hit in hits)
        parts.append(min(near, most) / most)
    return round(float(np.mean(parts)), 4)


async def _labelled(
    drivers: dict[str, Driver], texts: Sequence[str], questions: int
) -> dict[str, dict[str, dict[str, float]]]:
    """MRR and recall at ``TOP`` of each mode: the one memory that a question was cut from."""
    parts = [_cut(text) for text in texts]
    able = [number for number, (question, _) in enumerate(parts) if question][:questions]
    memories = [_memory(number, rest) for number, (_, rest) in enumerate(parts)]
    space, vectors = await _embedded([memory.text for memory in memories])
    _, asked = await _embedded([parts[number][0] for number in able])
    scope = Scope(namespace="labelled", source="default", space=space)
    found = {}
    for kind, driver in drivers.items():
        if not driver.capabilities.keyword:
            continue
        await _filled(driver, scope, memories, vectors)
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
