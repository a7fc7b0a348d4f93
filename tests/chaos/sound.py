"""Whether a store can give back what its scan says that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import batched
from typing import Any

from backends.registry import create_driver
from memrelay.driver import Driver
from memrelay.types import Scope
from tests.oracle import PAGE

AT_ONCE = 512


def unreadable(store: Mapping[str, Any], scope: Scope) -> list[str]:
    """The ids of which the scan tells a memory or a tombstone, and the store has no sound record."""
    return asyncio.run(_unreadable(create_driver("oracle", store), scope))


async def _unreadable(driver: Driver, scope: Scope) -> list[str]:
    await driver.open()
    try:
        await driver.ensure(scope)
        missing: list[str] = []
        for ids in batched(await _ids(driver, scope), AT_ONCE):
            records = await driver.records(scope, ids)
            missing += [id for id in ids if id not in records]
    finally:
        await driver.close()
    return missing


async def _ids(driver: Driver, scope: Scope) -> Sequence[str]:
    ids: dict[str, None] = {}
    page = await driver.scan(scope, limit=PAGE)
    ids.update((entry.id, None) for entry in page.entries)
    while page.cursor is not None:
        page = await driver.scan(scope, cursor=page.cursor, limit=PAGE)
        ids.update((entry.id, None) for entry in page.entries)
    return list(ids)
