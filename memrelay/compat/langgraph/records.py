"""Items as keys and values of memrelay, and the texts that they are found by.

An item is one key, whose value is its own as JSON text. What it is found by is that (``$``), or texts
out of it, each a key of its own, written in the same request. All of one write have the same ``stamp``: a
text with another one is what an earlier write left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from langgraph.store.base import Item, PutOp, SearchItem, get_text_at_path

from memrelay.client import KeyEntry, NewValue
from memrelay.compat.langgraph.conditions import WIDE, plain_fields
from memrelay.compat.langgraph.places import Place

RANKED = "ranked"
"""Tag of what a query is compared with."""
UNRANKED = "unranked"
"""Tag of items that no query finds."""
WHOLE = "$"
SECONDS = 60
"""Of a minute, in which LangGraph counts times to live."""
Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Brought:
    """The caller's vectors: of each text, and any for what has none, as each memory needs one."""

    by_text: Mapping[str, Vector]
    blank: Vector


@dataclass(frozen=True, slots=True)
class Written:
    """A value to store. It is found by ``whole``, its value as text, if that is given, and by ``texts``."""

    place: Place
    value: Mapping[str, Any]
    whole: str | None
    texts: Sequence[str]
    ttl: float | None
    stamp: str = field(default_factory=lambda: uuid4().hex)

    @classmethod
    def of(cls, op: PutOp, paths: Sequence[str]) -> Written:
        value = dict(op.value or {})
        texts = {path: get_text_at_path(value, path) for path in paths}
        whole = texts.pop(WHOLE, None)
        parts = dict.fromkeys(text for found in texts.values() for text in found)
        ttl = None if op.ttl is None else SECONDS * op.ttl
        return cls(
            Place(op.namespace, op.key), value, whole[0] if whole else None, list(parts), ttl
        )

    @property
    def all_texts(self) -> list[str]:
        return [*self.texts] if self.whole is None else [self.whole, *self.texts]

    def values(self, created_at: str | None, brought: Brought | None) -> list[NewValue]:
        """The item, created when that which it replaces was, then its texts; vectors if they are brought."""
        fields, all_kept = plain_fields(self.value)
        metadata = {
            "namespace": list(self.place.namespace),
            "key": self.place.key,
            "created_at": created_at or datetime.now(UTC).isoformat(),
            "parts": len(self.texts),
            "stamp": self.stamp,
        }
        text = json.dumps(self.value, ensure_ascii=False, allow_nan=False)
        ranks = [RANKED] if self.whole is not None else [] if self.texts else [UNRANKED]
        within = self.place.tags if all_kept else [*self.place.tags, WIDE]
        item = self._new(self.place.name, text, metadata | fields, [*within, *ranks])
        about = {"of": self.place.name, "stamp": self.stamp} | fields
        parts = [
            self._new(self.place.part(at), text, about, [*within, RANKED])
            for at, text in enumerate(self.texts)
        ]
        if brought is not None:
            by_text = brought.by_text
            item["vector"] = brought.blank if self.whole is None else by_text[self.whole]
            for part, text in zip(parts, self.texts, strict=True):
                part["vector"] = by_text[text]
        return [item, *parts]

    def _new(
        self, key: str, text: str, metadata: Mapping[str, Any], tags: Sequence[str]
    ) -> NewValue:
        return {"key": key, "value": text, "metadata": metadata, "tags": tags, "ttl": self.ttl}


def place_of(entry: KeyEntry) -> Place:
    return Place(tuple(entry.metadata["namespace"]), entry.metadata["key"])


def value_of(entry: KeyEntry) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(entry.value)
    return value


def item_of(entry: KeyEntry) -> Item:
    return Item(**_fields(entry))


def found_of(entry: KeyEntry, score: float | None) -> SearchItem:
    return SearchItem(**_fields(entry), score=score)


def keys_of(entry: KeyEntry) -> list[str]:
    """The item's, then those of its texts."""
    return [entry.key, *place_of(entry).parts(0, entry.metadata["parts"])]


def _fields(entry: KeyEntry) -> dict[str, Any]:
    place = place_of(entry)
    return {
        "namespace": place.namespace,
        "key": place.key,
        "value": value_of(entry),
        "created_at": datetime.fromisoformat(entry.metadata["created_at"]),
        "updated_at": entry.stored_at,
    }
