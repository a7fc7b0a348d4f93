"""Group commit: while one commit is under way the next one gathers."""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from itertools import accumulate

import msgspec

from backends.journal import Changed, Entered, Full, KeyReused, Unit
from memrelay.batching import Draft, pack
from memrelay.errors import MemrelayError
from memrelay.jobs import deliver_queue
from memrelay.pacing import Pace

log = logging.getLogger("memrelay.api")
PAUSE = 0.002
Append = Callable[[Sequence[Unit]], Awaitable[Sequence[Entered | KeyReused | Changed | Full]]]
Announce = Callable[[str, int], None]
Turn = Callable[[], AbstractAsyncContextManager[None]]
INTERACTIVE = deliver_queue("interactive")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The encoded writes of one request. ``key`` is its idempotency key, ``answer`` what it is told.

    ``drops`` are the ids of deletes; ``scoped`` is the filter of a delete by filter, the only write then.
    ``noted`` are the ids of all writes if their versions are to be noted, ``expects`` and ``seen`` as in
    ``Unit``, ``vectors`` and ``space`` as in ``Draft``: of an entry with ``expects``, which stands alone.
    ``trace`` is the traceparent of its span, if it has one.
    """

    namespace: str
    source: str
    queue: str
    drivers: Sequence[str]
    writes: Sequence[bytes]
    key: str = ""
    body_hash: str = ""
    answer: bytes = b""
    drops: Sequence[str] = ()
    scoped: str = ""
    noted: Sequence[str] = ()
    expects: dict[str, int] = {}
    trace: str = ""
    seen: int | None = None
    vectors: bytes = b""
    space: str = ""


Pending = tuple[Entry, asyncio.Future[Entered]]


class GroupCommit:
    """Enters the requests in flight together, in one script call, then announces their envelopes.

    A request that finds nobody waiting is entered at once; under load a commit gathers first, for
    ``linger`` seconds or until nothing has arrived for ``PAUSE``.
    """

    def __init__(
        self, append: Append, announce: Announce, *, linger: float, turn: Turn = nullcontext
    ) -> None:
        self._append = append
        self._announce = announce
        self._linger = linger
        self._turn = turn
        self._pending: list[Pending] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def enter(self, entry: Entry) -> Entered:
        """The first version of the request's memories, once the journal has them all.

        Raises ``KeyReused``, ``Changed``, ``Full``, or ``Unavailable`` while the journal cannot be written.
        """
        future: asyncio.Future[Entered] = asyncio.get_running_loop().create_future()
        self._pending.append((entry, future))
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Enter what is waiting, then stop. Nothing may be entered any more."""
        self._closing = True
        self._arrived.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._pending = self._pending, []
            if batch:
                async with self._turn():
                    await self._try(batch)
            if self._pending:
                await self._gather_more()
            elif self._closing:
                return

    async def _try(self, batch: Sequence[Pending]) -> None:
        try:
            await self._commit(batch)
        except Exception as error:
            if not isinstance(error, MemrelayError):
                log.exception("a group commit failed")
            _fail(batch, error)

    async def _gather_more(self) -> None:
        """Up to ``linger`` seconds, as long as requests keep arriving."""
        until = time.monotonic() + self._linger
        seen = 0
        while len(self._pending) > seen and time.monotonic() < until:
            seen = len(self._pending)
            await asyncio.sleep(PAUSE)

    async def _commit(self, batch: Sequence[Pending]) -> None:
        groups = _grouped(batch)
        units = [_unit(group) for group in groups]
        answers = await self._append(units)
        for group, unit, answer in zip(groups, units, answers, strict=True):
            if isinstance(answer, MemrelayError):
                _fail(group, answer)
                continue
            offset = 0
            for entry, future in group:
                if not future.done():
                    future.set_result(Entered(answer.first + offset, answer.answer))
                offset += len(entry.writes)
            if answer.answer is None:
                self._announce_all(unit, answer.first)

    def _announce_all(self, unit: Unit, first: int) -> None:
        for draft in unit.drafts:
            self._announce(unit.queue, first)
            first += len(draft.writes)


class Commits:
    """A group commit for each queue: a single write is never gathered with, or behind, an import."""

    def __init__(self, append: Append, announce: Announce, *, linger: float, pace: Pace) -> None:
        self._create = partial(GroupCommit, append, announce, linger=linger)
        self._pace = pace
        self._commits: dict[str, GroupCommit] = {}

    async def enter(self, entry: Entry) -> Entered:
        """As ``GroupCommit.enter``."""
        commit = self._commits.get(entry.queue)
        if commit is None:
            turn = nullcontext if entry.queue == INTERACTIVE else self._pace.turn
            commit = self._commits[entry.queue] = self._create(turn=turn)
        return await commit.enter(entry)

    async def close(self) -> None:
        """As ``GroupCommit.close``."""
        await asyncio.gather(*(commit.close() for commit in self._commits.values()))


def _grouped(batch: Sequence[Pending]) -> list[list[Pending]]:
    """Requests that may share envelopes, together; what may be turned down alone stands alone, and a
    delete by filter."""
    groups: list[list[Pending]] = []
    shared: dict[tuple[str, str, str], list[Pending]] = {}
    for pending in batch:
        entry = pending[0]
        if entry.key or entry.scoped or entry.expects:
            groups.append([pending])
            continue
        place = (entry.namespace, entry.source, entry.queue)
        if place not in shared:
            groups.append(shared.setdefault(place, []))
        shared[place].append(pending)
    return groups


def _unit(group: Sequence[Pending]) -> Unit:
    entry = group[0][0]
    drafts = pack((entry.writes, entry.drops, entry.noted) for entry, _ in group)
    drafts[0].scoped = entry.scoped
    _carry_traces(drafts, group)
    drafts[0].vectors, drafts[0].space = entry.vectors, entry.space
    return Unit(
        namespace=entry.namespace,
        source=entry.source,
        queue=entry.queue,
        drivers=entry.drivers,
        drafts=drafts,
        key=entry.key,
        body_hash=entry.body_hash,
        answer=entry.answer,
        expects=entry.expects,
        seen=entry.seen,
    )


def _carry_traces(drafts: Sequence[Draft], group: Sequence[Pending]) -> None:
    """Each draft gets those of the requests whose writes are in it; the drafts hold the writes in order."""
    ends = list(accumulate(len(draft.writes) for draft in drafts))
    begin = 0
    for entry, _ in group:
        end = begin + len(entry.writes)
        if entry.trace:
            for draft in drafts[bisect_right(ends, begin) : bisect_left(ends, end) + 1]:
                draft.traces.append(entry.trace)
        begin = end


def _fail(batch: Sequence[Pending], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
