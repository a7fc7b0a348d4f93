"""Writing items: each with its texts in one request, of which memrelay takes all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from memrelay.client import AsyncSource, KeyEntry, NewValue
from memrelay.compat.langgraph.places import Place
from memrelay.compat.langgraph.records import Brought, Written, keys_of
from memrelay.jobs import MAX_COUNT

REQUEST_BYTES = 900 * 1024
"""Of one request, for which memrelay takes 1 MiB."""


@dataclass(frozen=True, slots=True)
class Write:
    """Writes of one store. ``wait``: seconds until they can be found."""

    source: AsyncSource
    wait: float

    async def store(
        self, writes: Sequence[Written], held: Mapping[str, KeyEntry], brought: Brought | None
    ) -> None:
        """``held``: the items that are replaced, by name; what they were found by is deleted."""
        created = {name: str(entry.metadata["created_at"]) for name, entry in held.items()}
        groups = [one.values(created.get(one.place.name), brought) for one in writes]
        for part in _in_requests(groups):
            await self.source.store_many(part, wait=self.wait)
        await self._delete([key for one in writes for key in _left_over(one, held)])

    async def delete(self, places: Sequence[Place], held: Mapping[str, KeyEntry]) -> None:
        """Whether or not they are there."""
        there = [held[place.name] for place in places if place.name in held]
        texts = [key for entry in there for key in keys_of(entry)[1:]]
        await self._delete([*(place.name for place in places), *texts])

    async def _delete(self, keys: Sequence[str]) -> None:
        for part in batched(keys, MAX_COUNT):
            await self.source.delete_many(part)


def _left_over(one: Written, held: Mapping[str, KeyEntry]) -> Sequence[str]:
    before = held.get(one.place.name)
    return keys_of(before)[1 + len(one.texts) :] if before is not None else ()


def _in_requests(groups: Sequence[Sequence[NewValue]]) -> Iterator[list[NewValue]]:
    """The groups in their order, in parts that one request can bring; none is divided."""
    part, size = list[NewValue](), 0
    for group in groups:
        more = len(json.dumps(group))
        if part and (len(part) + len(group) > MAX_COUNT or size + more > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part += group
        size += more
    if part:
        yield part
