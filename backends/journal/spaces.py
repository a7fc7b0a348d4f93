"""Spaces: where the vectors of a source are, and the space that is built beside it from the texts.

While one is built, whatever is written goes to both. Every change has a new epoch: a worker settles only what
it wrote to the spaces of the epoch that holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal, script
from backends.journal.usage import clock
from memrelay.errors import InvalidInput
from memrelay.types import Space

WHOLE = "whole"
FORGET_MS = 3_600_000
"""An API that was not heard of for so long is gone, and reads nothing any more."""
REFUSED = {
    -1: "another space is built for {source}: wait, or cancel it",
    -2: "{source} is embedded by {model} already",
    -3: "what the last re-embedding of {source} left is not dropped yet: wait",
}


class NotNow(InvalidInput):
    """A space cannot be built for the source."""

    code = "not_now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spaces:
    """Of one source. ``active``: its space in JSON, empty for that of the settings; ``old`` is to be dropped,
    ``at`` is when the epoch began, in milliseconds."""

    epoch: str = "0"
    active: str = ""
    building: str = ""
    old: str = ""
    at: int = 0
    error: str = ""


def written(space: Space) -> str:
    return msgspec.json.encode({"model": space.model, "dimensions": space.dimensions}).decode()


def read(text: str) -> Space:
    return msgspec.json.decode(text, type=Space)


async def spaces(journal: Journal, sources: Iterable[str]) -> dict[str, Spaces]:
    """By source."""
    names = list(sources)
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.hgetall(f"{PREFIX}spaces:{name}")
            rows = await pipe.execute()
    found = {}
    for name, row in zip(names, rows, strict=True):
        texts = {key.decode(): value.decode() for key, value in row.items()}
        found[name] = Spaces(**{**texts, "at": int(texts.get("at", 0))})
    return found


async def begin(journal: Journal, source: str, space: Space, current: Space) -> bool:
    """``space`` is built from now on; False if it is already. Raises ``NotNow``."""
    answer = await _run(journal, "begin", source, written(space), written(current))
    if answer < 0:
        raise NotNow(REFUSED[answer].format(source=source, model=space.model))
    return answer == 1


async def cancel(journal: Journal, source: str) -> bool:
    """What is built is given up, and dropped; False if nothing is."""
    return await _run(journal, "cancel", source) == 1


async def switch(journal: Journal, source: str) -> bool:
    """The space that was built is the source's from now on; False while a driver lacks some of it."""
    return await _run(journal, "switch", source) == 1


async def dropped(journal: Journal, source: str, space: str) -> None:
    """No driver has anything of ``space`` any more."""
    await _run(journal, "dropped", source, space)


async def built(journal: Journal, source: str) -> dict[str, str]:
    """How far each ``namespace|source|driver`` is: a cursor, or ``WHOLE``."""
    with translated():
        found = await journal.client.hgetall(f"{PREFIX}built:{source}")
    rows = cast(Mapping[bytes, bytes], found)
    return {name.decode(): reached.decode() for name, reached in rows.items()}


async def reached(journal: Journal, source: str, name: str, cursor: str, count: int) -> None:
    """``name`` is built up to ``cursor``, with ``count`` memories more than before."""
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.hset(f"{PREFIX}built:{source}", name, cursor)
            pipe.hincrby(f"{PREFIX}built:{source}", "count", count)
            pipe.hdel(f"{PREFIX}spaces:{source}", "error")
            await pipe.execute()


async def failed(journal: Journal, source: str, error: str) -> None:
    """Why nothing goes on for now."""
    with translated():
        await journal.client.hset(f"{PREFIX}spaces:{source}", "error", error)


async def know(journal: Journal, api: str, epochs: Mapping[str, str]) -> None:
    """An API has learned these epochs, and reads by them from now on."""
    row = {"at": await clock(journal) // 1000, "epochs": epochs}
    with translated():
        await journal.client.hset(f"{PREFIX}apis", api, msgspec.json.encode(row))


async def leave(journal: Journal, api: str) -> None:
    """An API ends."""
    with translated():
        await journal.client.hdel(f"{PREFIX}apis", api)


async def all_know(journal: Journal, source: str, epoch: str) -> bool:
    """Whether no API can still be reading by an earlier epoch. One that lacks the source reads none of it."""
    with translated():
        found = await journal.client.hgetall(f"{PREFIX}apis")
    before = await clock(journal) // 1000 - FORGET_MS
    rows = {api: msgspec.json.decode(row) for api, row in cast(dict[bytes, bytes], found).items()}
    for api in [api for api, row in rows.items() if row["at"] < before]:
        await leave(journal, api.decode())
        del rows[api]
    return all(int(row["epochs"].get(source, epoch)) >= int(epoch) for row in rows.values())


async def _run(journal: Journal, action: str, source: str, *args: str) -> int:
    run = journal.client.register_script(script("spaces"))
    with translated():
        return int(await run(keys=[PREFIX], args=[action, source, *args]))
