"""Changing a memory: a merge patch on what was accepted last of it, stored or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.body import JSON, MERGE_PATCH, at_once, parse_json, read_json, validate
from api.direct import Direct
from api.keyed import NEVER, TRIES, Condition, if_match
from api.models import MemoryIn, PatchIn
from api.openapi import IF_MATCH, WRITES, operation
from api.openapi import JSON as PLAIN
from api.openapi import MERGE_PATCH as MERGED
from api.problems import Problem, invalid, not_found
from api.reader import Record, reader_of
from api.reading import put_of
from api.selection import path_id
from api.state import State, namespace_of, state_of
from api.taking import Writes, answer_of, take
from backends.journal import Changed, Drop, Put, encode_vectors, encode_write
from backends.journal.accepted import accepted, newest_scoped
from backends.journal.marks import scoped_filter
from backends.sources import Source
from memrelay.client.answers import Accepted
from memrelay.filters import matches
from memrelay.times import format_time, now_us
from memrelay.types import Memory

router = APIRouter(prefix="/v1", route_class=Direct)


@dataclass(frozen=True, slots=True)
class Look:
    """A memory as it was accepted last, None if it is not there; and what must not change until it is
    written again: its last noted version, and the newest delete by user or filter."""

    found: Record | None
    noted: int
    seen: int


@dataclass(frozen=True, slots=True)
class Patching:
    """One request to change a memory."""

    state: State
    namespace: str
    source: Source
    id: str
    changes: Mapping[str, Any]
    matching: Condition | None

    async def look(self) -> Look:
        journal, place = self.state.journal, (self.namespace, self.source.name)
        seen = await newest_scoped(journal, *place)
        noted = (await journal.noted(*place, [self.id]))[self.id]
        space = self.source.spaces.active
        last = await accepted(journal, self.namespace, noted, space=space) if noted else None
        if last is None:
            return Look(await self._stored(), noted, seen)
        if not isinstance(last.write, Put):
            return Look(None, noted, seen)
        memory = last.write.memory(self.source.name, last.version)
        for line in await journal.scoped(*place, above=last.version):
            if matches(scoped_filter(line.filter), memory):
                return Look(None, noted, seen)
        return Look(Record(memory, last.vector), noted, seen)

    async def _stored(self) -> Record | None:
        seconds = self.state.settings.search_timeout
        answer = await self.state.read(
            self.source.name,
            lambda it: reader_of(self.state, it, self.namespace).record(
                it.stores, self.id, seconds=seconds
            ),
        )
        return answer.value.value

    def writes(self, look: Look) -> Writes:
        """What is to be entered; a problem if that cannot be: 404, 412, or 422 with pointers."""
        record = look.found
        if record is None or record.memory.expired(now_us()):
            raise not_found("memory")
        if self.matching is not None and (problem := self.matching(record.memory)) is not None:
            raise problem
        put, kept = _patched(self.source, record, self.changes)
        return Writes(
            source=self.source,
            lane="interactive",
            ids=[self.id],
            encoded=[encode_write(put)],
            noted=[self.id],
            expects={self.id: look.noted},
            seen=look.seen,
            vectors=encode_vectors({0: kept}) if kept else b"",
            space=self.source.spaces.active,
        )

    def never(self) -> Writes:
        """Is not entered, but answered if the request repeats another."""
        nothing = [encode_write(Drop(self.id))]
        return Writes(
            source=self.source,
            lane="interactive",
            ids=[self.id],
            encoded=nothing,
            expects={self.id: NEVER},
        )


@router.patch(
    "/memories/{id:path}",
    status_code=202,
    openapi_extra=operation(
        Accepted,
        status=(200, 202),
        body=PatchIn,
        sent=(MERGED, PLAIN),
        takes=(*WRITES, IF_MATCH),
        example={"id": "ana-seat"},
    ),
)
async def patch_memory(request: Request, id: str, source: str = "default") -> Response:
    """Change what is given of a memory, as it was accepted last: a merge patch (RFC 7396).

    Nobody's change gets lost: of two at once each is made on the other's. ``ETag`` is the new version;
    ``If-Match`` with another than the last accepted one is 412. Without a new text nothing is embedded again.
    """
    state = state_of(request)
    chosen, id = state.source(source), path_id(request, id)
    raw = await read_json(request, at_once(state.settings), kinds=(JSON, MERGE_PATCH))
    changes = parse_json(raw)
    validate(PatchIn, changes)
    asked = Patching(state, namespace_of(request), chosen, id, changes, if_match(request))
    for _ in range(TRIES):
        problem, writes = None, asked.never()
        try:
            writes = asked.writes(await asked.look())
        except Problem as error:
            if "idempotency-key" not in request.headers:
                raise
            problem = error
        try:
            taken = await take(request, writes, raw)
        except Changed:
            if problem is not None:
                raise problem from None
            continue
        return answer_of(taken, {"ETag": f'"{taken.first}"'})
    raise Problem(503, "contended", "Others change this memory all the time.", retry_after=1)


def _patched(
    source: Source, record: Record, changes: Mapping[str, Any]
) -> tuple[Put, bytes | None]:
    """The memory as it is to be, and its vector in the source's space if that is known already."""
    merged = merge(_json(record.memory), changes)
    memory = validate(MemoryIn, merged)
    memory.id = record.memory.id
    same_text = memory.text == record.memory.text
    if source.brought is None or "vector" in changes:
        put = put_of(memory, source.brought, now_us(), "")
        return put, record.vector if same_text and put.vector is None else None
    if not same_text or record.vector is None:
        raise invalid([("/vector", "the text changes: give the vector of the new one")])
    put = put_of(memory, None, now_us(), "")
    return msgspec.structs.replace(put, vector=record.vector), None


def _json(memory: Memory) -> dict[str, Any]:
    """As a caller gives it, but for the id."""
    times = {"created_at": memory.created_at, "expires_at": memory.expires_at}
    fields = {
        "text": memory.text,
        "user_id": memory.user_id,
        "session_id": memory.session_id,
        "tags": list(memory.tags),
        "metadata": memory.metadata,
        **{name: None if at is None else format_time(at) for name, at in times.items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


def merge(base: Any, changes: Any) -> Any:
    """RFC 7396: ``changes`` on ``base``, which stays as it is."""
    if not isinstance(changes, Mapping):
        return changes
    merged = dict(base) if isinstance(base, Mapping) else {}
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged
