"""Searching and counting keys: by what the values say, or by what the keys look like."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api import search
from api.answers import FoundKeys
from api.body import at_once, read_model, validate
from api.direct import Direct
from api.keyed import Keyed, keyed
from api.keylisting import list_keys
from api.keymodels import KeyCountIn, KeySearchIn, PatternText, QueryIn
from api.keyviews import entry_view
from api.models import MAX_TOP_K, Mode, QueryText, SearchIn, Strict
from api.openapi import operation
from api.problems import invalid
from api.state import state_of
from memrelay.client.answers import KeyCount
from memrelay.errors import Unavailable
from memrelay.filters import Compare, Filter, all_of, parse_filter
from memrelay.keyvalue import EVERY_KEY, KEY_FIELD, Pattern, pattern_of
from memrelay.types import Memory

router = APIRouter(prefix="/v1/sources/{source}", route_class=Direct)
SOURCE = {"source": "cache"}


class _TextIn(Strict):
    """A query as text."""

    query: QueryText


class _PatternIn(Strict):
    """A query as text without a blank."""

    query: PatternText


@dataclass(frozen=True, slots=True)
class Wanted:
    """A query, understood: ``text`` is looked for in the values, in ``mode``; ``pattern`` in the keys.

    With both, in the values only if no key has it.
    """

    text: str | None
    pattern: Pattern | None
    mode: Mode | None
    filter: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Result:
    """One key that was found; ``score`` is None where its key was looked for, not its value."""

    memory: Memory
    score: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """In the order in which they were found."""

    results: Sequence[Result]
    complete: bool


@router.post("/search", openapi_extra=operation(FoundKeys, body=KeySearchIn, example=SOURCE))
async def search_keys(request: Request, source: str) -> Response:
    """Keys with their values. See the schema for what a query can be.

    ``complete`` is false if there were too many keys to look through all of them in time.
    """
    body = await read_model(request, KeySearchIn, at_once(state_of(request).settings))
    place = keyed(request, source, body.namespace)
    found = await _search(place, _understood(body.query), body)
    results = _ordered(found.results, body.order_by)
    view = {
        "results": [_result_view(result, body) for result in results],
        "complete": found.complete,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.post("/count", openapi_extra=operation(KeyCount, body=KeyCountIn, example=SOURCE))
async def count_keys(request: Request, source: str) -> Response:
    """How many keys match a pattern and a filter."""
    body = await read_model(request, KeyCountIn, at_once(state_of(request).settings))
    place = keyed(request, source, body.namespace)
    wanted = _understood(body.query)
    if wanted.pattern is None:
        raise invalid(
            [("/query/query", "what is said in the values has no number; give a pattern")]
        )
    chosen = _chosen(place, wanted)
    if wanted.pattern is EVERY_KEY:
        number = await _count_all(place, chosen)
    else:
        number = await _count_matching(place, wanted.pattern, chosen)
    return Response(msgspec.json.encode({"count": number}), media_type="application/json")


def _understood(query: str | dict[str, Any]) -> Wanted:
    """A word is a part of a key, or else a word in a value; more words are looked for in the values."""
    if isinstance(query, dict):
        asked = validate(QueryIn, query, "/query")
        pattern = pattern_of(asked.pattern) if asked.pattern is not None else EVERY_KEY
        return Wanted(asked.query, None if asked.query else pattern, None, asked.filter)
    if any(character.isspace() for character in query):
        return Wanted(validate(_TextIn, {"query": query}).query, None, None, None)
    pattern = pattern_of(validate(_PatternIn, {"query": query}).query)
    return Wanted(None if pattern.wild else query, pattern, "keyword", None)


def _chosen(place: Keyed, wanted: Wanted) -> Filter | None:
    if wanted.filter is None:
        return None
    return parse_filter(wanted.filter, place.source.settings.filterable, pointer="/query/filter")


async def _search(place: Keyed, wanted: Wanted, body: KeySearchIn) -> Found:
    chosen, complete = _chosen(place, wanted), True
    if wanted.pattern is not None:
        depth = body.offset + body.limit
        listed = await list_keys(
            place, wanted.pattern, chosen, limit=depth, seconds=place.patience / 2
        )
        found = [Result(memory, None) for memory in listed.memories]
        complete = len(found) == depth or listed.after is None
        if found or wanted.text is None:
            return Found(found[body.offset :], complete)
    return Found(await _in_values(place, wanted, body), complete)


async def _in_values(place: Keyed, wanted: Wanted, body: KeySearchIn) -> Sequence[Result]:
    stores = place.source.stores
    if wanted.mode == "keyword" and not any(s.driver.capabilities.keyword for s in stores):
        return []
    asked = SearchIn.model_construct(
        source=place.source.name,
        query=wanted.text,
        mode=wanted.mode,
        user_id=place.space.user_id,
        filter=wanted.filter,
        offset=body.offset,
        top_k=body.limit,
    )
    found = await search.run(place.state, asked, place.tenant, time.monotonic())
    hits = [hit for hit in found.hits if place.space.holds(hit.memory)]
    return [Result(hit.memory, hit.score) for hit in hits[body.offset :]]


def _ordered(results: Sequence[Result], order_by: str | None) -> Sequence[Result]:
    match order_by:
        case "key":
            return sorted(results, key=lambda result: result.memory.id)
        case "stored_at":
            return sorted(results, key=lambda result: result.memory.created_at)
        case "score":
            return sorted(results, key=lambda result: -(result.score or 0.0))
    return results


def _result_view(result: Result, body: KeySearchIn) -> dict[str, Any]:
    view = entry_view(result.memory, include_metadata=body.include_metadata)
    return view if result.score is None else view | {"score": result.score}


async def _count_all(place: Keyed, chosen: Filter | None) -> int:
    own = (
        Compare("user_id", "$eq", place.space.user_id),
        Compare(f"metadata.{KEY_FIELD}", "$exists", True),
    )
    everything = all_of([*own, chosen])
    answer = await place.read(
        lambda reader, stores: reader.count(stores, everything, seconds=place.patience)
    )
    return answer.value.value


async def _count_matching(place: Keyed, pattern: Pattern, chosen: Filter | None) -> int:
    number, after = 0, None
    until = time.monotonic() + place.patience
    while time.monotonic() < until:
        listed = await list_keys(
            place, pattern, chosen, after=after, limit=MAX_TOP_K, seconds=place.patience
        )
        number, after = number + len(listed.memories), listed.after
        if after is None:
            return number
    raise Unavailable("there are too many keys to count them in time", code="count_timeout")
