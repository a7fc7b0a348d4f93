"""``BaseMemoryDriver``: what every memory driver is, ours and our users' own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Required, TypedDict

from memrelay.errors import MemrelayError


class NewMemory(TypedDict, total=False):
    """The arguments of one ``store``, for ``store_many``."""

    user_id: Required[str]
    content: Required[str]
    conversation_id: str | None
    tags: list[str] | None
    metadata: dict[str, Any] | None


class PartlyStored(MemrelayError):
    """Some of many were not stored: ``failed`` has their errors by place, ``stored`` the others."""

    code = "partly_stored"

    def __init__(self, stored: dict[int, dict[str, Any]], failed: dict[int, MemrelayError]) -> None:
        first = failed[min(failed)]
        super().__init__(f"{len(failed)} of {len(failed) + len(stored)} were not stored: {first}")
        self.stored = stored
        self.failed = failed


class BaseMemoryDriver(ABC):
    """Six methods, as the document has them; the package's docstring says what they give.

    A subclass is made without arguments, once, when it is first asked for.
    """

    @abstractmethod
    def recall(
        self,
        user_id: str,
        conversation_id: str | None = None,
        query: str | None = None,
        top_k: int = 10,
        use_vector: bool = True,
        exclude_tags: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """At most ``top_k`` memories of a user, the best first; the newest if there is no query."""

    @abstractmethod
    def recall_global_knowledge(
        self, query: str, top_k: int = 5, category: str | None = None
    ) -> list[dict[str, Any]]:
        """At most ``top_k`` documents that belong to nobody, the best first."""

    @abstractmethod
    def store(
        self,
        user_id: str,
        content: str,
        conversation_id: str | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Store a new memory; it is returned with its ``id``."""

    @abstractmethod
    def store_global_knowledge(
        self,
        content: str,
        category: str,
        title: str | None = None,
        doc_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Store a document for everybody, in place of an earlier one with its ``doc_id``."""

    @abstractmethod
    def delete(self, memory_id: str, user_id: str | None = None) -> bool:
        """Whether there was such a memory (of this user, if one is named); it is gone then."""

    @abstractmethod
    def health_check(self) -> dict[str, Any]:
        """``status`` and more; never raises."""

    def store_many(self, memories: Sequence[NewMemory]) -> list[dict[str, Any]]:
        """``store`` for each, in order; ours do it in batches and raise ``PartlyStored``."""
        return [self.store(**memory) for memory in memories]

    def close(self) -> None:
        """Give back what the driver holds; it may be used again afterwards."""
        return
