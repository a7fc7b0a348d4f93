"""Named sources: what each is for and what it can do; and clearing the keys of one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.deleting import where
from api.direct import Direct
from api.keyed import keyed, named_source
from api.openapi import WRITES, operation
from api.problems import invalid
from api.state import State, state_of
from api.taking import accept
from backends.sources import Source
from memrelay.client.answers import Accepted, SourceInfo, Sources
from memrelay.filters import METADATA
from memrelay.keyvalue import KEY_FIELD

router = APIRouter(prefix="/v1", route_class=Direct)
SOURCE = {"source": "cache"}
ALWAYS = (
    "key_value_storage",
    "pattern_matching",
    "ttl_expiration",
    "metadata_storage",
    "tags",
    "filters",
    "atomic_operations",
    "bulk_operations",
)
QUERY_FORMAT: dict[str, Any] = {
    "description": "A string, or an object with query, pattern and filter",
    "search_patterns": {
        "*": "every key",
        "user:*": "keys that match the glob: * is any characters, ? any one",
        "user": "keys that contain the word; if none does, values that have it",
        "where does Ana sit?": "values that fit the words and their meaning",
    },
    "query_examples": [
        {"query": {"pattern": "user:*"}, "description": "keys by pattern"},
        {"query": {"query": "window seats"}, "description": "values by what they say"},
        {
            "query": {"query": "seats", "filter": {"tags": "travel"}},
            "description": "the same, of those with a tag; metadata.<field> likewise",
        },
    ],
}


@router.get("/sources", openapi_extra=operation(Sources))
async def get_sources(request: Request) -> Response:
    """Every source: what it is for, its drivers, and what can be asked of it."""
    state = state_of(request)
    views = [_view(state, source) for source in state.sources.by_name.values()]
    return Response(msgspec.json.encode({"sources": views}), media_type="application/json")


@router.get("/sources/{source}", openapi_extra=operation(SourceInfo, example=SOURCE))
async def get_source(request: Request, source: str) -> Response:
    """One source; ``_`` is the default one."""
    state = state_of(request)
    view = _view(state, named_source(state, source))
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.delete(
    "/sources/{source}",
    status_code=202,
    openapi_extra=operation(
        Accepted, status=(202, 200), takes=WRITES, example={"source": "cache", "confirm": "true"}
    ),
)
async def clear_source(
    request: Request, source: str, confirm: str = "", namespace: str | None = None
) -> Response:
    """Delete all keys of a source that were accepted before, in every namespace or in one.

    Needs ``?confirm=true``. Memories that were not stored under a key stay: ``POST /v1/memories/purge``.
    """
    place = keyed(request, source, namespace or "")
    if confirm != "true":
        raise invalid([("/confirm", "must be true: this deletes all keys")])
    chosen: dict[str, Any] = {f"{METADATA}{KEY_FIELD}": {"$exists": True}}
    if namespace is not None:
        chosen["user_id"] = place.space.user_id
    text = json.dumps(chosen, ensure_ascii=False, separators=(",", ":"))
    return await accept(request, where(place.source, text), text.encode())


def _view(state: State, source: Source) -> dict[str, Any]:
    drivers = state.settings.drivers
    return {
        "name": source.name,
        "default": source.name == state.sources.default,
        "description": source.settings.description,
        "drivers": [
            {"name": store.name, "type": str(drivers[store.name].get("type", store.name))}
            for store in source.stores
        ],
        "embedding": source.settings.embedding,
        "dimensions": source.space.dimensions,
        "filterable": source.settings.filterable,
        "options": source.settings.options,
        "capabilities": _capabilities(source),
        "query_format": QUERY_FORMAT,
    }


def _capabilities(source: Source) -> list[str]:
    keyword = any(store.driver.capabilities.keyword for store in source.serving)
    some = {
        "semantic_search": source.embedder is not None,
        "keyword_search": keyword,
        "vectors_from_callers": source.embedder is None,
        "replication": len(source.stores) > 1,
    }
    return [*ALWAYS, *(name for name, holds in some.items() if holds)]
