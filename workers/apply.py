"""Apply: the ops of a claim to one driver, under its deadline and breaker."""

from __future__ import annotations

from collections.abc import Sequence

from backends.sources import Source
from memrelay.errors import MemrelayError, Permanent, Transient
from memrelay.types import Op
from workers.batch import Item
from workers.isolate import isolate


async def apply(
    source: Source, driver: str, namespace: str, items: Sequence[Item]
) -> dict[str, MemrelayError]:
    """The ids which the driver refuses for good, with the reason. Raises ``Transient`` for all.

    When only some ids fail for now, all are redone later: an op is idempotent.
    """
    store = source.store(driver)
    if store is None:
        raise Transient(f"driver {driver} is not configured for source {source.name} here")
    scope = source.scope(namespace)
    failures: dict[str, MemrelayError] = {}

    async def call(ops: Sequence[Op]) -> None:
        outcomes = await store.call(scope, lambda ready: ready.apply(scope, ops))
        for op in ops:
            outcome = outcomes.get(op.id)
            if outcome is None:
                raise Transient(f"driver {driver} gave no outcome for a memory", code="no_outcome")
            if outcome.status == "failed":
                error = outcome.error or Permanent(f"driver {driver} refused it")
                if isinstance(error, Transient):
                    raise error
                failures[op.id] = error

    ops = [op for op in (item.op() for item in items) if op is not None]
    for op, error in await isolate(ops, call):
        failures[op.id] = error
    return failures
