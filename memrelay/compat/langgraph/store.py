"""LangGraph's ``BaseStore`` on the keys of one source of memrelay."""

from __future__ import annotations

from collections.abc import Iterable

from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig, ensure_embeddings

from memrelay.client import AsyncMemrelay, AsyncSource, KeyEntry, Memrelay, SourceInfo
from memrelay.compat.langgraph.batch import Batch, Vectors, understood
from memrelay.compat.langgraph.find import Find
from memrelay.compat.langgraph.places import Place
from memrelay.compat.langgraph.records import WHOLE, Brought, Vector, found_of, item_of
from memrelay.compat.langgraph.refresh import Refresh
from memrelay.compat.langgraph.write import Write
from memrelay.errors import ConfigError

WAIT_SECONDS = 30.0


class MemrelayStore(BaseStore):
    """Items as LangGraph's ``InMemoryStore`` holds them, but in memrelay, and with times to live.

    ``index`` makes items be found by what they say: by the texts at ``fields`` (the whole value without
    them). With ``embed`` the vectors are the caller's, and the source is one with
    ``embedding = "external"`` and their ``dimensions``; without ``embed`` the service embeds. ``relay``: a
    client at ``MEMRELAY_URL`` unless given. ``name`` keeps stores in one source apart. ``wait``: the
    seconds that a put waits until it can be read; one that takes longer is stored all the same.

    A value is JSON of at most 64 KiB. Items come in the order of their namespaces and keys, or by score,
    of which the best 200 are looked at. Reading one begins its time anew once a tenth of that is over.
    Raises memrelay's errors, and ``InvalidNamespaceError``.
    """

    supports_ttl = True

    def __init__(
        self,
        *,
        relay: Memrelay | None = None,
        source: str = "default",
        name: str = "langgraph",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.relay = relay or Memrelay()
        self.source = source
        self.name = name
        self.ttl_config = ttl
        self.wait = wait
        embed = index.get("embed") if index else None
        self.embeddings = None if embed is None else ensure_embeddings(embed)
        self._fields = None if index is None else index.get("fields") or [WHOLE]
        self._info: SourceInfo | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """The results in the order of the operations; reads see nothing that the same batch writes."""
        batch = understood(ops, self._fields)
        return self.relay.run(self._do, batch, self._vectors(batch))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        batch = understood(ops, self._fields)
        return await self.relay.arun(self._do, batch, await self._avectors(batch))

    def _vectors(self, batch: Batch) -> Vectors | None:
        if self.embeddings is None:
            return None
        of_texts = self.embeddings.embed_documents(batch.texts) if batch.texts else []
        of_queries = [self.embeddings.embed_query(query) for query in batch.queries]
        return Vectors.of(batch, of_texts, of_queries)

    async def _avectors(self, batch: Batch) -> Vectors | None:
        if self.embeddings is None:
            return None
        of_texts = await self.embeddings.aembed_documents(batch.texts) if batch.texts else []
        of_queries = [await self.embeddings.aembed_query(query) for query in batch.queries]
        return Vectors.of(batch, of_texts, of_queries)

    async def _do(
        self, client: AsyncMemrelay, batch: Batch, vectors: Vectors | None
    ) -> list[Result]:
        source = client.source(self.source, namespace=self.name)
        blank, find = await self._blank(source), Find(client, source)
        results: list[Result] = [None] * batch.count
        read = await self._get(find, batch, results)
        read += await self._search(find, batch, vectors, results)
        for at, listing in batch.lists.items():
            results[at] = await find.namespaces(listing)
        await Refresh(client, source, blank).refresh(read)
        await self._write(find, batch, vectors, blank)
        return results

    async def _get(self, find: Find, batch: Batch, results: list[Result]) -> list[KeyEntry]:
        """Enters the results; what was read and is to begin its time anew."""
        names = {at: Place(op.namespace, op.key).name for at, op in batch.gets.items()}
        entries = await find.get(list(names.values()))
        read = {at: entries[name] for at, name in names.items() if name in entries}
        for at, entry in read.items():
            results[at] = item_of(entry)
        return [entry for at, entry in read.items() if batch.gets[at].refresh_ttl]

    async def _search(
        self, find: Find, batch: Batch, vectors: Vectors | None, results: list[Result]
    ) -> list[KeyEntry]:
        """As ``_get``."""
        read: list[KeyEntry] = []
        for at, op in batch.searches.items():
            if self._fields is None or not op.query:
                found = await find.below(op)
            elif vectors is None:
                found = await find.ranked(op, {"query": op.query})
            else:
                found = await find.ranked(op, {"vector": vectors.queries[op.query]})
            results[at] = [found_of(*one) for one in found]
            read += [entry for entry, _ in found] if op.refresh_ttl else []
        return read

    async def _write(
        self, find: Find, batch: Batch, vectors: Vectors | None, blank: Vector | None
    ) -> None:
        if not batch.writes and not batch.deletes:
            return
        write = Write(find.source, self.wait)
        places = [*(one.place for one in batch.writes), *batch.deletes]
        held = await find.get([place.name for place in places])
        brought = None if blank is None else Brought(vectors.texts if vectors else {}, blank)
        await write.store(batch.writes, held, brought)
        await write.delete(batch.deletes, held)

    async def _blank(self, source: AsyncSource) -> Vector | None:
        """Some vector if the source's callers bring them; ``ConfigError`` if ``index`` does not fit it."""
        if self._info is None:
            self._info = await source.info()
        brought = self._info.embedding == "external"
        if self._fields is not None and brought != (self.embeddings is not None):
            wanted = "needs an index with embed" if brought else "embeds itself: no embed in index"
            raise ConfigError(f"the source {self.source} {wanted}")
        return [1.0] + [0.0] * (self._info.dimensions - 1) if brought else None
