"""The client of a memrelay service, for asyncio. ``Memrelay`` has the same methods, blocking."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, Unpack
from uuid import uuid4

import httpx

from memrelay.client.answers import (
    Accepted,
    Canceled,
    Count,
    DeadLetterPage,
    Deleted,
    Detached,
    Drivers,
    Job,
    JobPage,
    Membership,
    MemoryPage,
    Purged,
    Readiness,
    Replayed,
    Resumed,
    SearchAnswer,
    SourceInfo,
    Sources,
    StoredMemory,
    SyncAsked,
    Usage,
)
from memrelay.client.apikeys import AsyncApiKeys
from memrelay.client.following import follow
from memrelay.client.http import Http, given, segment
from memrelay.client.importing import Imported, import_lines, key_of_file, parts_of
from memrelay.client.requests import Changes, NewMemory, Recency, WhichDead, WhichJobs, plain
from memrelay.client.source import AsyncSource
from memrelay.jobs import JobStatus
from memrelay.types import Lane

LONGEST_WAIT = 20.0
DEFAULT_WAIT = 30.0


class AsyncMemrelay:
    """The methods, for one event loop. ``url`` and ``api_key`` are ``MEMRELAY_URL`` and ``MEMRELAY_API_KEY``
    unless given.

    Every method raises ``Unavailable`` when the service cannot be reached for ``patience`` seconds,
    and an ``ApiError`` for an answer that is an error. Writes carry an Idempotency-Key, one of ours if
    the caller gives none, so that repeating them stores nothing twice. ``timeout`` (seconds) is for
    one request. ``transport``: how requests travel, as httpx has it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = Http(
            url, api_key=api_key, timeout=timeout, patience=patience, transport=transport
        )

    @property
    def url(self) -> str:
        return self._http.url

    async def close(self) -> None:
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def add(
        self,
        memories: NewMemory | str | Sequence[NewMemory | str],
        *,
        source: str = "default",
        lane: Lane = "interactive",
        wait: float = 0.0,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Take in 1 to 1,000 memories (a string is a memory's text); all are accepted, or none.

        With ``wait`` (seconds, at most 60) it returns once the primary driver has an outcome for each,
        or when that time is over; ``job.counts`` says which.
        """
        several = [memories] if isinstance(memories, str | Mapping) else memories
        body = {
            "memories": [{"text": m} if isinstance(m, str) else plain(m) for m in several],
            "source": source,
            "lane": lane,
        }
        return await self._write("POST", "/v1/memories", idempotency_key, wait=wait, json=body)

    async def import_ndjson(
        self,
        lines: Path | Iterable[str | bytes],
        *,
        source: str = "default",
        idempotency_key: str | None = None,
        from_line: int = 1,
        progress: Callable[[Imported], None] | None = None,
    ) -> Imported:
        """Take in a file of one JSON object a line, gzip or not, or such lines; returns when all are taken.

        A memory without an id is given one that follows from the key and its line's number. For a
        file the key follows from its content, so that importing it twice stores nothing twice; lines
        without a key are new memories each time. A refused line ends nothing: the answer counts them.
        ``progress`` is called after each part that is accepted; going on after it later is
        ``from_line = line + 1`` with the same key.
        """
        if idempotency_key is None:
            idempotency_key = key_of_file(lines) if isinstance(lines, Path) else str(uuid4())
        return await import_lines(
            self._http,
            parts_of(lines),
            source=source,
            key=idempotency_key,
            from_line=from_line,
            progress=progress,
        )

    async def get(self, id: str, *, source: str = "default") -> StoredMemory:
        """One memory; ``NotFound`` if there is none."""
        return await self._http.fetch(StoredMemory, "GET", _place(id), params={"source": source})

    async def edit(
        self,
        id: str,
        changes: Changes,
        *,
        source: str = "default",
        if_version: int | None = None,
        wait: float = 0.0,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Change what is given of a memory, as it was accepted last, stored or not; ``wait`` as in ``add``.

        Nobody's change gets lost. ``NotFound`` if there is no such memory; ``Conflict`` if ``if_version`` is
        not its last version.
        """
        match = {} if if_version is None else {"If-Match": f'"{if_version}"'}
        return await self._write(
            "PATCH",
            _place(id),
            idempotency_key,
            wait=wait,
            params={"source": source},
            json=plain(changes),
            headers=match,
        )

    async def delete(
        self,
        id: str,
        *,
        source: str = "default",
        wait: float = 0.0,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Delete one memory, whether or not it is there; ``wait`` as in ``add``."""
        params = {"source": source}
        return await self._write("DELETE", _place(id), idempotency_key, wait=wait, params=params)

    async def delete_many(
        self,
        ids: Sequence[str],
        *,
        source: str = "default",
        wait: float = 0.0,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Delete 1 to 1,000 memories by id, whether or not they are there; ``wait`` as in ``add``."""
        body = {"ids": list(ids), "source": source}
        return await self._write(
            "POST", "/v1/memories/delete", idempotency_key, wait=wait, json=body
        )

    async def delete_where(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        source: str = "default",
        wait: float = 0.0,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Delete every memory of which everything given holds, and which was accepted before.

        Those that are not stored yet too. At least one is given; ``wait`` as in ``add``.
        """
        body = given(user_id=user_id, session_id=session_id, filter=filter, source=source)
        return await self._write(
            "POST", "/v1/memories/delete", idempotency_key, wait=wait, json=body
        )

    async def purge(
        self,
        namespace: str,
        *,
        source: str | None = None,
        idempotency_key: str | None = None,
    ) -> Purged:
        """Delete everything that was accepted before, of one source or of all.

        ``namespace`` is the name of the own one, so that nobody does this by accident.
        """
        return await self._http.fetch(
            Purged,
            "POST",
            "/v1/memories/purge",
            json=given(confirm=namespace, source=source),
            headers={"Idempotency-Key": idempotency_key or str(uuid4())},
        )

    async def count(
        self,
        *,
        user_id: str | None = None,
        user_ids: Sequence[str] | None = None,
        session_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        source: str = "default",
    ) -> Count:
        """How many live memories there are of which everything given holds."""
        body = given(
            user_id=user_id,
            user_ids=user_ids,
            session_id=session_id,
            filter=filter,
            source=source,
        )
        return await self._http.fetch(Count, "POST", "/v1/memories/count", json=body)

    async def list_memories(
        self,
        *,
        user_id: str | None = None,
        user_ids: Sequence[str] | None = None,
        session_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        source: str = "default",
        cursor: str | None = None,
        limit: int = 100,
    ) -> MemoryPage:
        """At most ``limit`` (512) live memories of which everything given holds, in the order of their ids.

        ``cursor`` is that of the page before. A page may hold less than ``limit`` before the end.
        """
        body = given(
            user_id=user_id,
            user_ids=user_ids,
            session_id=session_id,
            filter=filter,
            source=source,
            cursor=cursor,
            limit=limit,
        )
        return await self._http.fetch(MemoryPage, "POST", "/v1/memories/list", json=body)

    async def search(
        self,
        query: str | None = None,
        *,
        vector: Sequence[float] | None = None,
        user_id: str | None = None,
        user_ids: Sequence[str] | None = None,
        session_id: str | None = None,
        filter: Mapping[str, Any] | None = None,
        source: str = "default",
        top_k: int = 10,
        offset: int = 0,
        mode: Literal["semantic", "keyword", "hybrid"] | None = None,
        vector_weight: float | None = None,
        min_score: float | None = None,
        recency: Recency | None = None,
        include: Sequence[Literal["text", "metadata", "vector"]] | None = None,
        drivers: Sequence[str] | None = None,
        after_job: str | None = None,
        timeout: float | None = None,
    ) -> SearchAnswer:
        """The best memories for ``query`` (or ``vector``) of which everything given holds.

        With ``mode="hybrid"`` both may be given, as a source needs it whose callers bring vectors;
        ``vector_weight`` (0 to 1) is what vectors count in it. ``recency`` puts newer ones before older
        ones that are as relevant. ``after_job`` waits until that job is stored: read your writes.
        ``timeout`` is for the search itself, in seconds.
        """
        body = given(
            query=query,
            vector=vector,
            user_id=user_id,
            user_ids=user_ids,
            session_id=session_id,
            filter=filter,
            source=source,
            top_k=top_k,
            offset=offset,
            mode=mode,
            vector_weight=vector_weight,
            min_score=min_score,
            recency=recency,
            include=include,
            drivers=drivers,
            after_job=after_job,
            timeout=timeout,
        )
        return await self._http.fetch(
            SearchAnswer, "POST", "/v1/search", json=body, wait=timeout or 0.0
        )

    async def job(self, id: str, *, wait: float = 0.0) -> Job:
        """A job as it is now, or with ``wait`` (seconds, at most 60) once it has ended if that is sooner."""
        return await self._http.fetch(
            Job, "GET", f"/v1/jobs/{segment(id)}", params={"wait": f"{wait:g}"}, wait=wait
        )

    async def wait_job(self, id: str, *, timeout: float = 60.0) -> Job:
        """The job once it has ended, or as it is after ``timeout`` seconds (``job.ended`` tells)."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            job = await self.job(id, wait=min(left, LONGEST_WAIT))
            if job.ended or left <= LONGEST_WAIT:
                return job

    async def follow_job(self, id: str) -> AsyncGenerator[Job]:
        """The job as it is now and whenever it has changed; the last one has ended.

        Connections that are lost are made again, for ``patience`` seconds at a time.
        """
        async for job in follow(self._http, id):
            yield job

    async def jobs(
        self,
        *,
        status: JobStatus | None = None,
        before: datetime | str | None = None,
        after: datetime | str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> JobPage:
        """Jobs, newest first, accepted before ``before`` and not before ``after``; ``cursor`` is that of the
        page before."""
        params = given(status=status, before=before, after=after, cursor=cursor, limit=limit)
        return await self._http.fetch(JobPage, "GET", "/v1/jobs", params=plain(params))

    async def cancel_jobs(self, **which: Unpack[WhichJobs]) -> Canceled:
        """End what no worker has begun with: it is not stored. Deletes go on, and what is under way."""
        return await self._http.fetch(Canceled, "POST", "/v1/jobs/cancel", json=plain(which))

    async def dead_letters(
        self,
        *,
        code: str | None = None,
        driver: str | None = None,
        source: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> DeadLetterPage:
        """Memories that were given up, and why; ``cursor`` is that of the page before."""
        params = given(code=code, driver=driver, source=source, cursor=cursor, limit=limit)
        return await self._http.fetch(DeadLetterPage, "GET", "/v1/dead-letters", params=params)

    async def replay_dead_letters(self, **which: Unpack[WhichDead]) -> Replayed:
        """Put dead letters on their road again, under their own versions."""
        return await self._http.fetch(
            Replayed, "POST", "/v1/dead-letters/replay", json=plain(which)
        )

    async def delete_dead_letters(self, **which: Unpack[WhichDead]) -> Deleted:
        """Give dead letters up for good."""
        return await self._http.fetch(Deleted, "POST", "/v1/dead-letters/delete", json=plain(which))

    async def resume(self, stage: str | None = None) -> Resumed:
        """End the alarm of a stage, or all: what it refuses becomes dead letters again."""
        return await self._http.fetch(
            Resumed, "POST", "/v1/dead-letters/resume", json=given(stage=stage)
        )

    async def drivers(self) -> Drivers:
        """Every driver: whether it serves, what waits for it, its last sync."""
        return await self._http.fetch(Drivers, "GET", "/v1/drivers")

    async def sync_driver(self, name: str, *, full: bool = False) -> SyncAsked:
        """Have a driver compared with the others and repaired; ``full`` checks every record.

        One that was taken out is brought back. ``drivers`` says when that has ended, and what was found.
        """
        place = f"/v1/drivers/{segment(name)}/sync"
        return await self._http.fetch(SyncAsked, "POST", place, json={"full": full})

    async def detach_driver(self, name: str) -> Detached:
        """Take a driver out until ``sync_driver`` is asked for it."""
        place = f"/v1/drivers/{segment(name)}/detach"
        return await self._http.fetch(Detached, "POST", place, json={})

    async def retire_driver(self, name: str, *, source: str = "default") -> Membership:
        """Let a driver go from a source; ``Conflict`` while no other driver of it has everything."""
        place = f"/v1/drivers/{segment(name)}/retire"
        return await self._http.fetch(Membership, "POST", place, json={"source": source})

    async def join_driver(
        self, name: str, *, source: str = "default", empty: bool = False
    ) -> Membership:
        """Let a driver into a source, or back: it is filled from the others, then it serves.

        ``empty``: what it has of the source is removed first; so it is, unasked, of one that was retired.
        """
        place = f"/v1/drivers/{segment(name)}/join"
        body = {"source": source, "empty": empty}
        return await self._http.fetch(Membership, "POST", place, json=body)

    async def sources(self) -> tuple[SourceInfo, ...]:
        """Every source: what it is for, its drivers, and what can be asked of it."""
        return (await self._http.fetch(Sources, "GET", "/v1/sources")).sources

    def source(self, name: str = "default", *, namespace: str | None = None) -> AsyncSource:
        """Keys and values in one source, in one namespace of its keys."""
        return AsyncSource(self._http, name, namespace)

    def api_keys(self, *, namespace: str | None = None) -> AsyncApiKeys:
        """The API keys of the own namespace; of another by an operator's key."""
        return AsyncApiKeys(self._http, namespace)

    async def usage(self) -> Usage:
        """What of the namespace waits to be stored, what was given up, and what it has used."""
        return await self._http.fetch(Usage, "GET", "/v1/usage")

    async def ready(self) -> Readiness:
        """What the service can do now. Asked once: ``Unavailable`` at once if it cannot be reached."""
        return self._http.read(Readiness, await self._http.probe("/readyz"))

    async def _write(
        self,
        method: str,
        path: str,
        key: str | None,
        *,
        wait: float,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Accepted:
        waiting = {"wait": "stored", "timeout": f"{wait:g}s"} if wait else {}
        return await self._http.fetch(
            Accepted,
            method,
            path,
            params={**(params or {}), **waiting},
            json=json,
            headers={"Idempotency-Key": key or str(uuid4()), **(headers or {})},
            wait=wait,
        )


def _place(id: str) -> str:
    return f"/v1/memories/{segment(id)}"
