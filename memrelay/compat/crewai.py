"""The memory of crews of CrewAI in memrelay: a ``StorageBackend``. CrewAI embeds, memrelay stores and finds.

``pip install 'memrelay[crewai]'``, and a memrelay with a source that takes vectors:

    [sources.crew]
    drivers = ["redis", "sqlite"]
    embedding = "external"
    dimensions = 3072                # of the crew's embedder; this is CrewAI's default one

Then

    from crewai.memory.unified_memory import Memory
    from memrelay.client import Memrelay
    from memrelay.compat.crewai import MemrelayStorage

    with Memrelay() as relay:
        memory = Memory(storage=MemrelayStorage(relay, source="crew"))  # Crew(…, memory=memory)
        memory.remember("Ana likes window seats.", scope="/ana", categories=[], importance=0.5)
        print(memory.recall("Where does Ana like to sit?", scope="/ana")[0].record.content)
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import batched
from operator import attrgetter
from typing import Any, Literal

from crewai.memory.storage.backend import EmbeddingDimensionMismatchError
from crewai.memory.types import MemoryRecord, ScopeInfo

from memrelay.client import Hit, Memrelay, NewMemory, StoredMemory
from memrelay.compat.stored import check_stored
from memrelay.errors import ConfigError

WAIT_SECONDS = 30.0
"""How long a write may take to be found."""
ADDED_AT_ONCE = 32
"""So many memories with vectors of 4,096 dimensions fit in one request."""
IDS_IN_FILTER = 50
"""Of 256 characters at most: a filter that deletes has 16 KiB."""
DEEPEST = 200
PAGE = 512
SCOPES, CATEGORIES, FIELD = "crewai_scopes", "crewai_categories", "crewai"
"""Metadata of ours: the scope and all above it, the categories, and what else a record has."""
WITH_VECTOR: Sequence[Literal["text", "metadata", "vector"]] = ("text", "metadata", "vector")

type Filter = dict[str, Any]


class MemrelayStorage:
    """Records of CrewAI in one source of memrelay, all of it for CrewAI; ``relay`` is its owner's to close.

    A scope holds what is below it, by whole names: ``/a`` has ``/a/b`` and not ``/ab``. Scores are cosines.
    A record's metadata is JSON of 16 KiB at most, what is no JSON in it becomes text. Writes return when
    the source's primary driver has them. Listing, and telling scopes and categories, read all records of
    the scope.

    ``EmbeddingDimensionMismatchError`` for a vector that the source does not take, ``ValueError`` for a
    record without one, ``ConfigError`` for a source that embeds itself; memrelay's errors otherwise.
    """

    def __init__(self, relay: Memrelay, *, source: str) -> None:
        self._relay = relay
        self._source = source

    def __deepcopy__(self, _: object) -> MemrelayStorage:
        """A copied crew remembers in the same place."""
        return self

    def save(self, records: list[MemoryRecord]) -> None:
        """Store records; one with the id of another replaces it."""
        memories = [_memory(record, self._fitting(record.embedding)) for record in records]
        for part in batched(memories, ADDED_AT_ONCE):
            accepted = self._relay.add(part, source=self._source, wait=WAIT_SECONDS)
            check_stored(accepted.job, waited=WAIT_SECONDS)

    def update(self, record: MemoryRecord) -> None:
        """Replace the record with this id. Without a vector it keeps the one that it has."""
        if not record.embedding:
            held = self.get_record(record.id)
            record = record.model_copy(update={"embedding": held.embedding if held else None})
        self.save([record])

    def search(  # noqa: PLR0917 - CrewAI's
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        """The nearest records of the scope with one of the categories and all the metadata; 200 at most."""
        if limit <= 0:
            return []
        answer = self._relay.search(
            vector=self._fitting(query_embedding),
            mode="semantic",
            filter=_where(scope_prefix, categories, metadata_filter),
            source=self._source,
            top_k=min(limit, DEEPEST),
            min_score=max(-1.0, min(1.0, min_score)),
        )
        return [(_record(hit), hit.score) for hit in answer.hits]

    def delete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        """Delete the records of which everything given holds, all if nothing is; how many they were.

        No ids are no records, no categories are any.
        """
        where = _where(scope_prefix, categories, metadata_filter)
        if older_than is not None:
            where["created_at"] = {"$lt": _aware(older_than).isoformat()}
        if record_ids is None:
            return self._delete(where)
        parts = batched(dict.fromkeys(record_ids), IDS_IN_FILTER)
        return sum(self._delete(where | {"id": {"$in": list(ids)}}) for ids in parts)

    def get_record(self, record_id: str) -> MemoryRecord | None:
        """A record with its vector (single precision); None if it is not there."""
        answer = self._relay.search(
            vector=[1.0] + [0.0] * (self._dimensions - 1),  # any: the id decides
            mode="semantic",
            filter=_where() | {"id": record_id},
            source=self._source,
            top_k=1,
            include=WITH_VECTOR,
        )
        return next(map(_record, answer.hits), None)

    def list_records(
        self, scope_prefix: str | None = None, limit: int = 200, offset: int = 0
    ) -> list[MemoryRecord]:
        """Records of a scope, newest first."""
        records = sorted(self._records(scope_prefix), key=attrgetter("created_at"), reverse=True)
        return records[offset : offset + max(0, limit)]

    def get_scope_info(self, scope: str) -> ScopeInfo:
        """What a scope holds; ``child_scopes`` are those right below it."""
        records = list(self._records(scope))
        created = [record.created_at for record in records]
        return ScopeInfo(
            path=_path(scope),
            record_count=len(records),
            categories=sorted({name for record in records for name in record.categories}),
            oldest_record=min(created, default=None),
            newest_record=max(created, default=None),
            child_scopes=_children(records, scope),
        )

    def list_scopes(self, parent: str = "/") -> list[str]:
        """The scopes right below ``parent``."""
        return _children(self._records(parent), parent)

    def list_categories(self, scope_prefix: str | None = None) -> dict[str, int]:
        """Each category of a scope, with the number of its records."""
        return dict(Counter(name for it in self._records(scope_prefix) for name in it.categories))

    def count(self, scope_prefix: str | None = None) -> int:
        """How many records a scope holds."""
        return self._relay.count(filter=_where(scope_prefix), source=self._source).count

    def reset(self, scope_prefix: str | None = None) -> None:
        """Delete all records of a scope, or all there are."""
        self._delete(_where(scope_prefix))

    async def asave(self, records: list[MemoryRecord]) -> None:
        """``save`` in a thread, as the others are."""
        await asyncio.to_thread(self.save, records)

    async def asearch(  # noqa: PLR0917 - CrewAI's
        self,
        query_embedding: list[float],
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int = 10,
        min_score: float = 0.0,
    ) -> list[tuple[MemoryRecord, float]]:
        which = (scope_prefix, categories, metadata_filter)
        return await asyncio.to_thread(self.search, query_embedding, *which, limit, min_score)

    async def adelete(
        self,
        scope_prefix: str | None = None,
        categories: list[str] | None = None,
        record_ids: list[str] | None = None,
        older_than: datetime | None = None,
        metadata_filter: dict[str, Any] | None = None,
    ) -> int:
        which = (scope_prefix, categories, record_ids, older_than, metadata_filter)
        return await asyncio.to_thread(self.delete, *which)

    @cached_property
    def _dimensions(self) -> int:
        info = self._relay.source(self._source).info()
        if info.embedding != "external":
            raise ConfigError(
                f"memrelay's source {self._source!r} embeds itself ({info.embedding}): CrewAI's must have "
                'embedding = "external" and the dimensions of the crew\'s embedder'
            )
        return info.dimensions

    def _fitting(self, vector: list[float] | None) -> list[float]:
        if not vector:
            raise ValueError(
                "memrelay keeps no record without an embedding: did the embedder fail?"
            )
        if len(vector) != self._dimensions:
            raise EmbeddingDimensionMismatchError(self._dimensions, len(vector))
        return vector

    def _delete(self, where: Filter) -> int:
        count = self._relay.count(filter=where, source=self._source).count
        deleted = self._relay.delete_where(filter=where, source=self._source, wait=WAIT_SECONDS)
        check_stored(deleted.job, waited=WAIT_SECONDS)
        return count

    def _records(self, scope: str | None) -> Iterator[MemoryRecord]:
        cursor: str | None = None
        while True:
            page = self._relay.list_memories(
                filter=_where(scope), source=self._source, cursor=cursor, limit=PAGE
            )
            yield from map(_record, page.memories)
            cursor = page.cursor
            if cursor is None:
                return


def _where(
    scope: str | None = None,
    categories: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Filter:
    """Every record is in the scope ``/``, and nothing that CrewAI did not store."""
    where: Filter = {f"metadata.{name}": value for name, value in (metadata or {}).items()}
    if categories:
        where[f"metadata.{CATEGORIES}"] = {"$in": list(categories)}
    return where | {f"metadata.{SCOPES}": _path(scope or "/")}  # last: nothing widens the scope


def _path(scope: str) -> str:
    return "/" + "/".join(name for name in scope.split("/") if name)


def _ancestry(scope: str) -> list[str]:
    names = [name for name in scope.split("/") if name]
    return ["/" + "/".join(names[:depth]) for depth in range(len(names) + 1)]


def _children(records: Iterator[MemoryRecord] | Sequence[MemoryRecord], scope: str) -> list[str]:
    depth = len(_ancestry(scope))
    paths = (_ancestry(record.scope) for record in records)
    return sorted({path[depth] for path in paths if len(path) > depth})


def _memory(record: MemoryRecord, vector: list[float]) -> NewMemory:
    fields = record.model_dump(
        mode="json", include={"scope", "importance", "last_accessed", "source", "private"}
    )
    ours = {SCOPES: _ancestry(record.scope), CATEGORIES: record.categories, FIELD: fields}
    return {
        "id": record.id,
        "text": record.content,
        "created_at": _aware(record.created_at),
        "metadata": json.loads(json.dumps(record.metadata, default=str)) | ours,
        "vector": vector,
    }


def _record(memory: StoredMemory) -> MemoryRecord:
    metadata = dict(memory.metadata or {})
    categories, fields = metadata.pop(CATEGORIES), metadata.pop(FIELD)
    del metadata[SCOPES]
    vector = list(memory.vector) if isinstance(memory, Hit) and memory.vector else None
    return MemoryRecord(
        id=memory.id,
        content=memory.text or "",
        categories=categories,
        metadata=metadata,
        created_at=memory.created_at.astimezone(UTC).replace(tzinfo=None),
        embedding=vector,
        **fields,
    )


def _aware(time: datetime) -> datetime:
    """CrewAI's times are UTC and do not say so."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)
