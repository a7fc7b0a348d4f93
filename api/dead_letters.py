"""Dead letters: what was given up and why, put on its road again, or given up for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
from fastapi import APIRouter, Request, Response

from api.audit import note
from api.body import at_once, parse_json, read_json, validate
from api.cursor import version_of
from api.direct import Direct
from api.models import DeadLettersIn, ResumeIn
from api.openapi import operation
from api.problems import invalid
from api.state import State, namespace_of, state_of
from api.views import dead_letter_view
from backends.journal import dead
from backends.journal.alarms import alarms, resume
from backends.journal.dead import AT_ONCE, DeadLetter, Selection
from backends.journal.usage import clock
from memrelay.client.answers import DeadLetterPage, Deleted, Replayed, Resumed
from memrelay.jobs import JobId

router = APIRouter(prefix="/v1", route_class=Direct)
MAX_LIMIT = 100
MOST_SLICES = 20
"""Slices of 512 that one request acts on."""


@dataclass(frozen=True, slots=True)
class Done:
    """How many dead letters a request acted on, whether there may be more, and the jobs of a replay."""

    count: int
    more: bool
    jobs: Sequence[JobId] = ()


@router.get(
    "/dead-letters",
    openapi_extra=operation(DeadLetterPage, example={"code": "too_long", "limit": 20}),
)
async def get_dead_letters(
    request: Request,
    *,
    code: str | None = None,
    driver: str | None = None,
    source: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Response:
    """Dead letters, the newest version first, with the number of each cause and the alarms there are.

    ``cursor`` is the one that the page before gave.
    """
    state, namespace = state_of(request), namespace_of(request)
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid([("/limit", f"1 to {MAX_LIMIT}")])
    where = Selection(code=code, driver=driver, source=source)
    page = await page_of(state, namespace, where, below=version_of(cursor), limit=limit)
    view = {
        "causes": await dead.by_cause(state.journal, namespace),
        "alarms": await state.alarms(namespace),
        "dead_letters": [dead_letter_view(letter) for letter in page],
        "cursor": str(page[-1].version) if len(page) == limit else None,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


async def page_of(
    state: State, namespace: str, where: Selection, *, below: int | None, limit: int
) -> list[DeadLetter]:
    """The first ``limit`` that ``where`` selects below the version ``below``; fewer only at the end."""
    page: list[DeadLetter] = []
    async with aclosing(dead.dead_letters(state.journal, namespace, where, below=below)) as found:
        async for letter in found:
            page.append(letter)
            if len(page) == limit:
                break
    return page


@router.post(
    "/dead-letters/replay",
    status_code=202,
    openapi_extra=operation(Replayed, status=202, body=DeadLettersIn),
)
async def replay_dead_letters(request: Request) -> Response:
    """Put dead letters on their road again, under their own versions; a job for each 512 of them.

    ``more``: there are further ones, repeat the request.
    """
    state, namespace = state_of(request), namespace_of(request)
    done = await replay(state, namespace, await _selected(request, state))
    note(request, letters=done.count)
    jobs = [{"id": str(job), "status": "accepted", "total": job.count} for job in done.jobs]
    view = {"replayed": done.count, "jobs": jobs, "more": done.more}
    return Response(msgspec.json.encode(view), 202, media_type="application/json")


async def replay(state: State, namespace: str, where: Selection) -> Done:
    """Put what ``where`` selects on its road again, as much as one request acts on."""
    jobs: list[JobId] = []

    async def act() -> int:
        replayed = await dead.replay(state.journal, namespace, where, limit=AT_ONCE)
        for queue, envelope in replayed.envelopes:
            state.announcer.announce(queue, envelope)
        if replayed.job is not None:
            jobs.append(replayed.job)
        return replayed.count

    count, more = await _in_slices(act)
    return Done(count, more, jobs)


@router.post("/dead-letters/delete", openapi_extra=operation(Deleted, body=DeadLettersIn))
async def delete_dead_letters(request: Request) -> Response:
    """Give dead letters up for good. ``more``: there are further ones, repeat the request."""
    state, namespace = state_of(request), namespace_of(request)
    done = await delete(state, namespace, await _selected(request, state))
    note(request, letters=done.count)
    view = {"deleted": done.count, "more": done.more}
    return Response(msgspec.json.encode(view), media_type="application/json")


async def delete(state: State, namespace: str, where: Selection) -> Done:
    """Give up what ``where`` selects for good, as much as one request acts on."""
    count, more = await _in_slices(
        lambda: dead.delete(state.journal, namespace, where, limit=AT_ONCE)
    )
    return Done(count, more)


@router.post("/dead-letters/resume", openapi_extra=operation(Resumed, body=ResumeIn, optional=True))
async def resume_stages(request: Request) -> Response:
    """End the alarm of one stage, or of all: what they refuse is given up again, up to the limit."""
    state = state_of(request)
    raw = await read_json(request, at_once(state.settings))
    body = validate(ResumeIn, parse_json(raw or b"{}"))
    known = await alarms(state.journal)
    ended = [stage for stage in known if body.stage in (None, stage)]
    await resume(state.journal, ended)
    note(request, stages=",".join(ended))
    return Response(msgspec.json.encode({"resumed": ended}), media_type="application/json")


async def _selected(request: Request, state: State) -> Selection:
    """What the body asks for, of what had died before the request."""
    raw = await read_json(request, at_once(state.settings))
    body = validate(DeadLettersIn, parse_json(raw))
    until = await clock(state.journal) + 1
    return Selection(
        code=body.code,
        driver=body.driver,
        source=body.source,
        ids=None if body.ids is None else frozenset(body.ids),
        before=until if body.before is None else min(body.before, until),
        after=body.after,
    )


async def _in_slices(act: Callable[[], Awaitable[int]]) -> tuple[int, bool]:
    """How many ``act`` did in all, and whether it may have more to do."""
    total = 0
    for _ in range(MOST_SLICES):
        count = await act()
        total += count
        if count < AT_ONCE:
            return total, False
    return total, True
