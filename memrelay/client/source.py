"""Keys and values in a named source: one object for each source and namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, Required, TypedDict
from uuid import uuid4

from memrelay.client.answers import (
    Accepted,
    Answer,
    DeletedKey,
    DeletedKeys,
    KeyCount,
    KeyEntries,
    KeyEntry,
    KeyPage,
    KeyResults,
    SourceInfo,
    StoredKey,
    StoredKeys,
)
from memrelay.client.http import Http, given, segment
from memrelay.errors import Conflict, NotFound
from memrelay.types import Json

DEFAULT_WAIT = 5.0
UPDATES = 50
"""How often an update is tried while others write the same key."""
PAGE = 1000


class NewValue(TypedDict, total=False):
    """One of ``store_many``; ``ttl`` in seconds."""

    key: Required[str]
    value: Required[Json]
    ttl: float | None
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    overwrite: bool
    vector: Sequence[float]


class AsyncSource:
    """The keys of one namespace in one source; ``namespace`` None is the nameless one.

    Values are any JSON and come back as they were given. ``NotFound`` with the code ``unknown_source``
    for a source that is not there. Errors otherwise as ``AsyncMemrelay``'s.
    """

    def __init__(self, http: Http, name: str, namespace: str | None) -> None:
        self.name = name
        self.namespace = namespace
        self._http = http
        self._place = f"/v1/sources/{segment(name)}"
        self._params = given(namespace=namespace)

    async def store(
        self,
        key: str,
        value: Json,
        *,
        ttl: float | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        overwrite: bool = True,
        if_match: int | None = None,
        vector: Sequence[float] | None = None,
        wait: float = DEFAULT_WAIT,
        idempotency_key: str | None = None,
    ) -> StoredKey:
        """Store a value, and return once it can be read, or after ``wait`` seconds (0: at once).

        ``ttl`` in seconds; ``vector`` only where the source's callers bring them. ``Conflict`` if the key is
        there and ``overwrite`` is False, or if its version is not ``if_match``.
        """
        new: NewValue = {"key": key, "value": value, "ttl": ttl, "overwrite": overwrite}
        if vector is not None:
            new["vector"] = vector
        body = _body(new | {"tags": tags, "metadata": metadata or {}})
        del body["key"]
        return await self._http.fetch(
            StoredKey,
            "PUT",
            self._key(key),
            params=self._params | _waiting(wait),
            json=body,
            headers=_headers(idempotency_key, if_match),
            wait=wait,
        )

    async def entry(self, key: str) -> KeyEntry:
        """A key with its value, version, tags and metadata; ``NotFound`` if it is not there."""
        return await self._http.fetch(KeyEntry, "GET", self._key(key), params=self._params)

    async def retrieve(self, key: str) -> Json:
        """A key's value; ``NotFound`` if it is not there."""
        return (await self.entry(key)).value

    async def exists(self, key: str) -> bool:
        """Whether a key is there."""
        try:
            await self.entry(key)
        except NotFound as error:
            if error.code != "not_found":
                raise
            return False
        return True

    async def update(self, key: str, change: Callable[[Json], Json]) -> Json:
        """Give a key the value that ``change`` makes of its present one; that is what is returned.

        Tags, metadata and the time at which it expires stay. ``change`` runs in a thread, and again when
        somebody else wrote the key meanwhile, so that no update is lost. ``NotFound`` if it is not there.
        """
        for _ in range(UPDATES):
            held = await self.entry(key)
            value = await asyncio.to_thread(change, held.value)
            try:
                await self.store(
                    key,
                    value,
                    ttl=_left(held),
                    tags=held.tags,
                    metadata=held.metadata,
                    if_match=held.version,
                )
            except Conflict as error:
                conflict = error
                continue
            return value
        raise conflict

    async def delete(self, key: str, *, if_match: int | None = None) -> None:
        """Delete a key, whether or not it is there: nobody reads it from now on."""
        await self._http.fetch(
            DeletedKey,
            "DELETE",
            self._key(key),
            params=self._params,
            headers=_headers(None, if_match),
        )

    async def search(
        self,
        query: str | Mapping[str, Any],
        *,
        limit: int = 10,
        offset: int = 0,
        order_by: Literal["score", "key", "stored_at"] | None = None,
    ) -> tuple[KeyEntry, ...]:
        """Keys whose values say what is asked, or which match a pattern.

        Text with a blank is looked for in the values; text without one in the keys, as a part of the key or
        a glob, and if no key has it, as a word in the values. Or an object: one of ``query`` and
        ``pattern``, and a ``filter``.
        """
        body = given(query=query, limit=limit, offset=offset, order_by=order_by)
        return (await self._post(KeyResults, "search", body)).results

    async def count(self, query: str | Mapping[str, Any] = "*") -> int:
        """How many keys match a pattern, or an object of ``pattern`` and ``filter``."""
        return (await self._post(KeyCount, "count", {"query": query})).count

    async def list_keys(self, pattern: str = "*", *, limit: int = 1000) -> list[str]:
        """The first ``limit`` keys that match a glob, or have ``pattern`` as a part, in order."""
        found: list[str] = []
        cursor: str | None = None
        while len(found) < limit:
            page = await self.keys_page(pattern, limit=min(limit - len(found), PAGE), cursor=cursor)
            found += page.keys
            cursor = page.cursor
            if cursor is None:
                break
        return found

    async def keys_page(
        self, pattern: str = "*", *, limit: int = 100, cursor: str | None = None
    ) -> KeyPage:
        """At most ``limit`` keys; ``cursor`` is that of the page before."""
        params = self._params | given(pattern=pattern, limit=limit, cursor=cursor)
        return await self._http.fetch(KeyPage, "GET", f"{self._place}/keys", params=params)

    async def store_many(
        self,
        items: Mapping[str, Json] | Sequence[NewValue],
        *,
        wait: float = DEFAULT_WAIT,
        idempotency_key: str | None = None,
    ) -> tuple[StoredKey, ...]:
        """Store up to 1,000 values, all or none; ``wait`` as in ``store``."""
        several: Sequence[NewValue] = (
            [{"key": key, "value": value} for key, value in items.items()]
            if isinstance(items, Mapping)
            else items
        )
        stored = await self._http.fetch(
            StoredKeys,
            "POST",
            f"{self._place}/batch",
            params=_waiting(wait),
            json=self._params | {"store": [_body(item) for item in several]},
            headers=_headers(idempotency_key, None),
            wait=wait,
        )
        return tuple(result.model_copy(update={"job": stored.job}) for result in stored.results)

    async def retrieve_many(self, keys: Sequence[str]) -> dict[str, Json]:
        """The values of those of up to 1,000 keys that are there."""
        return {key: entry.value for key, entry in (await self.entries(keys)).items()}

    async def entries(self, keys: Sequence[str]) -> dict[str, KeyEntry]:
        """Those of up to 1,000 keys that are there, as ``entry`` gives them."""
        return (await self._post(KeyEntries, "batch", {"retrieve": list(keys)})).entries

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete up to 1,000 keys; how many of them were there."""
        return (await self._post(DeletedKeys, "batch", {"delete": list(keys)})).deleted

    async def clear(self) -> None:
        """Delete all keys of the namespace, or, where none was named, all keys of the source."""
        await self._http.fetch(
            Accepted, "DELETE", self._place, params=self._params | {"confirm": "true"}
        )

    async def info(self) -> SourceInfo:
        """What the source is for, its drivers, and what can be asked of it."""
        return await self._http.fetch(SourceInfo, "GET", self._place)

    async def _post[A: Answer](self, kind: type[A], what: str, body: dict[str, Any]) -> A:
        return await self._http.fetch(
            kind, "POST", f"{self._place}/{what}", json=self._params | body
        )

    def _key(self, key: str) -> str:
        return f"{self._place}/keys/{segment(key)}"


def _body(new: NewValue) -> dict[str, Any]:
    """A value as JSON: its time to live in milliseconds."""
    body: dict[str, Any] = dict(new)
    ttl = body.pop("ttl", None)
    for name, kind in (("tags", list), ("metadata", dict), ("vector", list)):
        if name in body:
            body[name] = kind(body[name])
    return body if ttl is None else body | {"ttl_ms": round(1000 * ttl)}


def _waiting(seconds: float) -> dict[str, str]:
    return {"wait": "stored", "timeout": f"{seconds:g}s"} if seconds else {"wait": "none"}


def _headers(key: str | None, version: int | None) -> dict[str, str]:
    matching = {} if version is None else {"If-Match": f'"{version}"'}
    return {"Idempotency-Key": key or str(uuid4())} | matching


def _left(held: KeyEntry) -> float | None:
    """Seconds until it expires."""
    if held.expires_at is None:
        return None
    return max(0.0, (held.expires_at - datetime.now(UTC)).total_seconds())
