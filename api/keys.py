"""One key: store, retrieve, delete; ``If-Match`` for updates that lose nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import at_once, read_model_and_raw
from api.direct import Direct
from api.keyed import Keyed, if_match, keyed, must_be_new
from api.keymodels import ValueIn
from api.keyviews import entry_view, stored_view
from api.models import MemoryIn
from api.openapi import IF_MATCH, WRITES, operation
from api.problems import Problem, not_found
from api.reading import put_of
from api.selection import path_id
from api.taking import Taken, Writes
from backends.journal import Drop, Put, encode_write
from memrelay.client.answers import DeletedKey, KeyEntry, StoredKey
from memrelay.keyvalue import fields_of, text_of
from memrelay.times import now_us

router = APIRouter(prefix="/v1/sources/{source}", route_class=Direct)
KEY = {"source": "cache", "key": "user:1"}


@router.put(
    "/keys/{key:path}",
    openapi_extra=operation(
        StoredKey, status=(200, 202), body=ValueIn, takes=[*WRITES, IF_MATCH], example=KEY
    ),
)
async def store_key(request: Request, source: str, key: str, namespace: str = "") -> Response:
    """Store a value under a key, and wait until it can be read (``?wait=none``: do not, ``?timeout=5s``).

    200 once it is stored, 202 if that takes longer. ``ETag`` is its version, for ``If-Match``: 412 if
    the key has another one by then. 409 with ``overwrite: false`` if it is there.
    """
    place = keyed(request, source, namespace)
    key = path_id(request, key, "/key")
    body, raw = await read_model_and_raw(request, ValueIn, at_once(place.state.settings))
    put = put_in(place, key, body, now_us(), "")
    matching = if_match(request)
    conditions = {key: matching} if matching else {} if body.overwrite else {key: must_be_new}
    taken = await place.write(writes_of(place, [put]), raw, conditions, wait=True)
    check_stored(taken)
    view = stored_view(put.memory(place.source.name, taken.first)) | {"job": taken.view}
    return _answer(taken, view, {"ETag": f'"{taken.first}"'})


@router.get("/keys/{key:path}", openapi_extra=operation(KeyEntry, example=KEY))
async def retrieve_key(request: Request, source: str, key: str, namespace: str = "") -> Response:
    """The value of a key, with what was stored beside it. ``ETag`` is its version."""
    place = keyed(request, source, namespace)
    memory = (await place.get([path_id(request, key, "/key")])).get(key)
    if memory is None:
        raise not_found()
    return Response(
        msgspec.json.encode(entry_view(memory)),
        headers={"ETag": f'"{memory.version}"'},
        media_type="application/json",
    )


@router.head("/keys/{key:path}", openapi_extra=operation(example=KEY))
async def has_key(request: Request, source: str, key: str, namespace: str = "") -> Response:
    """Whether a key is there: 200 or 404, as ``GET`` without the body."""
    return await retrieve_key(request, source, key, namespace)


@router.delete(
    "/keys/{key:path}",
    status_code=202,
    openapi_extra=operation(DeletedKey, status=(202, 200), takes=[*WRITES, IF_MATCH], example=KEY),
)
async def delete_key(request: Request, source: str, key: str, namespace: str = "") -> Response:
    """Delete a key, whether or not it is there: it is gone at once. ``?wait=stored`` waits for the store."""
    place = keyed(request, source, namespace)
    key = path_id(request, key, "/key")
    matching = if_match(request)
    conditions = {key: matching} if matching else {}
    taken = await place.write(drops_of(place, [key]), b"", conditions, wait=False)
    return _answer(taken, {"key": key, "status": "deleted", "job": taken.view}, {})


def put_in(place: Keyed, key: str, body: ValueIn, now: int, pointer: str) -> Put:
    """The memory that keeps a value; 422 where it does not fit the source's embedding."""
    memory = MemoryIn.model_construct(
        id=place.space.id_of(key),
        text=text_of(body.value),
        user_id=place.space.user_id,
        tags=body.tags,
        metadata=body.metadata | fields_of(key, body.value),
        expires_at=None if body.ttl_ms is None else now + 1000 * body.ttl_ms,
        vector=body.vector,
    )
    return put_of(memory, place.source.brought, now, pointer)


def writes_of(place: Keyed, puts: list[Put]) -> Writes:
    ids = [put.id for put in puts]
    return Writes(
        source=place.source,
        lane="interactive",
        ids=ids,
        encoded=[encode_write(put) for put in puts],
        noted=ids,
    )


def drops_of(place: Keyed, keys: list[str]) -> Writes:
    ids = [place.space.id_of(key) for key in keys]
    return Writes(
        source=place.source,
        lane="interactive",
        ids=ids,
        encoded=[encode_write(Drop(id)) for id in ids],
        drops=ids,
        noted=ids,
    )


def check_stored(taken: Taken) -> None:
    """422 with the cause if the primary, or the model before it, refused a value for good."""
    job = taken.job
    if job is not None and job.counts[job.primary].canceled:
        raise Problem(409, "canceled", "It was canceled before it was stored.")
    if job is not None and job.counts[job.primary].failed:
        cause = next((error for error in job.errors if error.driver == job.primary), None)
        code = cause.code if cause else "refused"
        raise Problem(422, code, cause.detail if cause else "The store refused the value.")


def _answer(taken: Taken, view: dict[str, Any], headers: dict[str, str]) -> Response:
    return Response(
        msgspec.json.encode(view),
        200 if taken.settled else 202,
        headers={"Location": f"/v1/jobs/{taken.id}"} | headers,
        media_type="application/json",
    )
