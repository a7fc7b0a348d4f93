"""Dead letters: what was given up, by cause; looked at, put on its road again, or given up for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from api import dead_letters
from api.audit import note
from api.body import validate
from api.dashboard.form import read_fields, read_form
from api.dashboard.live import Look, shown
from api.dashboard.page import Page, fragment, page, see_other, viewer_of
from api.dead_letters import Done, page_of
from api.feeds import News
from api.models import DeadLettersIn, ResumeIn
from api.problems import invalid
from api.state import State, namespace_of, state_of
from backends.journal import Put, dead
from backends.journal.alarms import alarms, resume
from backends.journal.dead import DeadLetter, Selection
from backends.journal.usage import clock
from memrelay.jobs import JobId

router = APIRouter(route_class=Page, include_in_schema=False)
PATH = "/ui/dead-letters"
LETTERS = 20
VERSION_DIGITS = 16

type Act = Callable[[State, str, Selection], Awaitable[Done]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with the memory that died; None where a delete did."""

    it: DeadLetter
    memory: Put | None


@dataclass(frozen=True, slots=True)
class Cause:
    """A group. ``share`` is its part of all dead letters, in hundredths."""

    code: str
    count: int
    share: float


@router.get(PATH)
async def get_dead_letters(request: Request) -> Response:
    """The causes with their counts, and the newest letters, of one cause if it is asked for."""
    state, viewer = state_of(request), viewer_of(request)
    code = request.query_params.get("code", "")
    below = _number(request.query_params.get("below", ""))
    news = await shown(live, state, Look("dead-letters", code, viewer))
    where = Selection(code=code or None)
    letters = await page_of(state, viewer.namespace, where, below=below, limit=LETTERS)
    last = letters[-1].version if len(letters) == LETTERS else None
    return page(
        request,
        "dead_letters.html",
        live=news.text,
        code=code,
        letters=[_shown(letter) for letter in letters],
        first=_address(code) if below else None,
        next=_address(code, below=last) if last else None,
        told=_told(request),
    )


async def live(state: State, look: Look) -> News:
    """The alarms, and the causes with their counts."""
    counts = await dead.by_cause(state.journal, look.viewer.namespace)
    total = sum(counts.values())
    text = fragment(
        "dead_letters_live.html",
        causes=[Cause(code, n, round(100 * n / total, 1)) for code, n in counts.items()],
        total=total,
        alarms=await state.alarms(look.viewer.namespace),
        code=look.id,
        viewer=look.viewer,
    )
    return News(text)


@router.post(PATH + "/replay")
async def replay_letters(request: Request) -> Response:
    """Put the chosen letters on their road again."""
    return await _act(request, "replayed", dead_letters.replay)


@router.post(PATH + "/delete")
async def delete_letters(request: Request) -> Response:
    """Give the chosen letters up for good."""
    return await _act(request, "deleted", dead_letters.delete)


@router.post(PATH + "/resume")
async def resume_stage(request: Request) -> Response:
    """End one alarm."""
    state = state_of(request)
    body = validate(ResumeIn, {"stage": (await read_form(request)).get("stage")})
    if body.stage in await alarms(state.journal):
        await resume(state.journal, [body.stage])
        note(request, stages=body.stage)
    return see_other(PATH)


async def _act(request: Request, what: str, act: Act) -> Response:
    state, namespace = state_of(request), namespace_of(request)
    fields = await read_fields(request)
    done = await act(state, namespace, await _selection(fields, state))
    note(request, letters=done.count)
    told = {"did": what, "count": done.count, "more": int(done.more)}
    if len(done.jobs) == 1:
        told["job"] = str(done.jobs[0])
    return see_other(_address(dict(fields).get("back", ""), **told))


async def _selection(fields: Sequence[tuple[str, str]], state: State) -> Selection:
    """The letters that were ticked, or those of a cause, or all; of what had died before the request."""
    before = await clock(state.journal) + 1
    kind = dict(fields).get("of")
    if kind == "all":
        return Selection(before=before)
    if kind == "cause":
        body = validate(DeadLettersIn, {"code": dict(fields).get("code")})
        return Selection(code=body.code, before=before)
    versions = {_number(value) for name, value in fields if name == "version"}
    if not versions or None in versions or kind != "ticked":
        raise invalid([("/version", "choose one of the letters at least")])
    return Selection(versions=frozenset(v for v in versions if v is not None), before=before)


def _shown(letter: DeadLetter) -> Letter:
    return Letter(letter, letter.write if isinstance(letter.write, Put) else None)


def _address(code: str, **values: object) -> str:
    given = {"code": code} | values
    query = urlencode({name: str(value) for name, value in given.items() if value})
    return f"{PATH}?{query}" if query else PATH


def _number(text: str) -> int | None:
    sane = text.isascii() and text.isdigit() and len(text) <= VERSION_DIGITS
    return int(text) if sane else None


@dataclass(frozen=True, slots=True)
class Told:
    """What a form has done, as the address of the page that follows says it."""

    what: str
    count: int
    more: bool
    job: str | None


def _told(request: Request) -> Told | None:
    given = request.query_params
    count = _number(given.get("count", "0"))
    if given.get("did") not in ("replayed", "deleted") or count is None:
        return None
    job = JobId.parse(given.get("job", ""))
    return Told(given["did"], count, given.get("more") == "1", str(job) if job else None)
