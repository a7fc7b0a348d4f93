"""mem0's ``add(infer=False)``: a memory a call, since it has no other way. In its own environment.

Its history is on disk, as by default, which costs a flush of the disk a memory; without, it is kept in
memory and ends with the process. HNSW of its PostgreSQL tables is off: memrelay has no such index at this
size either.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

HOME = tempfile.TemporaryDirectory(prefix="memrelay-bench-mem0-")
os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": HOME.name}

from mem0 import AsyncMemory, Memory  # type: ignore[import-not-found] # noqa: E402
from mem0.memory.storage import SQLiteManager  # type: ignore[import-not-found] # noqa: E402

from backends.embedding.local import DIMENSIONS  # noqa: E402
from benchmarks.neighbours.embedding import Words  # noqa: E402
from benchmarks.neighbours.program import Rows, serve  # noqa: E402

COLLECTION = "mem0bench"
CONCURRENCY = 8


class Embedder:
    """mem0's interface of an embedder."""

    def __init__(self) -> None:
        self._words = Words()

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        return self._words.vectors([text])[0]

    def embed_batch(self, texts: list[str], memory_action: str = "add") -> list[list[float]]:
        return self._words.vectors(texts)


class Mem0:
    """``Memory`` and ``AsyncMemory`` over one collection."""

    def __init__(self, store: str, url: str) -> None:
        config = _config(store, url)
        self._memory = Memory.from_config(config)
        self._async = AsyncMemory.from_config(config)
        self._memory.embedding_model = self._async.embedding_model = Embedder()
        self._on_disk = self._memory.db
        self._in_memory = SQLiteManager(":memory:")
        self.ways: dict[str, Callable[[Rows], None]] = {
            f"{name}{words}": partial(self._way, way, history)
            for words, history in (("", self._on_disk), (", no history", self._in_memory))
            for name, way in (
                ("one by one", self._one),
                ("threads", self._threads),
                ("asyncio", self._asyncio),
            )
        }

    def _way(self, way: Callable[[Rows], None], history: Any, rows: Rows) -> None:
        self._memory.db = self._async.db = history
        way(rows)

    def _one(self, rows: Rows) -> None:
        for row in rows:
            self._add(row)

    def _threads(self, rows: Rows) -> None:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            list(pool.map(self._add, rows))

    def _asyncio(self, rows: Rows) -> None:
        async def client(left: Any) -> None:
            for row in left:
                await self._async.add(**_arguments(row))

        async def clients() -> None:
            left = iter(rows)
            await asyncio.gather(*(client(left) for _ in range(CONCURRENCY)))

        asyncio.run(clients())

    def _add(self, row: dict[str, Any]) -> None:
        self._memory.add(**_arguments(row))

    def count(self) -> int:
        store = self._memory.vector_store
        if hasattr(store, "index"):
            return int(store.index.info()["num_docs"])
        with store._get_cursor() as cursor:
            cursor.execute(f"SELECT to_regclass('{COLLECTION}')")
            if cursor.fetchone()[0] is None:
                return 0
            cursor.execute(f"SELECT count(*) FROM {COLLECTION}")
            return int(cursor.fetchone()[0])

    def found(self, row: dict[str, Any]) -> bool:
        found = self._memory.search(row["text"], filters={"user_id": row["user_id"]}, top_k=1)
        return [hit["memory"] for hit in found["results"]] == [row["text"]]


def _arguments(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "messages": row["text"],
        "user_id": row["user_id"],
        "metadata": {"id": row["id"], "tags": row["tags"], **row["metadata"]},
        "infer": False,
    }


def _config(store: str, url: str) -> dict[str, Any]:
    collection: dict[str, Any] = {"collection_name": COLLECTION, "embedding_model_dims": DIMENSIONS}
    stores: dict[str, dict[str, Any]] = {
        "pgvector": {"connection_string": url, "hnsw": False, "maxconn": CONCURRENCY},
        "redis": {"redis_url": url},
    }
    unused = {"provider": "openai", "config": {"api_key": "none"}}
    return {
        "vector_store": {"provider": store, "config": collection | stores[store]},
        "llm": unused,
        "embedder": unused,
        "history_db_path": f"{HOME.name}/history.db",
    }


if __name__ == "__main__":
    serve(Mem0, ["mem0ai", "psycopg", "redis", "redisvl"])
