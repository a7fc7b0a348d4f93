"""The client of a memrelay service, for asyncio. ``Memrelay`` has the same methods, blocking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Required, Self, TypedDict
from urllib.parse import quote
from uuid import uuid4

from memrelay.client.answers import (
    Accepted,
    Count,
    Job,
    JobPage,
    Readiness,
    SearchAnswer,
    StoredMemory,
)
from memrelay.client.http import Http
from memrelay.client.importing import Imported, import_lines, key_of_file, parts_of
from memrelay.errors import InvalidInput
from memrelay.jobs import JobStatus
from memrelay.types import Lane

LONGEST_WAIT = 20.0
DEFAULT_WAIT = 30.0


class NewMemory(TypedDict, total=False):
    """A memory to take in. An existing ``id`` is replaced whole; one is made up if it is left out."""

    text: Required[str]
    id: str
    user_id: str
    session_id: str
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    created_at: datetime | str
    expires_at: datetime | str
    vector: Sequence[float]


class AsyncMemrelay:
    """The methods, for one event loop. ``url`` is ``MEMRELAY_URL`` unless given.

    Every method raises ``Unavailable`` when the service cannot be reached for ``patience`` seconds,
    and an ``ApiError`` for an answer that is an error. Writes carry an Idempotency-Key, one of ours if
    the caller gives none, so that repeating them stores nothing twice. ``timeout`` (seconds) is for
    one request.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        self._http = Http(url, api_key=api_key, timeout=timeout, patience=patience)

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
        given = [memories] if isinstance(memories, str | Mapping) else memories
        body = {
            "memories": [{"text": m} if isinstance(m, str) else _plain(m) for m in given],
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
        """Take in a file of one JSON object a line, or such lines; returns when all are accepted.

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
        body = _given(
            user_id=user_id,
            user_ids=user_ids,
            session_id=session_id,
            filter=filter,
            source=source,
        )
        return await self._http.fetch(Count, "POST", "/v1/memories/count", json=body)

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
        min_score: float | None = None,
        include: Sequence[Literal["text", "metadata", "vector"]] | None = None,
        drivers: Sequence[str] | None = None,
        after_job: str | None = None,
        timeout: float | None = None,
    ) -> SearchAnswer:
        """The best memories for ``query`` (or ``vector``) of which everything given holds.

        ``after_job`` waits until that job is stored: read your writes. ``timeout`` is for the search
        itself, in seconds.
        """
        body = _given(
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
            min_score=min_score,
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
            Job, "GET", f"/v1/jobs/{_quoted(id)}", params={"wait": f"{wait:g}"}, wait=wait
        )

    async def wait_job(self, id: str, *, timeout: float = 60.0) -> Job:
        """The job once it has ended, or as it is after ``timeout`` seconds (``job.ended`` tells)."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            job = await self.job(id, wait=min(left, LONGEST_WAIT))
            if job.ended or left <= LONGEST_WAIT:
                return job

    async def jobs(
        self, *, status: JobStatus | None = None, cursor: str | None = None, limit: int = 20
    ) -> JobPage:
        """Jobs, newest first; ``cursor`` is that of the page before."""
        params = _given(status=status, cursor=cursor, limit=limit)
        return await self._http.fetch(JobPage, "GET", "/v1/jobs", params=params)

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
    ) -> Accepted:
        waiting = {"wait": "stored", "timeout": f"{wait:g}s"} if wait else {}
        return await self._http.fetch(
            Accepted,
            method,
            path,
            params={**(params or {}), **waiting},
            json=json,
            headers={"Idempotency-Key": key or str(uuid4())},
            wait=wait,
        )


def _quoted(id: str) -> str:
    """``id`` as one segment of a path; dots too, so that no one takes ``..`` for a step up."""
    if not id:
        raise InvalidInput("an id is not empty", pointer="/id")
    return quote(id, safe="").replace(".", "%2E")


def _place(id: str) -> str:
    return f"/v1/memories/{_quoted(id)}"


def _given(**fields: Any) -> dict[str, Any]:
    """Without what the caller left out, so that the service's own defaults hold."""
    return {name: value for name, value in fields.items() if value is not None}


def _plain(memory: Mapping[str, Any]) -> dict[str, Any]:
    """A memory as JSON: times as RFC 3339."""
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in memory.items()
    }
