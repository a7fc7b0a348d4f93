"""One pass over all replicas of a scope, or a slice of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched

from backends.reconcile.divergence import NO_DRIFT, Divergence, Progress
from backends.reconcile.merge import Merge
from backends.reconcile.peer import Peer, together
from backends.reconcile.plan import Plan
from backends.reconcile.repair import BATCH, Repair
from memrelay.types import Scope

WHOLE = Plan()


async def reconcile(scope: Scope, peers: Sequence[Peer], plan: Plan = WHOLE) -> Progress:
    """Bring all ``peers`` to the highest version of every id; the first peer is the primary.

    Both ways, and nothing is deleted because others lack it. Ids that are written meanwhile are left
    to their writers. At one version the tombstone wins over a memory, then the first peer whose record
    is sound. Raises ``Transient`` when a peer fails for now, ``Permanent`` when it refuses a whole
    call; what was done stays, and ``plan.saved`` knows where to go on.
    """
    merge = Merge(scope, peers, plan)
    repair = Repair(scope, peers, plan)
    divergence = Divergence(0, {peer.name: NO_DRIFT for peer in peers})
    reached: int | None = None
    while (position := await merge.position()) is not None:
        if reached is not None and position > reached:
            progress = Progress(divergence, position)
            await plan.saved(progress)
            if not plan.more():
                return progress
        lines = merge.take()
        reached = lines[-1].version
        batches = batched(filter(repair.suspect, lines), BATCH)
        for found in await together(repair.settle(batch) for batch in batches):
            divergence += found
        divergence += Divergence(len(lines))
    return Progress(divergence, None)
