"""Jobs: what became of every memory of a request, in every driver."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from api.direct import Direct
from api.openapi import operation
from api.problems import invalid, not_found
from api.state import namespace_of, state_of
from api.views import job_view
from backends.journal.jobs import list_jobs, read_job
from memrelay.client.answers import Job, JobPage
from memrelay.jobs import JobId, JobStatus

router = APIRouter(prefix="/v1", route_class=Direct)
MAX_LIMIT = 100
MAX_WAIT = 60.0


@router.get(
    "/jobs/{id}", openapi_extra=operation(Job, example={"id": "job_660c42705c36c_1", "wait": 5})
)
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
        raise not_found()
    return Response(msgspec.json.encode(job_view(job)), media_type="application/json")


@router.get("/jobs", openapi_extra=operation(JobPage, example={"status": "stored", "limit": 20}))
async def get_jobs(
    request: Request, cursor: str | None = None, limit: int = 20, status: JobStatus | None = None
) -> Response:
    """Jobs, newest first. ``cursor`` is the one that the page before gave."""
    state = state_of(request)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid([("/limit", f"1 to {MAX_LIMIT}")])
    before = None if cursor is None else JobId.parse(cursor)
    if cursor is not None and before is None:
        raise invalid([("/cursor", "not one of ours")])
    page = await list_jobs(
        state.journal, namespace_of(request), before=before.first if before else None, limit=limit
    )
    view = {
        "jobs": [job_view(job) for job in page if status in (None, job.status)],
        "cursor": page[-1].id if len(page) == limit else None,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")
