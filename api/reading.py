"""Reading bodies of memories: validated and encoded, so that nothing is left but to enter them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec
import uuid_utils

from api.body import parse_json, validate
from api.models import MemoriesIn, MemoryIn
from api.problems import Problem, invalid, unknown_source
from backends.journal import Put, encode_write
from memrelay.times import now_us
from memrelay.types import Lane, vector_to_bytes

LINE_BYTES = 256 * 1024
NAMESPACE_UUID = UUID("6f2b2a4e-1f0b-4d3c-9b1e-0d6d8b7a5c11")
type Brought = Mapping[str, int | None]
"""For each source the dimensions of the vectors that callers bring; None where it embeds texts itself."""
type Line = tuple[int, bytes]
"""A line of an import, with its number."""


class Read(msgspec.Struct, tag=True):
    """A request's memories: their ids, and their writes in the same order."""

    source: str
    lane: Lane
    ids: list[str]
    encoded: list[bytes]


class Lines(msgspec.Struct, tag=True):
    """Of the lines of an import: number, id and write of each that is taken; the results of the others."""

    taken: list[tuple[int, str, bytes]]
    refused: dict[int, dict[str, Any]]


def read_memories(raw: bytes, brought: Brought) -> Read:
    """The body of ``POST /v1/memories``; a problem with pointers if anything in it is wrong."""
    body = validate(MemoriesIn, parse_json(raw))
    if body.source not in brought:
        raise unknown_source(brought)
    dimensions, now = brought[body.source], now_us()
    puts = [
        put_of(memory, dimensions, now, f"/memories/{index}")
        for index, memory in enumerate(body.memories)
    ]
    ids = [put.id for put in puts]
    return Read(body.source, body.lane, ids, [encode_write(put) for put in puts])


def read_lines(lines: Sequence[Line], dimensions: int | None, key: str) -> Lines:
    """Each line for itself. A missing id is derived from ``key`` and the line's number."""
    read, now = Lines([], {}), now_us()
    for number, raw in lines:
        try:
            if len(raw) > LINE_BYTES:
                raise Problem(413, "too_large", f"The line is longer than {LINE_BYTES} bytes.")
            memory = validate(MemoryIn, parse_json(raw))
            if memory.id is None:
                memory.id = str(uuid5(NAMESPACE_UUID, f"{key}\0{number}"))
            put = put_of(memory, dimensions, now, "")
            read.taken.append((number, put.id, encode_write(put)))
        except Problem as problem:
            read.refused[number] = {"line": number, "error": _error(problem)}
    return read


def put_of(memory: MemoryIn, dimensions: int | None, now: int, pointer: str) -> Put:
    """The write of a valid memory; 422 where it does not fit the source's embedding."""
    vector = None
    if memory.vector is not None:
        if dimensions is None:
            raise invalid([(f"{pointer}/vector", "this source embeds texts itself; leave it out")])
        if len(memory.vector) != dimensions:
            raise invalid([(f"{pointer}/vector", f"needs {dimensions} numbers")])
        vector = vector_to_bytes(memory.vector)
    elif dimensions is not None:
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


def _error(problem: Problem) -> dict[str, Any]:
    error: dict[str, Any] = {"code": problem.code, "detail": problem.detail}
    if problem.errors:
        error["errors"] = [{"pointer": p, "detail": detail} for p, detail in problem.errors]
    return error
