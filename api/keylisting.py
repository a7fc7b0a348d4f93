"""Going through keys in their order, a page of the store at a time, until enough are found."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter, ValidationError

from api.direct import Direct
from api.keyed import Keyed, keyed
from api.keymodels import MAX_KEYS, PatternText
from api.openapi import operation
from api.problems import from_validation, invalid
from api.reader import Stretch
from backends.parts import PAGE
from memrelay.client.answers import KeyPage
from memrelay.filters import Filter, matches
from memrelay.keyvalue import KeySpace, Pattern, just_before, key_of, pattern_of
from memrelay.types import Memory

router = APIRouter(prefix="/v1/sources/{source}", route_class=Direct)
FIRST = 64
"""Memories in the first page; each is twice the one before, up to ``PAGE``: values may be large."""
_pattern: TypeAdapter[str] = TypeAdapter(PatternText)


@dataclass(frozen=True, slots=True)
class Listed:
    """Keys in the order of their ids; ``after`` is the id to go on from, None at the end."""

    memories: Sequence[Memory]
    after: str | None


@router.get(
    "/keys", openapi_extra=operation(KeyPage, example={"source": "cache", "pattern": "user:*"})
)
async def get_keys(
    request: Request,
    source: str,
    *,
    pattern: str = "*",
    limit: int = 100,
    cursor: str | None = None,
    namespace: str = "",
) -> Response:
    """Keys in order. ``pattern``: a glob over the whole key (``*``, ``?``), or else a part of it.

    ``cursor`` is the one that the page before gave, None at the end. A page may have fewer keys than
    ``limit``, when looking for those that match took long, and a cursor all the same.
    """
    place = keyed(request, source, namespace)
    if not 1 <= limit <= MAX_KEYS:
        raise invalid([("/limit", f"1 to {MAX_KEYS}")])
    try:
        wanted = pattern_of(_pattern.validate_python(pattern))
    except ValidationError as error:
        raise from_validation(error, "/pattern") from None
    after = None if cursor is None else _after(cursor, place.space)
    listed = await list_keys(place, wanted, after=after, limit=limit, seconds=place.patience / 2)
    view: dict[str, Any] = {
        "keys": [key_of(memory) for memory in listed.memories],
        "cursor": None if listed.after is None else _cursor(listed.after),
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


async def list_keys(
    place: Keyed,
    pattern: Pattern,
    chosen: Filter | None = None,
    *,
    after: str | None = None,
    limit: int,
    seconds: float,
) -> Listed:
    """The next ``limit`` keys; fewer at the end, or when ``seconds`` are over: then ``after`` says where.

    Only ids that begin as the pattern does are read.
    """
    start = place.space.start_of(pattern.prefix)
    at = max(after or "", just_before(start))
    found: list[Memory] = []
    size, until = FIRST, time.monotonic() + seconds
    while True:
        stretch = await _next(place, at, size)
        for memory in stretch.memories:
            if not _wanted(place.space, start, memory, pattern, chosen):
                continue
            if len(found) == limit:
                return Listed(found, found[-1].id)
            found.append(memory)
        if stretch.after is None or _beyond(stretch.after, start):
            return Listed(found, None)
        if time.monotonic() > until:
            return Listed(found, stretch.after)
        at, size = stretch.after, min(2 * size, PAGE)


async def _next(place: Keyed, after: str, limit: int) -> Stretch:
    answer = await place.read(
        lambda reader, stores: reader.find(
            stores, None, after=after, limit=limit, seconds=place.patience
        )
    )
    return answer.value.value


def _wanted(
    space: KeySpace, start: str, memory: Memory, pattern: Pattern, chosen: Filter | None
) -> bool:
    return (
        memory.id.startswith(start)
        and space.holds(memory)
        and bool(pattern.matches(key_of(memory)))
        and matches(chosen, memory)
    )


def _beyond(id: str, start: str) -> bool:
    return id > start and not id.startswith(start)


def _cursor(id: str) -> str:
    return base64.urlsafe_b64encode(id.encode()).decode().rstrip("=")


def _after(cursor: str, space: KeySpace) -> str:
    """The id in a cursor of ours; 422 for any other."""
    try:
        id = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        text = id.decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(space.head):
        raise invalid([("/cursor", "not one of ours")])
    return text
