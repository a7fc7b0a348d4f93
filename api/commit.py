"""Group commit: while one commit is under way the next one gathers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from backends.journal import Entered, KeyReused, Unit
from memrelay.batching import pack
from memrelay.errors import MemrelayError

log = logging.getLogger("memrelay.api")
PAUSE = 0.002
Append = Callable[[Sequence[Unit]], Awaitable[Sequence[Entered | KeyReused]]]
Announce = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The encoded writes of one request. ``key`` is its idempotency key, ``answer`` what it is told."""

    namespace: str
    source: str
    queue: str
    drivers: tuple[str, ...]
    writes: Sequence[bytes]
    key: str = ""
    body_hash: str = ""
    answer: bytes = b""


Pending = tuple[Entry, asyncio.Future[Entered]]


class GroupCommit:
    """Enters the requests in flight together, in one script call, then announces their envelopes.

    A request that finds nobody waiting is entered at once; under load a commit gathers first, for
    ``linger`` seconds or until nothing has arrived for ``PAUSE``.
    """

    def __init__(self, append: Append, announce: Announce, *, linger: float) -> None:
        self._append = append
        self._announce = announce
        self._linger = linger
        self._pending: list[Pending] = []
        self._arrived = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="group-commit")

    async def enter(self, entry: Entry) -> Entered:
        """The first version of the request's memories, once the journal has them all.

        Raises ``KeyReused``, or ``Unavailable`` while the journal cannot be written.
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
            if isinstance(answer, KeyReused):
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


def _grouped(batch: Sequence[Pending]) -> list[list[Pending]]:
    """Requests that may share envelopes, together; one with an idempotency key stands alone."""
    groups: list[list[Pending]] = []
    shared: dict[tuple[str, str, str], list[Pending]] = {}
    for pending in batch:
        entry = pending[0]
        if entry.key:
            groups.append([pending])
            continue
        place = (entry.namespace, entry.source, entry.queue)
        if place not in shared:
            groups.append(shared.setdefault(place, []))
        shared[place].append(pending)
    return groups


def _unit(group: Sequence[Pending]) -> Unit:
    entry = group[0][0]
    return Unit(
        namespace=entry.namespace,
        source=entry.source,
        queue=entry.queue,
        drivers=entry.drivers,
        drafts=pack(entry.writes for entry, _ in group),
        key=entry.key,
        body_hash=entry.body_hash,
        answer=entry.answer,
    )


def _fail(batch: Sequence[Pending], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
