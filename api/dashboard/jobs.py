"""Jobs: the newest first, and one with what became of it in every driver."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.dashboard.course import STEPS, lanes
from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, viewer_of
from api.feeds import News
from api.problems import invalid, not_found
from api.state import State, namespace_of, state_of
from backends.journal.jobs import list_jobs, read_job
from backends.journal.usage import clock
from memrelay.jobs import JobId

router = APIRouter(route_class=Page, include_in_schema=False)
LIMIT = 50


@router.get("/ui/jobs")
async def get_jobs(request: Request, cursor: str | None = None) -> Response:
    before = None if cursor is None else JobId.parse(cursor)
    if cursor is not None and before is None:
        raise invalid([("/cursor", "not one of ours")])
    found = await list_jobs(
        state_of(request).journal,
        namespace_of(request),
        before=before.first if before else None,
        limit=LIMIT,
    )
    return page(request, "jobs.html", jobs=found, first=cursor is None, limit=LIMIT)


@router.get("/ui/jobs/{id}")
async def get_job(request: Request, id: str) -> Response:
    state, viewer = state_of(request), viewer_of(request)
    if await read_job(state.journal, viewer.namespace, id) is None:
        raise not_found()
    news = await shown(live, state, Look("job", id, viewer))
    return page(request, "job.html", id=id, live=news.text, ended=news.ended)


async def live(state: State, look: Look) -> News:
    """What became of one job so far."""
    job = await read_job(state.journal, look.viewer.namespace, look.id)
    if job is None:
        return News(fragment("job_gone.html"), ended=True)
    over = job.ended_at is not None
    now = await clock(state.journal)
    text = fragment("job_live.html", job=job, lanes=lanes(job, now), steps=STEPS, over=over)
    return News(text, ended=over)
