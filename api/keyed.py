"""The keys of one request: where they are, reading them, and writing them under conditions.

A write with a condition looks at its keys, then enters under the versions that it saw: the journal
turns it down if one of them was written meanwhile, and it looks again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from fastapi import Request
from msgspec.structs import replace
from pydantic import TypeAdapter, ValidationError

from api.keymodels import Namespace
from api.problems import Problem, from_validation, invalid
from api.reader import Reader, Seen, reader_of
from api.state import State, namespace_of, state_of
from api.taking import DEFAULT_WAIT, Taken, Writes, take
from backends.journal import Changed
from backends.sources import Source
from backends.store import Store
from memrelay.fallback import Answer
from memrelay.jobs import Job, JobId
from memrelay.keyvalue import KeySpace
from memrelay.times import now_us
from memrelay.types import Memory

LOOK_SECONDS = 5.0
TRIES = 8
NEVER = -1
"""The version of no write: what expects it is entered never, but answered if it repeats another."""
_namespace: TypeAdapter[str] = TypeAdapter(Namespace)

Condition = Callable[[Memory | None], Problem | None]
"""What is wrong with a write, given what its key holds."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """The keys of one key namespace in one source, for one request."""

    request: Request
    source: Source
    space: KeySpace

    @property
    def state(self) -> State:
        return state_of(self.request)

    @property
    def tenant(self) -> str:
        return namespace_of(self.request)

    @property
    def patience(self) -> float:
        """Seconds that a read may take."""
        return self.state.settings.search_timeout

    async def read[T](self, ask: Callable[[Reader, Sequence[Store]], Awaitable[T]]) -> T:
        """What ``ask`` finds in the drivers of the source, as it is by then."""
        return await self.state.read(
            self.source.name,
            lambda source: ask(reader_of(self.state, source, self.tenant), source.stores),
        )

    async def get(self, keys: Sequence[str]) -> dict[str, Memory]:
        """The live ones among ``keys``."""
        ids = [self.space.id_of(key) for key in keys]
        answer = await self._read(ids, self.patience)
        return self._held(keys, answer.value.value)

    async def write(
        self, writes: Writes, raw: bytes, conditions: Mapping[str, Condition], *, wait: bool
    ) -> Taken:
        """``take`` if the condition on each of its keys holds; the first problem otherwise.

        ``wait``: until it is stored, unless the request says something else.
        """
        default_wait = DEFAULT_WAIT if wait else 0.0
        same = raw + b"\0" + self.space.namespace.encode()  # what makes it the same request
        for _ in range(TRIES):
            expects, problem = await self._look(conditions)
            if problem is not None and "idempotency-key" not in self.request.headers:
                raise problem
            try:
                entered = replace(writes, expects=expects)
                return await take(self.request, entered, same, default_wait=default_wait)
            except Changed:
                if problem is not None:
                    raise problem from None
        raise Problem(503, "contended", "Others write this key all the time.", retry_after=1)

    async def _look(
        self, conditions: Mapping[str, Condition]
    ) -> tuple[dict[str, int], Problem | None]:
        """The last version of each key, and what is wrong with a write."""
        if not conditions:
            return {}, None
        ids = {key: self.space.id_of(key) for key in conditions}
        noted = await self.state.journal.noted(self.tenant, self.source.name, list(ids.values()))
        held = self._held(list(ids), await self._current(noted))
        for key, condition in conditions.items():
            problem = condition(held.get(key))
            if problem is not None:
                return {ids[key]: NEVER}, problem
        return noted, None

    async def _current(self, noted: Mapping[str, int]) -> Mapping[str, Memory]:
        """What is held of the ids by a driver that has ended their noted versions before it was read."""
        until = time.monotonic() + LOOK_SECONDS
        versions = [version for version in noted.values() if version]
        behind = await self._behind(versions, None, until)
        while True:
            answer = await self._read(list(noted), max(0.01, until - time.monotonic()))
            if answer.peer.name not in behind:
                return answer.value.value
            if time.monotonic() >= until:
                raise _not_stored_yet()
            behind = await self._behind(versions, answer.peer.name, until)

    async def _behind(self, versions: Sequence[int], driver: str | None, until: float) -> set[str]:
        """The drivers that have not ended all of ``versions``, once ``driver`` (None: any) has.

        One that no job names was filled from others that had ended them: else it would not serve.
        """
        named: set[str] = set()
        behind: set[str] = set()
        for version in versions:
            job = await self.state.waiters.wait(
                self.tenant,
                str(JobId(version, 1)),
                lambda job: (
                    len(_left(job)) < len(job.counts)
                    if driver is None
                    else driver not in _left(job)
                ),
                max(0.01, until - time.monotonic()),
            )
            if job is not None:  # else it has ended so long ago that nobody knows
                named |= job.counts.keys()
                behind |= _left(job)
        if named and named == behind:
            raise _not_stored_yet()
        return behind

    async def _read(
        self, ids: Sequence[str], seconds: float
    ) -> Answer[Store, Seen[Mapping[str, Memory]]]:
        return await self.read(lambda reader, stores: reader.get(stores, ids, seconds=seconds))

    def _held(self, keys: Sequence[str], found: Mapping[str, Memory]) -> dict[str, Memory]:
        now, held = now_us(), {}
        for key in keys:
            memory = found.get(self.space.id_of(key))
            if memory is not None and self.space.holds(memory) and not memory.expired(now):
                held[key] = memory
        return held


def keyed(request: Request, source: str, namespace: str) -> Keyed:
    """404 for a source that is not there, 422 for a namespace that none can be."""
    try:
        space = KeySpace(_namespace.validate_python(namespace))
    except ValidationError as error:
        raise from_validation(error, "/namespace") from None
    return Keyed(request, named_source(state_of(request), source), space)


def named_source(state: State, name: str) -> Source:
    """``_`` and ``default`` are the default one."""
    source = state.sources.named("default" if name == "_" else name)
    if source is None:
        known = ", ".join(sorted(state.sources.by_name))
        raise Problem(
            404, "unknown_source", "Unknown source.", errors=[("/source", f"one of: {known}")]
        )
    return source


def must_be_new(held: Memory | None) -> Problem | None:
    if held is None:
        return None
    return Problem(409, "exists", "The key is there already, and overwrite is false.")


def if_match(request: Request) -> Condition | None:
    """The condition of ``If-Match``; None without one, 422 for what is no version in quotes."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    tags = [tag.strip() for tag in given.split(",")]
    if tags == ["*"]:
        return lambda held: _unmatched() if held is None else None
    versions = {tag[1:-1] for tag in tags if tag[:1] == tag[-1:] == '"' and tag[1:-1].isdecimal()}
    if len(versions) != len(set(tags)):
        raise invalid([("/If-Match", "must be a version in quotes, as ETag gives it, or *")])
    return lambda held: None if held and str(held.version) in versions else _unmatched()


def _unmatched() -> Problem:
    return Problem(412, "changed", "It does not have that version.")


def _not_stored_yet() -> Problem:
    return Problem(
        503, "not_stored_yet", "What this key was given last is not stored.", retry_after=1
    )


def _left(job: Job) -> set[str]:
    """The drivers that have not ended it."""
    return {name for name, counts in job.counts.items() if not counts.ended}
