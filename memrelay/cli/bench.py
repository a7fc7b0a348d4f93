"""``bench``: how fast a running installation is, seen from here, with memories that it removes again."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated
from uuid import uuid4

import typer

from memrelay import exits
from memrelay.cli import options
from memrelay.cli.options import DEFAULT_URL, AsJson, Source, Url
from memrelay.cli.output import say, show_json, show_rows
from memrelay.client import AsyncMemrelay, NewMemory
from memrelay.errors import MemrelayError

AT_ONCE = 8
REQUEST = 100
STORED_SECONDS = 600.0
WAIT = 60.0
SYLLABLES = [f"{one}{two}" for one in "bdfgklmnprstvz" for two in "aeiou"]
WORDS = [f"{one}{two}" for one in SYLLABLES for two in SYLLABLES]


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """Of several of the same kind."""

    p50: float
    p95: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Milliseconds:
        cuts = statistics.quantiles(seconds, n=20, method="inclusive")
        return cls(round(1000 * cuts[9], 1), round(1000 * cuts[18], 1))


@dataclass(frozen=True, slots=True)
class Taken:
    """``accept`` is of each request; what is stored per second includes waiting for the last one."""

    accepted_per_second: float
    accept: Milliseconds
    stored_per_second: float
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """As ``Taken``. ``searchable``: from a memory's request to an answer that holds it, one at a time."""

    memories: int
    accepted_per_second: float
    accept: Milliseconds
    stored_per_second: float
    failed: int
    searchable: Milliseconds
    search: Milliseconds
    removed: bool


def bench(
    *,
    memories: Annotated[int, typer.Option(min=100, max=1_000_000, help="To be taken in.")] = 5000,
    searches: Annotated[int, typer.Option(min=10, max=100_000, help="To be answered.")] = 100,
    source: Source = "default",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Measure accepting, storing, time to searchable and search, under a user of its own, then delete it all.

    One client, here: what it measures is the installation under this client's load, not its limit.
    """
    figures = asyncio.run(_run(url, source, memories, searches))
    if as_json:
        show_json(asdict(figures))
    else:
        _show(figures)
    return exits.PARTIAL if figures.failed or not figures.removed else exits.OK


async def _run(url: str, source: str, memories: int, searches: int) -> Figures:
    user = f"memrelay-bench-{uuid4().hex[:12]}"
    async with AsyncMemrelay(url, patience=options.PATIENCE) as client:
        await client.count(user_id=user, source=source)  # soon told where nothing can be measured
    async with AsyncMemrelay(url, patience=WAIT) as client:
        course = Course(client, source, user)
        try:
            taken = await course.take_in(memories)
            searchable = await course.searchable(max(10, searches // 5))
            search = await course.search(searches)
        finally:
            say("removing what was taken in")
            await client.delete_where(user_id=user, source=source, wait=WAIT)
            left = (await client.count(user_id=user, source=source)).count
        return Figures(
            memories=memories,
            accepted_per_second=taken.accepted_per_second,
            accept=taken.accept,
            stored_per_second=taken.stored_per_second,
            failed=taken.failed,
            searchable=searchable,
            search=search,
            removed=left == 0,
        )


class Course:
    """What is measured, one after the other."""

    def __init__(self, client: AsyncMemrelay, source: str, user: str) -> None:
        self._client = client
        self._source = source
        self._user = user
        self._random = random.Random(user)

    async def take_in(self, memories: int) -> Taken:
        """Bulk, in requests of ``REQUEST``, ``AT_ONCE`` at a time; then until the last one is stored."""
        say(f"taking in {memories} memories, {REQUEST} a request, {AT_ONCE} at a time")
        sizes = (min(REQUEST, memories - first) for first in range(0, memories, REQUEST))
        left, jobs = iter([[self._memory() for _ in range(size)] for size in sizes]), list[str]()

        async def send() -> list[float]:
            took = []
            for batch in left:
                began = time.monotonic()
                job = (await self._client.add(batch, source=self._source, lane="bulk")).job
                took.append(time.monotonic() - began)
                jobs.append(job.id)
            return took

        began = time.monotonic()
        took = [one for sent in await _together([send] * AT_ONCE) for one in sent]
        accepted = time.monotonic() - began
        say("waiting until they are stored")
        ended = [await self._client.wait_job(job, timeout=STORED_SECONDS) for job in jobs]
        stored = sum(job.primary.stored for job in ended)
        return Taken(
            round(memories / accepted, 1),
            Milliseconds.of(took),
            round(stored / (time.monotonic() - began), 1),
            memories - stored,
        )

    async def searchable(self, times: int) -> Milliseconds:
        """Write one, search for it at once: the answer waits for it."""
        say(f"writing and finding {times} memories, one at a time")
        took = []
        for _ in range(times):
            memory = self._memory()
            began = time.monotonic()
            added = await self._client.add(memory, source=self._source)
            found = await self._client.search(
                memory["text"],
                user_id=self._user,
                source=self._source,
                after_job=added.job.id,
                timeout=WAIT,
            )
            took.append(time.monotonic() - began)
            if added.memories[0].id not in (hit.id for hit in found.hits):
                raise MemrelayError(
                    "a memory was stored, and a search for its text did not find it"
                )
        return Milliseconds.of(took)

    async def search(self, times: int) -> Milliseconds:
        say(f"searching {times} times, one at a time")
        took = []
        for _ in range(times):
            query = " ".join(self._random.sample(WORDS, 3))
            began = time.monotonic()
            await self._client.search(query, user_id=self._user, source=self._source)
            took.append(time.monotonic() - began)
        return Milliseconds.of(took)

    def _memory(self) -> NewMemory:
        words = self._random.choices(WORDS, k=12)
        return {
            "text": f"{' '.join(words)} {self._random.getrandbits(64):x}",
            "user_id": self._user,
        }


async def _together[R](work: Sequence[Callable[[], Awaitable[R]]]) -> list[R]:
    return await asyncio.gather(*(each() for each in work))


def _show(figures: Figures) -> None:
    def both(of: Milliseconds) -> str:
        return f"{of.p50:g} ms half of the time, {of.p95:g} ms of 95 %"

    show_rows(
        ("what", "figure"),
        [
            ("accepted", f"{figures.accepted_per_second:g} memories/s of {figures.memories}"),
            ("answer to a request", both(figures.accept)),
            ("stored", f"{figures.stored_per_second:g} memories/s, {figures.failed} failed"),
            ("time to searchable", both(figures.searchable)),
            ("search", both(figures.search)),
        ],
    )
    if not figures.removed:
        say("not everything could be removed again")
