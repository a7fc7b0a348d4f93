"""Members: which drivers a source has, and which of them have everything of it.

The journal remembers it, so that a driver which the settings name from now on is known to have nothing of
what was stored before, and one that was retired stays away. Of a source that it knows nothing of, every
driver of the settings is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal, script
from memrelay.errors import InvalidInput, Permanent

Membership = Literal["whole", "away", "syncing", "retired"]
NOT_A_MEMBER, LAST_WHOLE = -1, -2


class NotAMember(InvalidInput):
    """The source has no such driver."""

    code = "not_a_member"


class LastWhole(Permanent):
    """No other driver of the source has everything."""

    code = "last_whole"


@dataclass(frozen=True, slots=True)
class Members:
    """Of one source. ``first`` comes before the order of the settings; empty if none does."""

    states: Mapping[str, Membership] = field(default_factory=dict)
    first: str = ""

    def order(self, configured: Sequence[str]) -> list[str]:
        """Those that writes are for, the ones that have everything first."""
        if not self.states:
            return list(configured)
        names = dict.fromkeys([self.first, *configured, *self.states])
        whole = [name for name in names if self.states.get(name) == "whole"]
        return whole + [name for name in names if self.states.get(name) in ("away", "syncing")]


async def members(journal: Journal, sources: Iterable[str]) -> dict[str, Members]:
    """By source."""
    names = list(sources)
    with translated():
        async with journal.client.pipeline(transaction=True) as pipe:
            for name in names:
                pipe.hgetall(f"{PREFIX}members:{name}")
                pipe.hget(f"{PREFIX}first", name)
            rows = await pipe.execute()
    return {
        name: Members(
            {
                driver.decode(): cast(Membership, state.decode())
                for driver, state in sorted(rows[at].items())
            },
            (rows[at + 1] or b"").decode(),
        )
        for name, at in zip(names, range(0, len(rows), 2), strict=True)
    }


async def enter(journal: Journal, source: str, drivers: Sequence[str]) -> bool:
    """A process has these drivers in its settings. Those that are new have missed everything."""
    return await _run(journal, "enter", source, drivers) == 1


async def join(journal: Journal, source: str, driver: str, *, empty: bool = False) -> bool:
    """The driver is a member from now on and has missed everything; False if it is one already.

    What it has of the source is removed before it is filled, if it was retired or ``empty`` says so.
    """
    args = [driver, "empty"] if empty else [driver]
    return await _run(journal, "join", source, args) == 1


async def retire(journal: Journal, source: str, driver: str, *, successor: str = "") -> bool:
    """The driver is a member no more, whether or not it answers; False if it is so already.

    ``successor``, if it has everything, comes first from now on. Raises ``NotAMember``, and
    ``LastWhole`` where no other driver has everything: nothing has changed then.
    """
    answer = await _run(journal, "retire", source, [driver, successor] if successor else [driver])
    if answer == NOT_A_MEMBER:
        raise NotAMember(f"{driver} is no driver of {source}")
    if answer == LAST_WHOLE:
        raise LastWhole(f"no other driver of {source} has everything: wait until one serves")
    return answer == 1


async def _run(journal: Journal, action: str, source: str, drivers: Sequence[str]) -> int:
    run = journal.client.register_script(script("members"))
    with translated():
        return int(await run(keys=[PREFIX], args=[action, source, *drivers]))
