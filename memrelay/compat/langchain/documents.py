"""LangChain's documents as memories, and memories as documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from langchain_core.documents import Document

from memrelay.client import Hit, Job, NewMemory, StoredMemory
from memrelay.errors import Permanent
from memrelay.jobs import MAX_COUNT

REQUEST_BYTES = 4 * 2**20
"""About so much is sent at once, half of what a service takes unless it is told otherwise."""
NUMBER_BYTES = 22
"""Of a float in JSON, at most, with its comma."""


class Owner(TypedDict, total=False):
    """Whose memories the documents are."""

    user_id: str
    session_id: str


def memories_of(
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
    owner: Owner,
) -> list[NewMemory]:
    """A memory for each text, of ``owner``; ``ValueError`` if the numbers differ.

    Where there is no id, the service gives one.
    """
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given and len(given) != len(texts):
            raise ValueError(f"{len(given)} {name} for {len(texts)} texts")
    memories: list[NewMemory] = []
    for at, text in enumerate(texts):
        memory: NewMemory = {"text": text, "metadata": metadatas[at] if metadatas else {}, **owner}  # type: ignore[typeddict-item]
        id = ids[at] if ids else None
        memories.append(memory if id is None else memory | {"id": id})
    return memories


def document_of(memory: StoredMemory | Hit) -> Document:
    return Document(id=memory.id, page_content=memory.text or "", metadata=memory.metadata or {})


def in_requests(memories: Sequence[NewMemory]) -> Iterator[list[NewMemory]]:
    """The memories in their order, in parts that one request can bring."""
    part, size = list[NewMemory](), 0
    for memory in memories:
        more = _size(memory)
        if part and (len(part) == MAX_COUNT or size + more > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(memory)
        size += more
    if part:
        yield part


def check_stored(job: Job) -> None:
    """``Permanent`` with the first cause if the primary, or the model before it, refused a memory, or if
    it was canceled."""
    if job.primary.canceled:
        raise Permanent(f"job {job.id} was canceled", code="canceled")
    if job.primary.failed:
        cause = next(iter(job.errors), None)
        refused = f"{job.primary.failed} of {job.total} memories were refused"
        detail = f"{refused}: {cause.detail}" if cause else refused
        raise Permanent(detail, code=cause.code if cause else None)


def _size(memory: NewMemory) -> int:
    """Bytes as JSON, about."""
    vector = memory.get("vector", ())
    plain = {name: value for name, value in memory.items() if name != "vector"}
    return len(json.dumps(plain, default=str)) + NUMBER_BYTES * len(vector)
