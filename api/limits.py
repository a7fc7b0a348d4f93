"""Limits and usage: what may be sent, how much may wait, and what waits."""

from __future__ import annotations

from dataclasses import asdict

import msgspec
from fastapi import APIRouter, Request, Response

from api import feeds, importing, keymodels, models, reading
from api.answers import Limits
from api.body import MOST_KEYS, at_once
from api.connection import HEAD_BYTES
from api.deleting import FILTER_BYTES
from api.direct import Direct
from api.openapi import operation
from api.state import namespace_of, state_of
from backends.journal import dead
from backends.journal.usage import consumed, usage
from memrelay.client.answers import Usage
from memrelay.filters import MAX_DEPTH, MAX_NODES, MAX_VALUES
from memrelay.jobs import MAX_COUNT

router = APIRouter(prefix="/v1", route_class=Direct)


@router.get("/limits", openapi_extra=operation(Limits))
async def get_limits(request: Request) -> Response:
    """What a request may hold, and how much may wait to be stored before writes are 429."""
    settings = state_of(request).settings
    view = {
        "request": {
            "head_bytes": HEAD_BYTES,
            "body_bytes": settings.body_limit,
            "other_body_bytes": at_once(settings),
            "object_keys": MOST_KEYS,
            "memories": MAX_COUNT,
            "import_line_bytes": reading.LINE_BYTES,
            "import_bytes": importing.TOTAL_BYTES,
            "import_ratio": importing.RATIO,
            "import_refused": importing.MOST_REFUSED,
        },
        "memory": {
            "text_bytes": models.TEXT_BYTES,
            "metadata_bytes": models.METADATA_BYTES,
            "metadata_depth": models.METADATA_DEPTH,
            "id_characters": models.ID_CHARACTERS,
            "tags": models.MAX_TAGS,
            "tag_characters": models.TAG_CHARACTERS,
            "dimensions": models.MAX_DIMENSIONS,
        },
        "key": {
            "characters": models.ID_CHARACTERS,
            "namespace_characters": keymodels.NAMESPACE_CHARACTERS,
            "pattern_characters": keymodels.PATTERN_CHARACTERS,
            "value_bytes": models.TEXT_BYTES,
            "value_depth": models.METADATA_DEPTH,
            "ttl_ms": keymodels.MAX_TTL_MS,
            "batch": MAX_COUNT,
            "batch_bytes": at_once(settings),
            "list": keymodels.MAX_KEYS,
        },
        "search": {"top_k": models.MAX_TOP_K, "seconds": settings.search_timeout},
        "filter": {
            "conditions": MAX_NODES,
            "depth": MAX_DEPTH,
            "values": MAX_VALUES,
            "delete_bytes": FILTER_BYTES,
        },
        "waiting": {
            "bytes": settings.journal_bytes,
            "memories": settings.journal_memories,
            "namespace_bytes": settings.namespace_bytes,
            "namespace_memories": settings.namespace_memories,
            "driver_memories": settings.driver_backlog,
        },
        "streams": {"service": feeds.MOST_LISTENERS, "namespace": feeds.MOST_OF_ONE},
        "memories_per_second": settings.namespace_rate or None,
    }
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.get("/usage", openapi_extra=operation(Usage))
async def get_usage(request: Request) -> Response:
    """What of the namespace waits to be stored, what was given up, and what it has used since the beginning.

    ``total`` counts what was accepted, deletes aside; ``embedding_tokens`` are estimated, three bytes each.
    """
    state, namespace = state_of(request), namespace_of(request)
    waiting = await usage(state.journal, namespace)
    total = await consumed(state.journal, namespace)
    causes = await dead.by_cause(state.journal, namespace)
    view = {
        "namespace": namespace,
        "waiting": {"memories": waiting.memories, "bytes": waiting.bytes},
        "dead_letters": sum(causes.values()),
        "total": asdict(total),
    }
    return Response(msgspec.json.encode(view), media_type="application/json")
