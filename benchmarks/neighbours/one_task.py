"""One Celery task for each memory: what one builds in an afternoon, with memrelay's embedder and driver.

``CELERY_BROKER`` is the address of the broker, ``DRIVER`` the driver's settings. Tasks have no results
and are acknowledged before they run, which is Celery's default and cheaper than memrelay's way.
"""

from __future__ import annotations

import asyncio
import json
import os
from functools import cache
from typing import Any

from celery import Celery

from backends.embedding.local import LocalEmbedder
from backends.registry import create_driver
from memrelay.driver import Driver
from memrelay.types import Memory, Scope, Upsert

app = Celery(broker=os.environ["CELERY_BROKER"])
app.conf.update(
    task_ignore_result=True, task_default_queue="one-task", worker_prefetch_multiplier=64
)
embedder = LocalEmbedder()  # before the workers fork
SCOPE = Scope(namespace="one-task", source="default", space=embedder.space)


@cache
def opened() -> tuple[asyncio.AbstractEventLoop, Driver]:
    """Once for each worker process."""
    loop = asyncio.new_event_loop()
    driver = create_driver("redis", json.loads(os.environ["DRIVER"]))
    loop.run_until_complete(driver.open())
    loop.run_until_complete(driver.ensure(SCOPE))
    return loop, driver


@app.task(name="store")  # type: ignore[untyped-decorator]
def store(row: dict[str, Any], version: int) -> None:
    """Embeds and upserts one memory."""
    loop, driver = opened()

    async def work() -> None:
        [vector] = await embedder.embed([row["text"]])
        memory = Memory(**row, created_at=version, version=version)
        [outcome] = (await driver.apply(SCOPE, [Upsert(memory, vector)])).values()
        assert outcome.status == "applied", outcome

    loop.run_until_complete(work())
