"""Many keys in one request: stored all or none, retrieved as far as they are there, deleted."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import at_once, read_model_and_raw
from api.direct import Direct
from api.keyed import Keyed, keyed, must_be_new
from api.keymodels import BatchIn, ItemIn
from api.keys import check_stored, drops_of, put_in, writes_of
from api.keyviews import entry_view, stored_view
from api.openapi import WRITES, operation
from api.state import state_of
from api.taking import Taken
from memrelay.client.answers import DeletedKeys, KeyEntries, StoredKeys
from memrelay.times import now_us

router = APIRouter(prefix="/v1/sources/{source}", route_class=Direct)
SOURCE = {"source": "cache"}


@router.post(
    "/batch",
    openapi_extra=operation(
        KeyEntries,
        StoredKeys,
        DeletedKeys,
        status=(200, 202),
        body=BatchIn,
        takes=WRITES,
        example=SOURCE,
    ),
)
async def batch(request: Request, source: str) -> Response:
    """Store, retrieve or delete up to 1,000 keys, in at most 1 MiB.

    ``store`` waits as ``PUT`` does and answers ``results`` in order; ``retrieve`` answers ``entries`` by
    key, those that are there; ``delete`` answers how many of the keys were there.
    """
    limit = at_once(state_of(request).settings)
    body, raw = await read_model_and_raw(request, BatchIn, limit)
    place = keyed(request, source, body.namespace)
    if body.store is not None:
        return await _store(place, body.store, raw)
    if body.delete is not None:
        return await _delete(place, body.delete, raw)
    found = await place.get(body.retrieve or [])
    return _answer({"entries": {key: entry_view(memory) for key, memory in found.items()}}, None)


async def _store(place: Keyed, items: list[ItemIn], raw: bytes) -> Response:
    now = now_us()
    puts = [
        put_in(place, item.key, item, now, f"/store/{index}") for index, item in enumerate(items)
    ]
    conditions = {item.key: must_be_new for item in items if not item.overwrite}
    taken = await place.write(writes_of(place, puts), raw, conditions, wait=True)
    check_stored(taken)
    memories = (put.memory(place.source.name, taken.first + at) for at, put in enumerate(puts))
    return _answer({"results": [stored_view(memory) for memory in memories]}, taken)


async def _delete(place: Keyed, keys: list[str], raw: bytes) -> Response:
    there = await place.get(keys)
    taken = await place.write(drops_of(place, keys), raw, {}, wait=False)
    return _answer({"deleted": len(there)}, taken)


def _answer(view: dict[str, Any], taken: Taken | None) -> Response:
    if taken is None:
        return Response(msgspec.json.encode(view), media_type="application/json")
    return Response(
        msgspec.json.encode(view | {"job": taken.view}),
        200 if taken.settled else 202,
        headers={"Location": f"/v1/jobs/{taken.id}"},
        media_type="application/json",
    )
