"""Search playground: one query as the service answers it and as each driver does, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from api.body import parse_json, validate
from api.dashboard.comparison import Column, ask, compare
from api.dashboard.page import Page, page
from api.models import SearchIn
from api.problems import Problem, invalid, of
from api.selection import selection
from api.state import State, namespace_of, state_of
from memrelay.errors import MemrelayError

router = APIRouter(route_class=Page, include_in_schema=False)
MODES = ("", "hybrid", "semantic", "keyword")
TOP_K = 10
MOST_SHOWN = 50
FIELDS = ("query", "source", "user_id", "mode", "filter", "top_k")


@dataclass(frozen=True, slots=True)
class Form:
    """What the form holds, as it was filled in, and what is wrong with it by field."""

    values: Mapping[str, str]
    drivers: Sequence[str]
    errors: Mapping[str, str]


@router.get("/ui/search")
async def get_search(request: Request) -> Response:
    """The form, and below it the answers if it was filled in."""
    state = state_of(request)
    values = {name: request.query_params.get(name, "").strip() for name in FIELDS}
    source = state.sources.named(values["source"] or "default") or state.source("default")
    chosen = [store.name for store in source.stores]
    named = set(request.query_params.getlist("driver")) & set(chosen)
    drivers = [name for name in chosen if name in named] or chosen
    body, errors = _read(values, state) if values["query"] else (None, {})
    columns: Sequence[Column] = []
    if body is not None:
        columns = await _answers(state, body, namespace_of(request), drivers)
    return page(
        request,
        "search.html",
        422 if errors else 200,
        form=Form(values, drivers, errors),
        sources=state.sources.by_name.values(),
        source=source,
        columns=columns,
        modes=MODES,
        top_k=TOP_K,
        most=MOST_SHOWN,
    )


async def _answers(
    state: State, body: SearchIn, namespace: str, drivers: Sequence[str]
) -> Sequence[Column]:
    """The service's own answer first, then that of each driver; all are asked at once."""
    asked = [body, *(body.model_copy(update={"drivers": [name]}) for name in drivers)]
    answers = await asyncio.gather(*(ask(state, one, namespace) for one in asked))
    return compare(answers, body.query or "")


def _read(values: Mapping[str, str], state: State) -> tuple[SearchIn | None, dict[str, str]]:
    """The request that ``POST /v1/search`` would be sent for the form; or what is wrong, by field."""
    try:
        body = validate(SearchIn, _wanted(values))
        if body.top_k > MOST_SHOWN:
            raise invalid([("/top_k", f"1 to {MOST_SHOWN}")])
        selection(body, state.source(body.source))
    except (Problem, MemrelayError) as error:
        return None, _by_field(of(error))
    return body, {}


def _wanted(values: Mapping[str, str]) -> dict[str, Any]:
    wanted: dict[str, Any] = {name: values[name] for name in FIELDS if values[name]}
    if "top_k" in wanted:
        if not (values["top_k"].isascii() and values["top_k"].isdigit()):
            raise invalid([("/top_k", f"a number, 1 to {MOST_SHOWN}")])
        wanted["top_k"] = int(values["top_k"][:9])
    if "filter" in wanted:
        try:
            wanted["filter"] = parse_json(values["filter"].encode(), "The filter")
        except Problem as problem:
            raise invalid([("/filter", problem.detail)]) from None
    return wanted


def _by_field(problem: Problem) -> dict[str, str]:
    """One text for each field; a pointer into the filter is told with it."""
    told: dict[str, str] = {}
    for pointer, detail in problem.errors or [("/query", problem.detail)]:
        field, _, inside = pointer.removeprefix("/").partition("/")
        text = f"{inside}: {detail}" if inside else detail
        told.setdefault(field if field in FIELDS else "query", text)
    return told
