"""One memory or one document as a value, and as the dict that users of the document expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from memrelay.times import format_time, parse_time
from memrelay.types import Json

Kind = Literal["memories", "global_knowledge"]
"""As the document's tables are named."""
KINDS: tuple[Kind, ...] = ("memories", "global_knowledge")
Mode = Literal["semantic", "keyword", "recent"]

KNOWLEDGE_TAG = "global_knowledge"
_ABOUT = ("category", "title", "doc_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A memory, or a document if ``kind`` says so. ``created_at`` is in microseconds.

    ``id`` is empty until it is stored: a shelf gives it one.
    """

    kind: Kind
    id: str = ""
    content: str
    user_id: str | None = None
    conversation_id: str | None = None
    category: str | None = None
    title: str | None = None
    doc_id: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)
    created_at: int

    @property
    def fixed_id(self) -> str:
        """The id that it must have; empty if it may have any. A document's follows from its ``doc_id``."""
        return self.id if self.doc_id is None else f"doc:{self.doc_id}"

    @property
    def whole_metadata(self) -> dict[str, Json]:
        """With what makes it a document, if it is one."""
        if self.kind == "memories":
            return dict(self.metadata)
        about = {"category": self.category, "title": self.title, "doc_id": self.doc_id}
        return {**self.metadata, **about}


@dataclass(frozen=True, slots=True)
class Found:
    """A record that answers a query; ``score`` is None where nothing was asked for."""

    record: Record
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """What is to be found. ``query`` is there unless ``mode`` is ``recent``."""

    kind: Kind
    mode: Mode
    top_k: int
    query: str = ""
    user_id: str | None = None
    conversation_id: str | None = None
    category: str | None = None
    exclude_tags: tuple[str, ...] = ()


def knowledge(
    *,
    content: str,
    category: str,
    title: str | None,
    doc_id: str | None,
    metadata: Mapping[str, Json],
    created_at: int,
) -> Record:
    """A new document; its tags are those that the document's users know."""
    return Record(
        kind="global_knowledge",
        content=content,
        category=category.lower(),
        title=title,
        doc_id=doc_id,
        tags=(f"category_{category.lower()}", KNOWLEDGE_TAG),
        metadata=dict(metadata),
        created_at=created_at,
    )


def from_stored(
    kind: Kind,
    *,
    id: str,
    content: str,
    user_id: str | None,
    conversation_id: str | None,
    tags: Sequence[str],
    metadata: Mapping[str, Json],
    created_at: int,
) -> Record:
    """A record as a store of memories has it, with its ``whole_metadata``."""
    document = kind == "global_knowledge"
    return Record(
        kind=kind,
        id=id,
        content=content,
        user_id=None if document else user_id,
        conversation_id=conversation_id,
        tags=tuple(tags),
        metadata=_own_metadata(metadata) if document else dict(metadata),
        created_at=created_at,
        **({key: metadata.get(key) for key in _ABOUT} if document else {}),
    )


def _own_metadata(metadata: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in metadata.items() if key not in _ABOUT}


def to_dict(found: Found) -> dict[str, Any]:
    """What ``recall`` and ``store`` give; nothing in it is shared with the record."""
    record = found.record
    tags, metadata = list(record.tags), record.whole_metadata
    common = {
        "id": record.id,
        "content": record.content,
        "score": found.score,
        "tags": tags,
        "metadata": metadata,
        "created_at": format_time(record.created_at),
        "memory": {"content": record.content, "tags": [*tags], "metadata": {**metadata}},
    }
    if record.kind == "memories":
        return {
            **common,
            "user_id": record.user_id,
            "conversation_id": record.conversation_id,
        }
    return {
        **common,
        "category": record.category,
        "title": record.title,
        "doc_id": record.doc_id,
    }


def from_dict(kind: Kind, given: Mapping[str, Any]) -> Record:
    """The inverse of ``to_dict``, for what any driver gave that keeps to the package's docstring."""
    about = {key: given.get(key) for key in _ABOUT}
    return from_stored(
        kind,
        id=str(given["id"]),
        content=given["content"],
        user_id=given.get("user_id"),
        conversation_id=given.get("conversation_id"),
        tags=given.get("tags") or (),
        metadata={**(given.get("metadata") or {}), **(about if kind == "global_knowledge" else {})},
        created_at=parse_time(given["created_at"]),
    )
