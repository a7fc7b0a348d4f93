"""Detached drivers, and the reconcile that brings them back: how far a pass has come, what it found.

A driver is *away* (its share of new envelopes is skipped), then *syncing* (it is given new envelopes
again, but does not serve), then neither. A pass that an operator asked for runs on one that serves.
So is a driver that is new to one source, in that source alone: what is said here of a driver holds of its
part in a source as well, which is named ``source|driver`` (``part``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import msgspec

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal, script

State = Literal["", "away", "syncing", "retired"]
Place = tuple[str, str]
"""Namespace and source."""
EIDS_AT_ONCE = 500


class Pass(msgspec.Struct, kw_only=True):
    """One reconcile of one driver, up to the version ``until``. Times in milliseconds.

    ``places``: from which version each goes on, None when it is done. ``full``: from the first version,
    and every record is checked; else from the first that was skipped. ``report``: what was found so far.
    ``cut``: all are done, and the driver serves again when it has ended what was accepted before that.
    ``error``: what holds it up, or broke its last slice off.
    """

    full: bool
    asked_at: int
    ended_at: int | None = None
    until: int = 0
    cut: int = 0
    places: dict[str, int | None] = {}
    report: dict[str, object] = {}
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverState:
    """What the journal knows of one driver. ``held``: an operator keeps it away.

    ``emptied``: what it has is to be removed before it is filled.
    """

    state: State = ""
    held: bool = False
    emptied: bool = False
    backlog: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    last: Pass | None = None


def part(source: str, driver: str) -> str:
    """The name of a driver's part in one source."""
    return f"{source}|{driver}"


async def states(journal: Journal, names: Sequence[str]) -> dict[str, DriverState]:
    """Of drivers, and of parts."""
    with translated():
        async with journal.client.pipeline(transaction=False) as pipe:
            for name in names:
                source, bar, driver = name.rpartition("|")
                pipe.hget(f"{PREFIX}members:{source}" if bar else f"{PREFIX}detached", driver)
                pipe.sismember(f"{PREFIX}held", name)
                pipe.sismember(f"{PREFIX}emptied", name)
                pipe.hget(f"{PREFIX}backlog", name)
                pipe.hgetall(f"{PREFIX}skipped:{name}")
                pipe.get(f"{PREFIX}sync:{name}")
            rows = await pipe.execute()
    return {
        name: DriverState(
            state=cast(State, (rows[at] or b"").decode().removeprefix("whole")),
            held=bool(rows[at + 1]),
            emptied=bool(rows[at + 2]),
            backlog=int(rows[at + 3] or 0),
            skipped={place.decode(): int(eid) for place, eid in rows[at + 4].items()},
            last=msgspec.json.decode(rows[at + 5], type=Pass) if rows[at + 5] else None,
        )
        for name, at in zip(names, range(0, len(rows), 6), strict=True)
    }


async def detach(journal: Journal, driver: str, *, held: bool = False) -> bool:
    """From now on its share is skipped, as if its backlog had passed its bound; False if it is so already.

    ``held``: until it is released, though it answers.
    """
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(f"{PREFIX}detached", driver, "away")
            if held:
                pipe.sadd(f"{PREFIX}held", driver)
            return any(await pipe.execute())


async def release(journal: Journal, driver: str) -> None:
    """Nobody keeps the driver away any more: once it answers it is brought back."""
    with translated():
        await journal.client.srem(f"{PREFIX}held", driver)


async def attach(journal: Journal, name: str, *, frm: State, to: State) -> bool:
    """One step on the way back; False if it was not in the state ``frm``."""
    run = journal.client.register_script(script("attach"))
    with translated():
        return bool(await run(keys=[PREFIX], args=[name, frm, to]))


async def missed(journal: Journal, driver: str, place: str, since: int) -> None:
    """A driver that is away is to be merged from the version ``since`` on, at the latest, when it is back."""
    run = journal.client.register_script(script("missed"))
    with translated():
        await run(keys=[PREFIX], args=[driver, place, since])


async def save(journal: Journal, name: str, it: Pass) -> None:
    with translated():
        await journal.client.set(f"{PREFIX}sync:{name}", msgspec.json.encode(it))


async def places(journal: Journal) -> list[Place]:
    """Every namespace and source that anything was ever accepted for."""
    with translated():
        found = await journal.client.smembers(f"{PREFIX}scopes")
    pairs = (place.decode().rpartition("|") for place in cast(set[bytes], found))
    return sorted((namespace, source) for namespace, _, source in pairs)


async def lowest_open(journal: Journal) -> int | None:
    """The first version of the oldest envelope that has an open stage; None if nothing is in flight."""
    with translated():
        found = await journal.client.zrange(f"{PREFIX}open", 0, 0)
    return int(cast(Sequence[bytes], found)[0]) if found else None


async def last_version(journal: Journal) -> int:
    """The highest version that was handed out; 0 if none was."""
    with translated():
        return int(await journal.client.get(f"{PREFIX}ver") or 0)


async def synced(journal: Journal, driver: str, place: str, until: int) -> None:
    """What ``driver`` had skipped of ``place`` below ``until`` has come to it: the jobs that can be read
    say so."""
    namespace, _, source = place.rpartition("|")
    run = journal.client.register_script(script("synced"))
    low: str | int = 0
    while True:
        with translated():
            found = await journal.client.zrangebyscore(
                f"{PREFIX}envs:{namespace}", low, f"({until}", start=0, num=EIDS_AT_ONCE
            )
            eids = [int(eid) for eid in cast(Sequence[bytes], found)]
            if eids:
                await run(keys=[PREFIX], args=[namespace, source, driver, *eids])
        if len(eids) < EIDS_AT_ONCE:
            return
        low = f"({eids[-1]}"
