"""The read-only proof that a source's replicas are one, and hold what was promised."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from backends.reconcile.divergence import Divergence
from backends.reconcile.ledger import Account, Audit, Ledger
from backends.reconcile.peer import Peer, scan_page, together
from backends.reconcile.plan import Plan
from backends.reconcile.reconcile import reconcile
from memrelay.errors import MemrelayError
from memrelay.types import Scope


@dataclass(frozen=True, slots=True)
class Census:
    """What one replica holds. ``account`` is None where no ledger was given."""

    live: int
    tombstones: int
    account: Account | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen, by driver. ``unreachable``: the drivers that could not be read, and why."""

    census: Mapping[str, Census]
    divergence: Divergence
    unreachable: Mapping[str, str]

    @property
    def sound(self) -> bool:
        """Every driver was read, all hold the same undamaged, and the ledger's equation holds."""
        accounts = [seen.account for seen in self.census.values() if seen.account is not None]
        return (
            not self.unreachable
            and self.divergence.sound
            and all(account.sound for account in accounts)
        )


NO_DEAD: Mapping[str, Collection[int]] = {}
DEEP = Plan(deep=True, repair=False)


async def verify(
    scope: Scope,
    peers: Sequence[Peer],
    *,
    plan: Plan = DEEP,
    ledger: Ledger | None = None,
    dead: Mapping[str, Collection[int]] = NO_DEAD,
    canceled: Container[int] = (),
) -> Proof:
    """Read every replica and every record of it; writes nothing, whatever ``plan`` says.

    A ledger proves something only when nothing is in flight. ``dead``: the versions of the dead
    letters of each driver; ``canceled``: those that no driver was to store. Raises ``Transient`` for a
    driver that fails midway.
    """
    refusals = await together(_refusal(scope, peer) for peer in peers)
    unreachable = {
        peer.name: reason
        for peer, reason in zip(peers, refusals, strict=True)
        if reason is not None
    }
    reached = [peer for peer in peers if peer.name not in unreachable]
    census = await together(
        take_census(scope, peer, ledger, dead.get(peer.name, ()), canceled) for peer in reached
    )
    progress = await reconcile(scope, reached, replace(plan, repair=False))
    names = [peer.name for peer in reached]
    return Proof(dict(zip(names, census, strict=True)), progress.divergence, unreachable)


async def take_census(
    scope: Scope,
    peer: Peer,
    ledger: Ledger | None = None,
    dead: Collection[int] = (),
    canceled: Container[int] = (),
) -> Census:
    """One scan of one replica. Its memory is that of the ledger, and a page."""
    audit = Audit(ledger, dead, canceled) if ledger is not None else None
    live = tombstones = 0
    cursor: str | None = None
    while True:
        page = await scan_page(scope, peer, cursor=cursor)
        found = sum(entry.digest is not None for entry in page.entries)
        live += found
        tombstones += len(page.entries) - found
        if audit is not None:
            audit.take(page.entries)
        cursor = page.cursor
        if cursor is None:
            return Census(live, tombstones, audit.account() if audit is not None else None)


async def _refusal(scope: Scope, peer: Peer) -> str | None:
    try:
        await peer.call(scope, lambda driver: driver.ping())
    except MemrelayError as error:
        return str(error)
    return None
