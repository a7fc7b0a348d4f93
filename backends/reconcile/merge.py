"""The k-way merge of the peers' scans, page by page, in (version, id) order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.reconcile.peer import Peer, scan_page, together
from backends.reconcile.plan import Plan
from memrelay.types import Entry, Memory, Op, Scope, Upsert

Key = tuple[int, str]


@dataclass(slots=True)
class Line:
    """What is known of one id at one version. Peers are numbered; the first is the primary.

    ``held``: the digests of the peers whose scans have it. ``found``: what ``records`` says of the
    id for the peers that were asked; None where it is left out.
    """

    id: str
    version: int
    held: dict[int, str | None] = field(default_factory=dict)
    found: dict[int, Op | None] = field(default_factory=dict)
    readable: Memory | None = None
    """The memory without a sound vector, from a peer that can still read it."""
    mended: Upsert | None = None
    """``readable`` with a new vector."""


class Merge:
    """The lines of all peers' scans, from ``plan.since`` up to, but not with, ``plan.until``.

    At most a page of each peer is in memory.
    """

    def __init__(self, scope: Scope, peers: Sequence[Peer], plan: Plan) -> None:
        self._streams = [_Stream(scope, peer, plan) for peer in peers]

    async def position(self) -> int | None:
        """The version of the next line: all lines below it were taken. None at the end."""
        await together(stream.fill() for stream in self._streams)
        heads = [stream.entries[0].version for stream in self._streams if stream.entries]
        return min(heads, default=None)

    def take(self) -> list[Line]:
        """The next lines, in order; as far as every scan is known. ``position`` comes first."""
        ends = [_key(stream.entries[-1]) for stream in self._streams if not stream.ended]
        horizon = min(ends, default=None)
        lines: dict[Key, Line] = {}
        for number, stream in enumerate(self._streams):
            for entry in stream.take(horizon):
                line = lines.setdefault(_key(entry), Line(entry.id, entry.version))
                line.held[number] = entry.digest
        return [lines[key] for key in sorted(lines)]


class _Stream:
    """One peer's scan. It has ended when no page is to come; ``entries`` may still be left then."""

    def __init__(self, scope: Scope, peer: Peer, plan: Plan) -> None:
        self.entries: Sequence[Entry] = ()
        self.ended = False
        self._scope = scope
        self._peer = peer
        self._plan = plan
        self._cursor: str | None = None

    async def fill(self) -> None:
        """Read on until there is an entry, or no more."""
        while not self.entries and not self.ended:
            since, limit = self._plan.since, self._plan.page
            page = await scan_page(
                self._scope, self._peer, since=since, cursor=self._cursor, limit=limit
            )
            self.entries, self._cursor = page.entries, page.cursor
            self.ended = page.cursor is None
            self._cut(self._plan.until)

    def take(self, horizon: Key | None) -> Sequence[Entry]:
        """The entries up to ``horizon``, or all."""
        end = len(self.entries)
        if horizon is not None:
            end = bisect_right(self.entries, horizon, key=_key)
        taken, self.entries = self.entries[:end], self.entries[end:]
        return taken

    def _cut(self, until: int | None) -> None:
        if until is not None and self.entries and self.entries[-1].version >= until:
            self.entries = [entry for entry in self.entries if entry.version < until]
            self.ended = True


def _key(entry: Entry) -> Key:
    return entry.version, entry.id
