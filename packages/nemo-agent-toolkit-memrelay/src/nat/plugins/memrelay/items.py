"""A MemoryItem as a memory of memrelay, and back without loss.

The text is the item's ``memory``, else what its conversation says. The conversation is kept in the
metadata under a key of ours, where a message whose content stands in the text has the place instead, so
that long messages are not stored twice: ``[fields]`` or ``[fields without content, start, length]``.
"""

from __future__ import annotations

from typing import Any

from nat.plugin_api import MemoryItem
from pydantic_core import to_jsonable_python

from memrelay.client import Hit, NewMemory

CONVERSATION = "nat_conversation"

type Message = dict[str, str]


class StoredItem(MemoryItem):
    """An item that was found. ``memory_id`` is what ``remove_items`` takes."""

    memory_id: str


def memory_of(item: MemoryItem, session_id: str | None) -> NewMemory | None:
    """None if there is no text in it. ValueError for metadata that is not JSON, or holds our key."""
    if CONVERSATION in item.metadata:
        raise ValueError(f"metadata: {CONVERSATION!r} is the provider's own key")
    text = item.memory if item.memory and item.memory.strip() else _said(item.conversation or [])
    if not text.strip():
        return None
    # Not by model_dump, which makes null of NaN: here it stays, and the client refuses it.
    metadata: dict[str, Any] = to_jsonable_python(item.metadata)
    if item.conversation is not None:
        metadata[CONVERSATION] = [_packed(message, text) for message in item.conversation]
    memory = NewMemory(text=text, user_id=item.user_id, tags=item.tags, metadata=metadata)
    if session_id:
        memory["session_id"] = session_id
    return memory


def item_of(hit: Hit) -> StoredItem:
    """``similarity_score``: higher is nearer."""
    text, metadata = hit.text or "", dict(hit.metadata or {})
    packed = metadata.pop(CONVERSATION, None)
    return StoredItem(
        memory_id=hit.id,
        user_id=hit.user_id or "",
        memory=text,
        conversation=packed and [_unpacked(message, text) for message in packed],
        tags=list(hit.tags),
        metadata=metadata,
        similarity_score=hit.score,
    )


def _said(conversation: list[Message]) -> str:
    """One message as it is, several with their roles."""
    if len(conversation) == 1:
        return conversation[0].get("content", "")
    return "\n".join(_line(message) for message in conversation if message.get("content"))


def _line(message: Message) -> str:
    role, content = message.get("role"), message["content"]
    return f"{role}: {content}" if role else content


def _packed(message: Message, text: str) -> list[Any]:
    content = message.get("content", "")
    start = text.find(content)
    if not content or start < 0:
        return [message]
    return [{key: message[key] for key in message if key != "content"}, start, len(content)]


def _unpacked(packed: list[Any], text: str) -> Message:
    fields: Message = packed[0]
    if len(packed) == 1:
        return fields
    start, length = packed[1:]
    return {**fields, "content": text[start : start + length]}
