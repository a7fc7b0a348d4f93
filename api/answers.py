"""Answers that only programs other than our client read; the others are ``memrelay.client.answers``."""

from __future__ import annotations

from typing import Literal

from memrelay.client.answers import Answer, Job, KeyEntry


class Health(Answer):
    status: Literal["ok"]


class RequestLimits(Answer):
    """``head_bytes``: request line and headers, beyond it 431. ``body_bytes`` of memories to add, and
    ``other_body_bytes`` of any other body: 413. ``import_ratio``: what gzip may make of a byte.
    ``import_refused``: lines of one import that are no memories, after which it ends."""

    head_bytes: int
    body_bytes: int
    other_body_bytes: int
    object_keys: int
    memories: int
    import_line_bytes: int
    import_bytes: int
    import_ratio: int
    import_refused: int


class MemoryLimits(Answer):
    text_bytes: int
    metadata_bytes: int
    metadata_depth: int
    id_characters: int
    tags: int
    tag_characters: int
    dimensions: int


class KeyLimits(Answer):
    """``batch`` and ``list``: keys of one request."""

    characters: int
    namespace_characters: int
    pattern_characters: int
    value_bytes: int
    value_depth: int
    ttl_ms: int
    batch: int
    batch_bytes: int
    list: int


class SearchLimits(Answer):
    top_k: int
    seconds: float


class FilterLimits(Answer):
    conditions: int
    depth: int
    values: int
    delete_bytes: int


class WaitingLimits(Answer):
    """What may be accepted and not stored everywhere yet; beyond it writes are 429."""

    bytes: int
    memories: int
    namespace_bytes: int
    namespace_memories: int
    driver_memories: int


class StreamLimits(Answer):
    """Event streams open at once, of all and of one namespace; beyond it 503."""

    service: int
    namespace: int


class Limits(Answer):
    """``memories_per_second`` is the quota of one namespace, if there is one."""

    request: RequestLimits
    memory: MemoryLimits
    key: KeyLimits
    search: SearchLimits
    filter: FilterLimits
    waiting: WaitingLimits
    streams: StreamLimits
    memories_per_second: int | None


class LineTaken(Answer):
    """A line of an import that is journaled."""

    line: int
    id: str
    version: int


class Pointed(Answer):
    """What is wrong with one field of a line; the pointer is RFC 6901."""

    pointer: str
    detail: str


class LineError(Answer):
    status: int | None = None
    code: str
    detail: str
    errors: tuple[Pointed, ...] = ()
    retry_after: float | None = None


class LineRefused(Answer):
    """A line that was not taken; the others were."""

    line: int
    error: LineError


class ImportCounts(Answer):
    """``error`` and ``from_line``: it ended early, and goes on from that line."""

    accepted: int
    refused: int
    job: Job | None
    error: LineError | None = None
    from_line: int | None = None


class ImportSummary(Answer):
    """The last line of every import."""

    summary: ImportCounts


class FoundKeys(Answer):
    """``complete`` is false if there were too many keys to look through all of them in time."""

    results: tuple[KeyEntry, ...]
    complete: bool
