"""What each stage took and refused lately, and which of them have an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal


async def tallied(journal: Journal, stages: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(taken, refused) of each stage; both are halved now and then, so that it is of late."""
    fields = [f"{stage}|{kind}" for stage in stages for kind in ("ok", "bad")]
    with translated():
        counts = await journal.client.hmget(f"{PREFIX}tally", fields)
    numbers = [int(count or 0) for count in counts]
    return dict(zip(stages, zip(numbers[::2], numbers[1::2], strict=True), strict=True))


async def alarms(journal: Journal) -> dict[str, str]:
    """Why the refusals of a stage are held back, by stage."""
    with translated():
        found = await journal.client.hgetall(f"{PREFIX}alarms")
    rows = cast(dict[bytes, bytes], found)
    return {stage.decode(): text.decode() for stage, text in rows.items()}


async def resume(journal: Journal, stages: Sequence[str]) -> None:
    """End alarms: what the stages refuse becomes dead letters again, up to the limit."""
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            for stage in stages:
                pipe.hdel(f"{PREFIX}tally", f"{stage}|ok", f"{stage}|bad")
                pipe.hdel(f"{PREFIX}alarms", stage)
            await pipe.execute()
