"""Accepting writes: validate, encode, enter in the journal, answer 202."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import uuid_utils
from fastapi import APIRouter, Request, Response

from api.body import parse_json, read_json, validate
from api.commit import Entry
from api.direct import Direct
from api.models import DeleteIn, MemoriesIn, MemoryIn
from api.openapi import body_of
from api.problems import Problem, invalid
from api.selection import path_id
from api.state import State, namespace_of, state_of
from api.views import job_view
from backends.journal import Drop, Put, encode_write
from backends.sources import Source
from memrelay.jobs import Job, JobId, deliver_queue
from memrelay.times import now_us
from memrelay.types import Lane, vector_to_bytes

router = APIRouter(prefix="/v1", route_class=Direct)
DEFAULT_WAIT = 5.0
MAX_WAIT = 60.0


@router.post("/memories", status_code=202, openapi_extra=body_of(MemoriesIn))
async def add_memories(request: Request) -> Response:
    """Take in 1 to 1,000 memories. All or none: one bad memory is 422 for all, with pointers."""
    state = state_of(request)
    raw = await read_json(request, state.settings.body_limit)
    body = validate(MemoriesIn, parse_json(raw))
    source = state.source(body.source)
    now = now_us()
    puts = [to_put(memory, source, now, f"/memories/{i}") for i, memory in enumerate(body.memories)]
    ids = [put.id for put in puts]
    writes = [encode_write(put) for put in puts]
    return await _accept(request, source, body.lane, ids=ids, writes=writes, raw=raw)


@router.delete("/memories/{id:path}", status_code=202)
async def delete_memory(request: Request, id: str, source: str = "default") -> Response:
    """Delete one memory, whether or not it is there already."""
    state = state_of(request)
    return await _delete(request, state.source(source), [path_id(request, id)])


@router.post("/memories/delete", status_code=202, openapi_extra=body_of(DeleteIn))
async def delete_memories(request: Request) -> Response:
    """Delete memories by id."""
    state = state_of(request)
    raw = await read_json(request, state.settings.body_limit)
    body = validate(DeleteIn, parse_json(raw))
    return await _delete(request, state.source(body.source), body.ids, raw)


async def _delete(
    request: Request, source: Source, ids: Sequence[str], raw: bytes = b""
) -> Response:
    writes = [encode_write(Drop(id)) for id in ids]
    return await _accept(request, source, "interactive", ids=ids, writes=writes, raw=raw)


def to_put(memory: MemoryIn, source: Source, now: int, pointer: str) -> Put:
    """The write of a valid memory; 422 where it does not fit the source's embedding."""
    vector = None
    if memory.vector is not None:
        if source.embedder is not None:
            raise invalid([(f"{pointer}/vector", "this source embeds texts itself; leave it out")])
        if len(memory.vector) != source.space.dimensions:
            raise invalid([(f"{pointer}/vector", f"needs {source.space.dimensions} numbers")])
        vector = vector_to_bytes(memory.vector)
    elif source.embedder is None:
        raise invalid([(f"{pointer}/vector", "this source needs a vector with each memory")])
    created_at = memory.created_at if memory.created_at is not None else now
    return Put(
        memory.id or str(uuid_utils.uuid7()),
        memory.text,
        memory.user_id,
        memory.session_id,
        tuple(memory.tags),
        memory.metadata,
        created_at,
        memory.expires_at,
        vector,
    )


async def _accept(
    request: Request,
    source: Source,
    lane: Lane,
    *,
    ids: Sequence[str],
    writes: Sequence[bytes],
    raw: bytes,
) -> Response:
    state = state_of(request)
    namespace = namespace_of(request)
    wait = _wait_seconds(request)
    key = request.headers.get("idempotency-key", "")
    if len(key) > 256:
        raise Problem(422, "invalid", "Idempotency-Key is longer than 256 characters.")
    entered = await state.commit.enter(
        Entry(
            namespace=namespace,
            source=source.name,
            queue=deliver_queue(lane),
            drivers=tuple(source.settings.drivers),
            writes=writes,
            key=hashlib.sha256(key.encode()).hexdigest() if key else "",
            body_hash=_body_hash(request, raw) if key else "",
            answer=msgspec.json.encode(list(ids)) if key else b"",
        )
    )
    if entered.answer is not None:
        ids = msgspec.json.decode(entered.answer, type=list[str])
    job_id = str(JobId(entered.first, len(ids)))
    job = await _waited(state, namespace, job_id, wait) if wait else None
    view: dict[str, Any] = {
        "id": job_id,
        "status": "accepted",
        "source": source.name,
        "lane": lane,
        "total": len(ids),
    }
    body = {
        "job": view if job is None else job_view(job),
        "memories": [{"id": id, "version": entered.first + i} for i, id in enumerate(ids)],
    }
    return Response(
        msgspec.json.encode(body),
        200 if job is not None and job.primary_settled else 202,
        headers={"Location": f"/v1/jobs/{job_id}"},
        media_type="application/json",
    )


async def _waited(state: State, namespace: str, job_id: str, seconds: float) -> Job | None:
    return await state.waiters.wait(namespace, job_id, lambda job: job.primary_settled, seconds)


def _wait_seconds(request: Request) -> float:
    """``?wait=stored&timeout=5s`` in seconds; 0 without ``wait``."""
    if not request.scope["query_string"]:
        return 0.0
    wanted = request.query_params.get("wait")
    if wanted is None:
        return 0.0
    if wanted != "stored":
        raise invalid([("/wait", "can only be: stored")])
    raw = request.query_params.get("timeout", f"{DEFAULT_WAIT}s")
    try:
        seconds = float(raw.removesuffix("s"))
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_WAIT:
        raise invalid([("/timeout", f"above 0s, at most {MAX_WAIT:g}s")])
    return seconds


def _body_hash(request: Request, raw: bytes) -> str:
    """Over what makes a request the same one: method, path and body."""
    place = f"{request.method} {request.url.path}?{request.query_params.get('source', '')}\0"
    return hashlib.sha256(place.encode() + raw).hexdigest()
