"""``BaseStore``: LangChain's key-value store, on the keys of one source."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import batched
from typing import Any

from langchain_core.stores import BaseStore

from memrelay.client import AsyncMemrelay, KeyPage, Memrelay
from memrelay.jobs import MAX_COUNT
from memrelay.types import Json

WAIT_SECONDS = 30.0
REQUEST_BYTES = 900 * 1024
"""Of the values of one request, which has 1 MiB at most."""
BYTES = "$bytes"
PLAIN = "$json"


class MemrelayValueStore(BaseStore[str, Any]):
    """Values under keys: ``bytes``, ``str`` and JSON come back exactly as they were given.

    A value is at most 64 KiB as JSON, which is 48 KiB of bytes; a key has 1 to 256 characters. ``namespace``
    keeps stores in one source apart. ``relay`` and ``wait`` as in ``MemrelayVectorStore``.
    The source is one that embeds texts itself: values can be searched there.
    """

    def __init__(
        self,
        *,
        relay: Memrelay | None = None,
        source: str = "default",
        namespace: str = "langchain",
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.relay = relay or Memrelay()
        self.source = source
        self.namespace = namespace
        self.wait = wait

    def mget(self, keys: Sequence[str]) -> list[Any]:
        """The values in the order of the keys, None where there is none."""
        return self.relay.run(self._get, keys)

    async def amget(self, keys: Sequence[str]) -> list[Any]:
        return await self.relay.arun(self._get, keys)

    def mset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        """Store the values; those of one request (1,000 keys, 900 KiB) all or none."""
        self.relay.run(self._set, key_value_pairs)

    async def amset(self, key_value_pairs: Sequence[tuple[str, Any]]) -> None:
        await self.relay.arun(self._set, key_value_pairs)

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the keys, whether or not they are there."""
        self.relay.run(self._delete, keys)

    async def amdelete(self, keys: Sequence[str]) -> None:
        await self.relay.arun(self._delete, keys)

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """The keys that begin so, in order."""
        cursor = None
        while True:
            page = self.relay.run(self._page, prefix or "", cursor)
            yield from _beginning(page, prefix)
            cursor = page.cursor
            if cursor is None:
                return

    async def ayield_keys(self, *, prefix: str | None = None) -> AsyncIterator[str]:
        cursor = None
        while True:
            page = await self.relay.arun(self._page, prefix or "", cursor)
            for key in _beginning(page, prefix):
                yield key
            cursor = page.cursor
            if cursor is None:
                return

    async def _get(self, client: AsyncMemrelay, keys: Sequence[str]) -> list[Any]:
        source, found = client.source(self.source, namespace=self.namespace), dict[str, Json]()
        for part in batched(dict.fromkeys(keys), MAX_COUNT):
            found |= await source.retrieve_many(part)
        return [_opened(found[key]) if key in found else None for key in keys]

    async def _set(self, client: AsyncMemrelay, pairs: Sequence[tuple[str, Any]]) -> None:
        source = client.source(self.source, namespace=self.namespace)
        for part in _in_requests(pairs):
            await source.store_many(part, wait=self.wait)

    async def _delete(self, client: AsyncMemrelay, keys: Sequence[str]) -> None:
        source = client.source(self.source, namespace=self.namespace)
        for part in batched(keys, MAX_COUNT):
            await source.delete_many(part)

    async def _page(self, client: AsyncMemrelay, prefix: str, cursor: str | None) -> KeyPage:
        source = client.source(self.source, namespace=self.namespace)
        return await source.keys_page(f"{prefix}*", limit=MAX_COUNT, cursor=cursor)


def _in_requests(pairs: Sequence[tuple[str, Any]]) -> Iterator[dict[str, Json]]:
    """The values as JSON, in parts that one request can bring; the last of a key's stays."""
    part, size = dict[str, Json](), 0
    for key, given in dict(pairs).items():
        value = _closed(given)
        more = len(json.dumps([key, value]))
        if part and (len(part) == MAX_COUNT or size + more > REQUEST_BYTES):
            yield part
            part, size = {}, 0
        part[key] = value
        size += more
    if part:
        yield part


def _closed(value: Any) -> Json:
    """As JSON, from which ``_opened`` makes the same again."""
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict) and value.keys() & {BYTES, PLAIN}:
        return {PLAIN: value}
    return value


def _opened(value: Json) -> Any:
    match value:
        case {"$bytes": str(text)}:
            return base64.b64decode(text)
        case {"$json": plain}:
            return plain
    return value


def _beginning(page: KeyPage, prefix: str | None) -> Iterator[str]:
    """The prefix was asked for as a glob, in which ``*`` and ``?`` are more than themselves."""
    return (key for key in page.keys if key.startswith(prefix or ""))
