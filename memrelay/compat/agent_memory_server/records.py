"""A record of agent-memory-server as a memory of memrelay, and back.

Id, text, user, session and the time of its creation are the memory's own; all else is in its metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agent_memory_server.models import (
    MemoryRecord,
    MemoryRecordResult,
    SearchScoreTypeEnum,
)

from memrelay.client import NewMemory, StoredMemory
from memrelay.compat.agent_memory_server.filters import TEXTS, TIMES, line_of, time_of

OWN = frozenset({"id", "text", "user_id", "session_id", "created_at"})
OF_RESULTS = frozenset({"dist", "score", "score_type"})


def memory_of(record: MemoryRecord, vector: Sequence[float]) -> NewMemory:
    """The record as memrelay takes it in; an empty user or session is none."""
    memory = NewMemory(
        id=record.id,
        text=record.text,
        created_at=time_of(record.created_at),
        metadata=_metadata(record),
        vector=vector,
    )
    if record.user_id:
        memory["user_id"] = record.user_id
    if record.session_id:
        memory["session_id"] = record.session_id
    return memory


def _metadata(record: MemoryRecord) -> dict[str, Any]:
    # Records edited by agent-memory-server come from model_copy, whose values nobody has checked.
    kept: dict[str, Any] = record.model_dump(
        mode="json", exclude=OWN | OF_RESULTS, exclude_none=True, warnings=False
    )
    for name in TIMES:
        if name in kept:
            kept[name] = time_of(getattr(record, name))
    for name in TEXTS:
        if kept.get(name):
            kept[f"{name}_line"] = line_of(kept[name])
    return kept


def record_of(
    memory: StoredMemory,
    *,
    dist: float = 0.0,
    score: float | None = None,
    score_type: SearchScoreTypeEnum | None = None,
) -> MemoryRecordResult:
    """The record that the memory was made of."""
    kept = dict(memory.metadata or {})
    for name in TEXTS:
        kept.pop(f"{name}_line", None)
    return MemoryRecordResult(
        **kept,
        id=memory.id,
        text=memory.text,
        user_id=memory.user_id,
        session_id=memory.session_id,
        created_at=memory.created_at,
        dist=dist,
        score=score,
        score_type=score_type,
    )
