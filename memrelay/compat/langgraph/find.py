"""Reading items: by key, below a prefix, by what a query says; and the namespaces that there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from langgraph.store.base import ListNamespacesOp, MatchCondition, SearchOp

from memrelay.client import AsyncMemrelay, AsyncSource, Hit, KeyEntry
from memrelay.compat.langgraph.conditions import matches, necessary
from memrelay.compat.langgraph.places import Namespace, namespace_in, pattern_of, tag_of
from memrelay.compat.langgraph.records import RANKED, UNRANKED, place_of, value_of
from memrelay.jobs import MAX_COUNT
from memrelay.keyvalue import KEY_FIELD, KeySpace

DEEPEST = 200
"""Hits that memrelay ranks at most: what a query wants beyond them is not there."""
PAGE = 100
Found = tuple[KeyEntry, float | None]


@dataclass(frozen=True, slots=True)
class Find:
    """Reads of one store, whose items lie in ``source``."""

    client: AsyncMemrelay
    source: AsyncSource

    async def get(self, names: Sequence[str]) -> dict[str, KeyEntry]:
        """The items that are there, by name."""
        found: dict[str, KeyEntry] = {}
        for part in batched(dict.fromkeys(names), MAX_COUNT):
            found |= await self.source.entries(part)
        return found

    async def below(self, op: SearchOp) -> list[Found]:
        """In the order of their names."""
        found: list[Found] = []
        async for names in self._names(op.namespace_prefix, PAGE):
            entries = await self.get(names)
            kept = (entries[name] for name in names if name in entries)
            found += ((entry, None) for entry in kept if _passes(op, entry))
            if len(found) >= op.offset + op.limit:
                break
        return found[op.offset : op.offset + op.limit]

    async def ranked(self, op: SearchOp, by: dict[str, Any]) -> list[Found]:
        """By descending score; then, where there are too few, items that no query finds, without one.

        ``by``: the ``query`` or its ``vector``. Of an item's texts the best counts.
        """
        hits = await self._hits(op, by, RANKED)
        best: dict[tuple[str, str], float] = {}
        for hit in hits:
            best.setdefault(_origin(hit), hit.score)
        found: list[Found] = []
        for part in batched(best.items(), PAGE):
            entries = await self.get([name for (name, _), _ in part])
            found += (
                (entries[name], score)
                for (name, stamp), score in part
                if name in entries
                and entries[name].metadata["stamp"] == stamp
                and _passes(op, entries[name])
            )
            if len(found) >= op.offset + op.limit:
                break
        kept = found[op.offset : op.offset + op.limit]
        return kept if len(kept) == op.limit else kept + await self._unranked(op, by, len(kept))

    async def namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        """Those that have items, in order. Goes through the keys of all items that may be in one."""
        conditions = op.match_conditions or ()
        found: set[Namespace] = set()
        async for names in self._names(_beginning(conditions), MAX_COUNT):
            readable = {name: namespace_in(name) for name in names}
            shortened = [name for name, namespace in readable.items() if namespace is None]
            found |= {namespace for namespace in readable.values() if namespace is not None}
            found |= {place_of(entry).namespace for entry in (await self.get(shortened)).values()}
        kept = (space for space in found if all(_fits(space, it) for it in conditions))
        cut = sorted({space[: op.max_depth] for space in kept})
        return cut[op.offset : op.offset + op.limit]

    async def _names(self, prefix: Sequence[str], limit: int) -> AsyncIterator[Sequence[str]]:
        """The names of the items below a prefix, and perhaps of others, a page at a time."""
        cursor = None
        while True:
            page = await self.source.keys_page(pattern_of(prefix), limit=limit, cursor=cursor)
            yield page.keys
            cursor = page.cursor
            if cursor is None:
                return

    async def _unranked(self, op: SearchOp, by: dict[str, Any], found: int) -> list[Found]:
        names = sorted(_origin(hit)[0] for hit in await self._hits(op, by, UNRANKED))
        entries = await self.get(names)
        passed = (entries[name] for name in names if name in entries)
        kept = [(entry, None) for entry in passed if _passes(op, entry)]
        return list(kept[: op.limit - found])

    async def _hits(self, op: SearchOp, by: dict[str, Any], rank: str) -> Sequence[Hit]:
        within = [{"tags": tag_of(op.namespace_prefix)}] if op.namespace_prefix else []
        answer = await self.client.search(
            **by,
            mode="semantic",
            user_id=KeySpace(self.source.namespace or "").user_id,
            filter={"$and": [{"tags": rank}, *within, *necessary(op.filter)]},
            include=["metadata"],
            top_k=DEEPEST,
            source=self.source.name,
        )
        return answer.hits


def _origin(hit: Hit) -> tuple[str, str]:
    """The item's name, and the stamp of what fitted."""
    metadata = hit.metadata or {}
    return metadata.get("of", metadata[KEY_FIELD]), metadata["stamp"]


def _passes(op: SearchOp, entry: KeyEntry) -> bool:
    prefix = op.namespace_prefix
    within = place_of(entry).namespace[: len(prefix)] == prefix
    return within and matches(op.filter, value_of(entry))


def _beginning(conditions: Sequence[MatchCondition]) -> list[str]:
    """The labels that all namespaces begin with which fit, as far as they are named."""
    longest: list[str] = []
    for condition in conditions:
        if condition.match_type == "prefix":
            path = list(condition.path)
            named = path[: path.index("*")] if "*" in path else path
            longest = max(longest, named, key=len)
    return longest


def _fits(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    match condition.match_type:
        case "prefix":
            part = namespace[: len(path)]
        case "suffix":
            part = namespace[len(namespace) - len(path) :]
        case other:
            raise ValueError(f"Unsupported match type: {other}")
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
