"""Taking writes in: a request's writes are entered in the journal, and the caller is told of their job."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Request, Response
from msgspec.structs import replace

from api.commit import Entry
from api.problems import Problem, invalid
from api.state import State, namespace_of, state_of
from api.views import job_view
from backends import tracing
from backends.sources import Source
from memrelay.jobs import Job, JobId, deliver_queue
from memrelay.types import Lane

DEFAULT_WAIT = 5.0
MAX_WAIT = 60.0


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    """What a request writes to one source. ``ids`` are those of its memories, in the order of ``encoded``.

    ``drops`` are the ids of deletes; ``scoped`` is the filter of a delete by filter, the only write then.
    ``noted`` and all below it as in ``Entry``.
    """

    source: Source
    lane: Lane
    ids: Sequence[str]
    encoded: Sequence[bytes]
    drops: Sequence[str] = ()
    scoped: str = ""
    noted: Sequence[str] = ()
    expects: dict[str, int] = {}
    seen: int | None = None
    vectors: bytes = b""
    space: str = ""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Writes that the journal has. Their versions go up from ``first``; ``job`` if it was waited for."""

    writes: Writes
    first: int
    job: Job | None = None

    @property
    def id(self) -> str:
        return str(JobId(self.first, len(self.writes.encoded)))

    @property
    def settled(self) -> bool:
        return self.job is not None and self.job.primary_settled

    @property
    def view(self) -> dict[str, Any]:
        if self.job is not None:
            return job_view(self.job)
        return {
            "id": self.id,
            "status": "accepted",
            "source": self.writes.source.name,
            "lane": self.writes.lane,
            "total": len(self.writes.encoded),
        }


async def take(
    request: Request, writes: Writes, raw: bytes, *, part: str = "", default_wait: float = 0.0
) -> Taken:
    """Enter the writes under the request's Idempotency-Key, and wait if it says ``wait=stored``.

    ``part`` names one of several writes that a request makes. ``default_wait`` are the seconds to wait
    where the request says nothing.
    """
    state = state_of(request)
    namespace = namespace_of(request)
    wait = _wait_seconds(request, default_wait)
    key = _idempotency_key(request)
    entered = await state.commit.enter(
        Entry(
            namespace=namespace,
            source=writes.source.name,
            queue=deliver_queue(writes.lane),
            drivers=writes.source.settings.drivers,
            writes=writes.encoded,
            key=hashlib.sha256((key + part).encode()).hexdigest() if key else "",
            body_hash=_body_hash(request, raw) if key else "",
            answer=msgspec.json.encode(list(writes.ids)) if key else b"",
            drops=writes.drops,
            scoped=writes.scoped,
            noted=writes.noted,
            expects=writes.expects,
            trace=tracing.traceparent(),
            seen=writes.seen,
            vectors=writes.vectors,
            space=writes.space,
        )
    )
    if writes.drops or writes.scoped:
        state.lag.expect(namespace, writes.source.name)
    if entered.answer is not None:
        writes = replace(writes, ids=msgspec.json.decode(entered.answer, type=list[str]))
    taken = Taken(writes=writes, first=entered.first)
    if not wait:
        return taken
    return replace(taken, job=await _waited(state, namespace, taken.id, wait))


async def accept(request: Request, writes: Writes, raw: bytes) -> Response:
    """``take``, and the answer to it."""
    return answer_of(await take(request, writes, raw))


def answer_of(taken: Taken, headers: Mapping[str, str] | None = None) -> Response:
    """202, or 200 once the primary has an outcome for all of it."""
    versions, view = enumerate(taken.writes.ids, taken.first), taken.view
    body: dict[str, Any] = {
        "job": view,
        "memories": [{"id": id, "version": version} for version, id in versions],
    }
    if taken.writes.scoped:
        body["version"] = taken.first
    return Response(
        msgspec.json.encode(body),
        200 if taken.settled else 202,
        headers={"Location": f"/v1/jobs/{view['id']}", **(headers or {})},
        media_type="application/json",
    )


def _idempotency_key(request: Request) -> str:
    """Empty if there is none."""
    for name, value in request.scope["headers"]:
        if name == b"idempotency-key":
            if len(value) > 256:
                raise Problem(422, "invalid", "Idempotency-Key is longer than 256 characters.")
            key: str = value.decode("latin-1")
            return key
    return ""


async def _waited(state: State, namespace: str, job_id: str, seconds: float) -> Job | None:
    return await state.waiters.wait(namespace, job_id, lambda job: job.primary_settled, seconds)


def _wait_seconds(request: Request, default: float) -> float:
    """``?wait=stored&timeout=5s`` in seconds; 0 for ``wait=none``, ``default`` without either."""
    if not request.scope["query_string"]:
        return default
    wanted = request.query_params.get("wait", "stored" if default else "none")
    if wanted == "none":
        return 0.0
    if wanted != "stored":
        raise invalid([("/wait", "can only be: stored, none")])
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
