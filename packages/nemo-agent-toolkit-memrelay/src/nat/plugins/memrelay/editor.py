"""``MemrelayEditor``: what NAT's memory tools and agents call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any

from nat.plugin_api import Context, MemoryEditor, MemoryItem
from nat.plugins.memrelay.errors import NotGone, NothingSelected, NotStored, UserIdRequired
from nat.plugins.memrelay.items import item_of, memory_of

from memrelay.client import Accepted, AsyncMemrelay
from memrelay.jobs import MAX_COUNT

MAX_TOP_K = 200
IDS_IN_FILTER = 50  # of 256 characters at most: a filter that deletes has 16 KiB
SEARCH_OPTIONS = frozenset({"filter", "min_score", "mode", "offset", "session_id", "timeout"})
WHOSE = frozenset({"memory_id", "memory_ids", "user_id"})
SELECTORS = WHOSE | {"session_id"}

log = logging.getLogger(__name__)


class MemrelayEditor(MemoryEditor):
    """Memories in ``source`` of one memrelay; ``client`` is its owner's to close.

    ``add_wait``: seconds to wait until added items can be found, 0 for none. ``remove_wait``: seconds
    that a delete may take. Besides the errors of this package every method raises the client's.
    """

    def __init__(
        self, client: AsyncMemrelay, *, source: str, add_wait: float, remove_wait: float
    ) -> None:
        self._client = client
        self._source = source
        self._add_wait = add_wait
        self._remove_wait = remove_wait

    async def add_items(self, items: list[MemoryItem], **kwargs: Any) -> None:
        """Store the items, each as a new memory; one request for each 1,000.

        ``session_id`` is that of the conversation unless given; what other providers take is left
        aside. An item in which nobody says anything is left out. ``NotStored`` if a store refused one.
        """
        session_id = kwargs.pop("session_id", None) or Context.get().conversation_id
        if kwargs:
            log.warning("add_items leaves aside: %s", ", ".join(sorted(kwargs)))
        found = [memory_of(item, session_id) for item in items]
        memories = [memory for memory in found if memory is not None]
        if len(memories) < len(items):
            log.warning("add_items: %d items without text", len(items) - len(memories))
        for batch in batched(memories, MAX_COUNT):
            accepted = await self._client.add(batch, source=self._source, wait=self._add_wait)
            _assert_not_refused(accepted)
            if self._add_wait and not accepted.job.settled:
                log.warning("%s: accepted, not findable yet", accepted.job.id)

    async def search(self, query: str, top_k: int = 5, **kwargs: Any) -> list[MemoryItem]:
        """The user's best memories for ``query``, as ``StoredItem``, at most 200, the best first.

        ``user_id`` is the session's unless given; ``UserIdRequired`` without either. Options:
        ``SEARCH_OPTIONS``, as those of ``AsyncMemrelay.search``.
        """
        user_id = kwargs.pop("user_id", None) or Context.get().user_id
        if not user_id:
            raise UserIdRequired
        _assert_known(kwargs, SEARCH_OPTIONS)
        if not query.strip():
            return []
        top_k = min(top_k, MAX_TOP_K)
        answer = await self._client.search(
            query, user_id=user_id, source=self._source, top_k=top_k, **kwargs
        )
        return [item_of(hit) for hit in answer.hits]

    async def remove_items(self, **kwargs: Any) -> None:
        """Delete what all of ``SELECTORS`` that are given select; it is gone on return.

        ``user_id`` alone: all of that user's. ``NothingSelected`` if neither ids nor a user are given,
        or something that is None or empty, except ``memory_ids``: no ids are no memories. ``NotGone``
        after ``remove_wait`` seconds.
        """
        _assert_known(kwargs, SELECTORS)
        ids = _selected_ids(kwargs)
        where: dict[str, Any] = {
            name: kwargs[name] for name in ("user_id", "session_id") if name in kwargs
        }
        if ids is None:
            await self._remove_where(where)
        elif where:
            for batch in batched(ids, IDS_IN_FILTER):
                await self._remove_where({**where, "filter": {"id": {"$in": batch}}})
        else:
            for batch in batched(ids, MAX_COUNT):
                await self._remove_ids(batch)

    async def _remove_where(self, where: Mapping[str, Any]) -> None:
        wait = self._remove_wait
        _assert_gone(await self._client.delete_where(source=self._source, wait=wait, **where))

    async def _remove_ids(self, ids: Sequence[str]) -> None:
        wait = self._remove_wait
        _assert_gone(await self._client.delete_many(ids, source=self._source, wait=wait))


def _selected_ids(selectors: Mapping[str, Any]) -> list[str] | None:
    """None if they are not by id. What is given and empty was meant to select less than all."""
    ids = _listed(selectors["memory_ids"]) if "memory_ids" in selectors else []
    others = {name: value for name, value in selectors.items() if name != "memory_ids"}
    if not selectors.keys() & WHOSE or not all(others.values()):
        raise NothingSelected("remove_items needs memory_id, memory_ids or user_id, not empty")
    if "memory_id" in selectors:
        return [*ids, selectors["memory_id"]]
    return ids if "memory_ids" in selectors else None


def _listed(ids: Any) -> list[str]:
    if ids is None:
        raise NothingSelected("memory_ids is None")
    return [ids] if isinstance(ids, str) else list(ids)


def _assert_known(given: Mapping[str, Any], known: frozenset[str]) -> None:
    """What is left aside would widen a search or a delete."""
    if unknown := given.keys() - known:
        raise TypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")


def _assert_not_refused(accepted: Accepted) -> None:
    job = accepted.job
    if job.primary.failed:
        cause = f": {job.errors[0].detail}" if job.errors else ""
        raise NotStored(f"{job.primary.failed} of {job.total} memories were refused{cause}")


def _assert_gone(accepted: Accepted) -> None:
    _assert_not_refused(accepted)
    if not accepted.job.settled:
        raise NotGone(f"{accepted.job.id}: the delete is accepted, and not done yet")
