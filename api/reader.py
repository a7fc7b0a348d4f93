"""Reader: the first driver that answers and may serve, less what it has not deleted yet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from api.lag import Lag
from api.meters import SEARCH_SECONDS
from api.state import Moved, State
from backends.journal import Hidden
from backends.journal.marks import hides
from backends.parts import PAGE, Part, one_part
from backends.sources import Source
from backends.store import Store
from backends.tracing import span
from memrelay.driver import Driver, Query
from memrelay.errors import Permanent, Transient
from memrelay.fallback import Answer, first_answer
from memrelay.filters import Filter
from memrelay.times import now_us
from memrelay.types import Hit, Memory, Scope, Upsert

GROWTH = 4
"""Of the memories looked at in one call while a listing finds too little: they may be large."""
MOST_HITS = 3200
"""How many hits are fetched at most to fill a page, when many of them are deleted already."""


@dataclass(frozen=True, slots=True)
class Seen[T]:
    """What a driver holds. ``behind``: accepted memories that it has not applied; None if not known."""

    value: T
    behind: int | None


@dataclass(frozen=True, slots=True)
class Record:
    """A memory with its vector; None where its store does not give it, or it is damaged."""

    memory: Memory
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Memories in the order of their ids; ``after`` is where the next ones begin, None at the end."""

    memories: Sequence[Memory]
    after: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads of one scope. Each is asked of ``stores`` in order, under one deadline of its ``seconds``.

    What was deleted before a read began is not in its answer, whichever driver serves. Raises
    ``Unavailable`` when none does, and ``Moved`` when the source is in another space by now.
    """

    lag: Lag
    scope: Scope
    space: str
    """Of the source, as the journal had it when the request began."""

    async def search(
        self, stores: Sequence[Store], query: Query, *, seconds: float
    ) -> Answer[Store, Seen[Sequence[Hit]]]:
        """At most ``query.top_k`` hits; fewer only if there are no more."""
        return await self._first(stores, partial(self._search, query), seconds)

    async def get(
        self, stores: Sequence[Store], ids: Sequence[str], *, seconds: float
    ) -> Answer[Store, Seen[Mapping[str, Memory]]]:
        """The memories among ``ids`` that are there, by id; expired ones too."""
        return await self._first(stores, partial(self._get, ids), seconds)

    async def record(
        self, stores: Sequence[Store], id: str, *, seconds: float
    ) -> Answer[Store, Seen[Record | None]]:
        """One memory with its vector; None if it is not there."""
        return await self._first(stores, partial(self._record, id), seconds)

    async def find(
        self,
        stores: Sequence[Store],
        chosen: Filter | None,
        *,
        after: str | None,
        limit: int,
        seconds: float,
    ) -> Answer[Store, Seen[Stretch]]:
        """The live memories among the next ``limit`` that pass ``chosen``; none is not the end.

        Of a driver that has to look through everything for them, among the next that it has looked at in
        half of ``seconds``, and before it failed.
        """
        return await self._first(stores, partial(self._find, chosen, after, limit), seconds)

    async def count(
        self, stores: Sequence[Store], chosen: Filter | None, *, seconds: float
    ) -> Answer[Store, Seen[int]]:
        """How many live memories pass ``chosen``.

        Exact, but for a selection that is too large to be looked through (in half of ``seconds``)
        while its driver has deletes to apply: then these are counted in.
        """
        return await self._first(stores, partial(self._count, chosen), seconds)

    async def _first[T](
        self,
        stores: Sequence[Store],
        ask: Callable[[_Turn], Awaitable[T]],
        seconds: float,
    ) -> Answer[Store, T]:
        return await first_answer(
            stores,
            lambda store, least: ask(_Turn(self, store, time.monotonic() + least)),
            deadline=time.monotonic() + seconds,
            clock=time.monotonic,
        )

    async def _search(self, query: Query, turn: _Turn) -> Seen[Sequence[Hit]]:
        began = time.monotonic()
        with span("search", kind="client", driver=turn.store.name, top_k=query.top_k):
            found = await self._search_more(query, turn)
        SEARCH_SECONDS.labels(turn.store.name).observe(time.monotonic() - began)
        return found

    async def _search_more(self, query: Query, turn: _Turn) -> Seen[Sequence[Hit]]:
        asked = query
        while True:
            hits, hidden = await turn.ask(partial(_search, self.scope, asked), _ids_of_hits)
            seen = [hit for hit in hits if hidden is None or not hides(hidden, hit.memory)]
            ended = len(hits) < asked.top_k or asked.top_k >= MOST_HITS
            if ended or len(seen) >= query.top_k:
                return Seen(seen[: query.top_k], hidden.behind if hidden else None)
            asked = replace(asked, top_k=min(2 * asked.top_k, MOST_HITS))

    async def _get(self, ids: Sequence[str], turn: _Turn) -> Seen[Mapping[str, Memory]]:
        found, hidden = await turn.ask(lambda driver: driver.get(self.scope, ids), list)
        if hidden is None:
            return Seen(found, None)
        seen = {id: memory for id, memory in found.items() if not hides(hidden, memory)}
        return Seen(seen, hidden.behind)

    async def _record(self, id: str, turn: _Turn) -> Seen[Record | None]:
        seen = await self._get([id], turn)
        memory = seen.value.get(id)
        if memory is None:
            return Seen(None, seen.behind)
        try:
            ops = await turn.call(lambda driver: driver.records(self.scope, [id]))
        except Permanent:  # a store that gives no vectors out
            ops = {}
        op = ops.get(id)
        vector = op.vector if isinstance(op, Upsert) and op.version == memory.version else None
        return Seen(Record(memory, vector), seen.behind)

    async def _find(
        self, chosen: Filter | None, after: str | None, limit: int, turn: _Turn
    ) -> Seen[Stretch]:
        until, now = time.monotonic() + turn.left / 2, now_us()
        seen: list[Memory] = []
        left, size, begun = limit, limit, after
        behind = None
        while True:
            try:
                part, hidden = await self._part(chosen, after, size, turn)
            except Transient:
                if after == begun:
                    raise
                return Seen(Stretch(seen, after), behind)
            matching = part.matching[:left]
            cut = len(matching) < len(part.matching)
            seen += _seen(matching, hidden, now)
            left, after, size = left - len(matching), part.after, min(GROWTH * size, PAGE)
            behind = hidden.behind if hidden else None
            if part.ended and not cut:
                return Seen(Stretch(seen, None), behind)
            if left == 0 or time.monotonic() > until:
                return Seen(Stretch(seen, matching[-1].id if cut else after), behind)

    async def _count(self, chosen: Filter | None, turn: _Turn) -> Seen[int]:
        hidden = await turn.look(())
        behind = hidden.behind if hidden else None
        if hidden is not None and (hidden.lag or hidden.scoped):
            number = await self._count_seen(chosen, turn)
            if number is not None:
                return Seen(number, behind)
        now = now_us()
        return Seen(
            await turn.call(lambda driver: driver.count(self.scope, chosen, now=now)), behind
        )

    async def _count_seen(self, chosen: Filter | None, turn: _Turn) -> int | None:
        """Memory by memory; None if they are too many for that."""
        number, after, now = 0, None, now_us()
        until = time.monotonic() + turn.left / 2
        while time.monotonic() < until:
            part, hidden = await self._part(chosen, after, PAGE, turn)
            number += len(_seen(part.matching, hidden, now))
            if part.ended:
                return number
            after = part.after
        return None

    async def _part(
        self, chosen: Filter | None, after: str | None, size: int, turn: _Turn
    ) -> tuple[Part, Hidden | None]:
        return await turn.ask(partial(one_part, self.scope, chosen, after, size), _ids_of_part)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One driver's turn to answer, until ``until`` of the monotonic clock."""

    reader: Reader
    store: Store
    until: float

    @property
    def left(self) -> float:
        return max(0.01, self.until - time.monotonic())

    async def call[T](self, action: Callable[[Driver], Awaitable[T]]) -> T:
        return await self.store.call(self.reader.scope, action, timeout=self.left)

    async def ask[T](
        self, action: Callable[[Driver], Awaitable[T]], ids_of: Callable[[T], Sequence[str]]
    ) -> tuple[T, Hidden | None]:
        """What the driver holds, and what to leave out of it.

        The journal is looked at meanwhile. What it notes of a delete stays for a while after it was applied:
        if it has nothing noted, nothing that was deleted before this began can be in the answer. Else it is
        asked once more, for the ids that were found.
        """
        looking = asyncio.create_task(self.look(()))
        try:
            found = await self.call(action)
        except BaseException:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            raise
        hidden = await looking
        if hidden is not None and hidden.some:
            hidden = await self.look(ids_of(found))
        return found, hidden

    async def look(self, ids: Sequence[str]) -> Hidden | None:
        scope = self.reader.scope
        place = (scope.namespace, scope.source, self.store.name)
        hidden = await self.reader.lag.look(place, ids, seconds=self.left)
        if hidden is not None and hidden.space != self.reader.space:
            raise Moved(f"source {scope.source} has moved to another space")
        return hidden


def _seen(found: Sequence[Memory], hidden: Hidden | None, now: int) -> list[Memory]:
    """What is left of it without what has expired and what is deleted."""
    return [
        memory
        for memory in found
        if not memory.expired(now) and not (hidden and hides(hidden, memory))
    ]


def _ids_of_part(part: Part) -> Sequence[str]:
    return [memory.id for memory in part.matching]


def _ids_of_hits(hits: Sequence[Hit]) -> Sequence[str]:
    return [hit.memory.id for hit in hits]


async def _search(scope: Scope, query: Query, driver: Driver) -> Sequence[Hit]:
    return await driver.search(scope, query)


def reader_of(state: State, source: Source, namespace: str) -> Reader:
    """Of a source as one request has it."""
    return Reader(state.lag, source.scope(namespace), source.spaces.active)
