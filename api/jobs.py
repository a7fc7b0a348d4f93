"""Jobs: what became of every memory of a request, in every driver; and ending what has not begun."""

from __future__ import annotations

import asyncio

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from api.audit import note
from api.auth import grant_of
from api.body import at_once, read_model
from api.cursor import cursor_of, version_of
from api.direct import Direct
from api.feeds import News
from api.models import CancelIn
from api.openapi import EVENTS, operation
from api.problems import invalid, not_found
from api.state import State, namespace_of, state_of
from api.views import job_view
from api.waiters import rest
from backends.journal.cancel import cancel
from backends.journal.joblist import JobFilter, list_jobs
from backends.journal.jobs import ranges_of, read_job
from backends.journal.usage import clock
from memrelay.client.answers import Canceled, JobPage
from memrelay.client.answers import Job as JobAnswer
from memrelay.jobs import Job, JobId, JobStatus
from memrelay.times import parse_time

router = APIRouter(prefix="/v1", route_class=Direct)
MAX_LIMIT = 100
JOB = {"id": "job_660c42705c36c_1"}
MAX_WAIT = 60.0
CANCEL_AT_ONCE = 500
MOST_CANCELED = 10_000
"""Jobs that one request ends."""
FOLLOW_SECONDS = 10.0
FOLLOW_PAUSE = 0.1
"""Seconds between two looks at a job that changes all the time."""


@router.get("/jobs/{id}", openapi_extra=operation(JobAnswer, example={**JOB, "wait": 5}))
async def get_job(request: Request, id: str, wait: float = 0.0) -> Response:
    """One job; with ``wait`` (seconds, at most 60) once it has ended, or as it is then."""
    state = state_of(request)
    namespace = namespace_of(request)
    if not 0 <= wait <= MAX_WAIT:
        raise invalid([("/wait", f"0 to {MAX_WAIT:g} seconds")])
    if wait:
        job = await state.waiters.wait(namespace, id, lambda job: job.ended, wait)
    else:
        job = await read_job(state.journal, namespace, id)
    if job is None:
        raise not_found("job")
    return Response(msgspec.json.encode(job_view(job)), media_type="application/json")


@router.get(
    "/jobs",
    openapi_extra=operation(
        JobPage, example={"status": "stored", "after": "2026-11-01T00:00:00Z", "limit": 20}
    ),
)
async def get_jobs(
    request: Request,
    *,
    status: JobStatus | None = None,
    before: str | None = None,
    after: str | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Response:
    """Jobs, newest first. ``before`` and ``after`` (then or later) are RFC 3339 times of acceptance.

    ``cursor`` is the one that the page before gave, null at the end and only there.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid([("/limit", f"1 to {MAX_LIMIT}")])
    where = JobFilter(status=status, before=_time(before, "/before"), after=_time(after, "/after"))
    page = await list_jobs(
        state_of(request).journal,
        namespace_of(request),
        where,
        below=version_of(cursor),
        limit=limit,
    )
    view = {
        "jobs": [job_view(job) for job in page.jobs],
        "cursor": cursor_of(page.below),
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.get("/jobs/{id}/events", openapi_extra=operation(JobAnswer, media=EVENTS, example=JOB))
async def follow_job(request: Request, id: str) -> Response:
    """A job as it is now and whenever it has changed, until it has ended, as server-sent events.

    The data of each is that of ``GET /v1/jobs/{id}``; one of the type ``end`` comes last. A stream without it
    was broken off: ask again. Comments come while nothing happens.
    """
    state, namespace = state_of(request), namespace_of(request)
    if await read_job(state.journal, namespace, id) is None:
        raise not_found("job")
    follower = Follower(state, namespace, id)
    key = ("job", namespace, id)
    events = state.feeds.follow(key, follower.news, owner=namespace, every=FOLLOW_PAUSE)
    held = state.keyring.during(grant_of(request), events)
    return StreamingResponse(
        held, headers={"Cache-Control": "no-store"}, media_type="text/event-stream"
    )


@router.post("/jobs/cancel", openapi_extra=operation(Canceled, body=CancelIn))
async def cancel_jobs(request: Request) -> Response:
    """End what no worker has begun with: it is not stored anywhere. What is under way goes on.

    Deletes are not canceled, nor what a replay brings. ``canceled`` counts memories, ``jobs`` those that
    lost some; ``more``: there are further ones, repeat the request.
    """
    state, namespace = state_of(request), namespace_of(request)
    body = await read_model(request, CancelIn, at_once(state.settings))
    until = await clock(state.journal) + 1
    where = JobFilter(
        status=body.status,
        source=body.source,
        before=until if body.before is None else min(body.before, until),
        after=body.after,
        waiting=True,
    )
    if body.ids is None:
        jobs, memories, more = await _cancel_found(state, namespace, where)
    else:
        jobs, memories, more = *await _cancel_named(state, namespace, where, body.ids), False
    note(request, jobs=jobs, canceled=memories)
    view = {"jobs": jobs, "canceled": memories, "more": more}
    return Response(msgspec.json.encode(view), media_type="application/json")


async def _cancel_found(state: State, namespace: str, where: JobFilter) -> tuple[int, int, bool]:
    """Jobs and memories that were canceled, and whether there may be more of them."""
    jobs = memories = 0
    below: int | None = None
    while jobs < MOST_CANCELED:
        page = await list_jobs(state.journal, namespace, where, below=below, limit=CANCEL_AT_ONCE)
        ids = [JobId.parse(job.id) for job in page.jobs]
        counts = await cancel(state.journal, namespace, [id for id in ids if id is not None])
        jobs += sum(count > 0 for count in counts)
        memories += sum(counts)
        below = page.below
        if below is None:
            return jobs, memories, False
    return jobs, memories, True


async def _cancel_named(
    state: State, namespace: str, where: JobFilter, ids: list[str]
) -> tuple[int, int]:
    jobs = memories = 0
    for id in dict.fromkeys(ids):
        job = await read_job(state.journal, namespace, id)
        if job is not None and where.holds(job) and where.covers(job.accepted_at):
            ranges = await ranges_of(state.journal, namespace, id)
            count = sum(await cancel(state.journal, namespace, ranges))
            jobs += count > 0
            memories += count
    return jobs, memories


class Follower:
    """News of one job: the next one when it has changed, or after ``FOLLOW_SECONDS``."""

    def __init__(self, state: State, namespace: str, id: str) -> None:
        self._state = state
        self._place = (namespace, id)
        self._seen: Job | None = None

    async def news(self) -> News:
        seen, seconds = self._seen, 0.0 if self._seen is None else FOLLOW_SECONDS
        if seen is not None:
            await asyncio.sleep(rest(seen.total))
        job = await self._state.waiters.wait(*self._place, lambda job: job != seen, seconds)
        self._seen = job
        if job is None:  # it has ended so long ago that it is forgotten
            return News("null", ended=True)
        return News(msgspec.json.encode(job_view(job)).decode(), ended=job.ended)


def _time(text: str | None, pointer: str) -> int | None:
    return None if text is None else parse_time(text, pointer=pointer)
