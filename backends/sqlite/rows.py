"""What a row of the file holds. Others may have written to the file, so a row can be damaged.

A tombstone is a row that has neither digest nor record; a row that lost one of the two is a damaged
memory. Reads leave out what they cannot read, and go on; ``records`` looks at every column.
"""

from __future__ import annotations

from dataclasses import dataclass

from memrelay.types import Delete, Memory, Op, Scope, Upsert, memory_digest, read_memory

TOMBSTONE = "digest IS NULL AND record IS NULL"


@dataclass(frozen=True, slots=True)
class Row:
    """All that the file holds of one id; ``text`` is None if the full-text table lacks it."""

    id: str
    version: int
    digest: str | None
    user_id: str | None
    session_id: str | None
    created_at: int | None
    expires_at: int | None
    vector: bytes | None
    record: bytes | None
    text: int | None

    def op(self, scope: Scope) -> Op | None:
        """What would write this row again; None if it is damaged."""
        if self.digest is None and self.record is None:
            return Delete(self.id, self.version)
        if self.record is None or self.digest != memory_digest(self.record):
            return None
        if self.vector is None or len(self.vector) != scope.space.dimensions * 4:
            return None
        memory = read_memory(self.record, scope, self.version)
        if memory is None or self.text is None or not self._agrees(memory):
            return None
        return Upsert(memory, self.vector)

    def _agrees(self, memory: Memory) -> bool:
        """Whether searches, which look at the columns, find what the record says."""
        columns = (self.id, self.user_id, self.session_id, self.created_at, self.expires_at)
        return columns == (
            memory.id,
            memory.user_id,
            memory.session_id,
            memory.created_at,
            memory.expires_at,
        )
