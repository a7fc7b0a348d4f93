"""Following a job: its server-sent events, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from random import Random

from pydantic import ValidationError

from memrelay.client.answers import Job
from memrelay.client.http import BACKOFF, Http, segment
from memrelay.errors import RateLimited, ServiceUnavailable, Transient, Unavailable

END = "end"
GONE = "null"
"""The data of a job that nobody knows any more."""


async def follow(http: Http, id: str) -> AsyncGenerator[Job]:
    """As ``AsyncMemrelay.follow_job``."""
    path = f"/v1/jobs/{segment(id)}/events"
    seen: Job | None = None
    attempt, deadline = 1, time.monotonic() + http.patience
    while True:
        broken: Unavailable | RateLimited | ServiceUnavailable
        try:
            async with http.lines(path) as lines:
                async for kind, data in events(lines):
                    if kind == END:
                        return
                    attempt, deadline = 1, time.monotonic() + http.patience
                    job = None if data == GONE else _job(data)
                    if job is not None and job != seen:
                        yield job
                    seen = job
            broken = Unavailable("the service broke off the events of a job")
        except (Unavailable, RateLimited, ServiceUnavailable) as error:
            broken = error
        asked = Transient(str(broken), retry_after=broken.retry_after)
        delay = BACKOFF.delay(attempt, asked, Random())
        if time.monotonic() + delay > deadline:
            raise broken
        attempt += 1
        await asyncio.sleep(delay)


async def events(lines: AsyncIterator[str]) -> AsyncGenerator[tuple[str, str]]:
    """(type, data) of each event that is complete."""
    kind = ""
    data: list[str] = []
    async for line in lines:
        name, _, value = line.partition(":")
        if not line:
            if data:
                yield kind, "\n".join(data)
            kind, data = "", []
        elif name == "event":
            kind = value.removeprefix(" ")
        elif name == "data":
            data.append(value.removeprefix(" "))


def _job(data: str) -> Job:
    try:
        return Job.model_validate_json(data)
    except ValidationError:
        raise Unavailable("what came is no job of memrelay", code="not_memrelay") from None
