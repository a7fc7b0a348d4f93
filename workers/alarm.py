"""The alarm: when most of what a stage is given is refused, it is a setting rather than the memories.

Refusals are then held back, to be tried again, instead of becoming dead letters by the thousand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from backends.journal import Journal, Tally
from backends.journal.alarms import tallied

log = logging.getLogger("memrelay.worker")


async def held_back(journal: Journal, lines: Sequence[Tally], limit: int) -> frozenset[str]:
    """The stages whose refusals are not to be given up: more than ``limit``, and more than it took."""
    suspects = [line for line in lines if line.bad]
    if not suspects:
        return frozenset()
    known = await tallied(journal, [line.stage for line in suspects])
    held = set()
    for line in suspects:
        ok, bad = known[line.stage]
        if bad + line.bad > limit and bad + line.bad > ok + line.ok:
            held.add(line.stage)
            log.error(
                "%s refuses most of what it is given: %d memories are held back until it is mended "
                "(or: memrelay dlq resume)",
                line.stage,
                line.bad,
            )
    return frozenset(held)


def told(lines: Sequence[Tally], held: frozenset[str], detail: str) -> list[Tally]:
    """The lines as the journal counts them: what is held back is not refused yet, but an alarm."""
    return [
        Tally(stage=line.stage, ok=line.ok, bad=0, alarm=detail) if line.stage in held else line
        for line in lines
    ]
