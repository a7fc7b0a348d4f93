"""LangChain's vector stores: ``add_texts`` in batches, as large as memrelay's. In its own environment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import batched
from typing import Any

import psycopg
from langchain_core.embeddings import Embeddings
from langchain_postgres import (  # type: ignore[import-not-found]
    Column,
    PGEngine,
    PGVector,
    PGVectorStore,
)
from langchain_redis import RedisConfig, RedisVectorStore  # type: ignore[import-not-found]

from backends.embedding.local import DIMENSIONS
from benchmarks.neighbours.embedding import Words
from benchmarks.neighbours.program import Rows, Store, serve

BATCH = 512
TABLE = "langchain_bench"
ID = Column("langchain_id", "TEXT", nullable=False)


class Embedder(Embeddings):  # type: ignore[misc]
    """LangChain's interface of an embedder."""

    def __init__(self) -> None:
        self._words = Words()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._words.vectors(texts)

    def embed_query(self, text: str) -> list[float]:
        return self._words.vectors([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._words.vectors, texts)


class Redis:
    """``langchain-redis``: an index of RediSearch over hashes."""

    def __init__(self, url: str) -> None:
        config = RedisConfig(index_name=TABLE, redis_url=url)
        self._store = RedisVectorStore(Embedder(), config=config)
        self.ways = {"add_texts": lambda rows: _add(self._store, rows, ids="keys")}

    def count(self) -> int:
        return int(self._store.index.info()["num_docs"])

    def found(self, row: dict[str, Any]) -> bool:
        return _found(self._store, row)


class Postgres:
    """``langchain-postgres``: its older ``PGVector`` and the newer ``PGVectorStore``."""

    def __init__(self, url: str) -> None:
        self._url = url
        address = url.replace("postgresql:", "postgresql+psycopg:")
        self._older = PGVector(
            Embedder(), connection=address, embedding_length=DIMENSIONS, create_extension=False
        )
        engine = PGEngine.from_connection_string(address)
        engine.init_vectorstore_table(TABLE, DIMENSIONS, id_column=ID)
        self._newer = PGVectorStore.create_sync(engine, Embedder(), TABLE)
        self.ways = {
            "PGVector": lambda rows: _add(self._older, rows),
            "PGVectorStore": lambda rows: _add(self._newer, rows),
        }

    def count(self) -> int:
        with psycopg.connect(self._url) as connection:
            [[older]] = connection.execute("SELECT count(*) FROM langchain_pg_embedding")
            [[newer]] = connection.execute(f"SELECT count(*) FROM {TABLE}")
        return int(older) + int(newer)

    def found(self, row: dict[str, Any]) -> bool:
        return _found(self._older, row) or _found(self._newer, row)


def _add(store: Any, rows: Rows, ids: str = "ids") -> None:
    for part in batched(rows, BATCH):
        store.add_texts(
            [row["text"] for row in part],
            [{"user_id": row["user_id"], "tags": row["tags"], **row["metadata"]} for row in part],
            **{ids: [row["id"] for row in part]},
        )


def _found(store: Any, row: dict[str, Any]) -> bool:
    hits: Iterable[Any] = store.similarity_search(row["text"], k=1)
    return [hit.page_content for hit in hits] == [row["text"]]


def open_store(store: str, url: str) -> Store:
    return Redis(url) if store == "redis" else Postgres(url)


if __name__ == "__main__":
    serve(
        open_store, ["langchain-core", "langchain-postgres", "langchain-redis", "psycopg", "redis"]
    )
