"""About how many objects a namespace has."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from backends.weaviate.connection import Connection
from backends.weaviate.objects import collection_name, tenant_name
from memrelay.types import Scope

KEPT_SECONDS = 60.0
KEPT = 4096
"""Namespaces."""


class Sizes:
    """As of a minute ago at most: to count them Weaviate looks for each that it has not flushed yet."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    async def of(self, scope: Scope) -> int:
        """Of all sources, tombstones too."""
        key = (collection_name(scope.space), tenant_name(scope))
        until, size = self._kept.get(key, (0.0, 0))
        if until > self._clock():
            return size
        counted = self._connection.collection(scope).aggregate.over_all(total_count=True)
        size = (await self._connection.call(counted)).total_count or 0
        self._kept[key] = (self._clock() + KEPT_SECONDS, size)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return size
