"""Jobs: the newest first, and one with what became of it in every driver."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.cursor import version_of
from api.dashboard.course import STEPS, lanes
from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, viewer_of
from api.feeds import News
from api.problems import not_found
from api.state import State, namespace_of, state_of
from backends.journal.joblist import list_jobs
from backends.journal.jobs import read_job
from backends.journal.usage import clock

router = APIRouter(route_class=Page, include_in_schema=False)
LIMIT = 50


@router.get("/ui/jobs")
async def get_jobs(request: Request, cursor: str | None = None) -> Response:
    found = await list_jobs(
        state_of(request).journal,
        namespace_of(request),
        below=version_of(cursor),
        limit=LIMIT,
    )
    return page(request, "jobs.html", jobs=found.jobs, first=cursor is None, below=found.below)


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
