"""The plan of a campaign: what goes wrong, where, when and for how long. It follows from the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of fault. ``targets`` are the names of what it may hit.

    ``blocks``: nothing else of this resource goes wrong meanwhile, and for ``rest`` seconds after,
    which its recovery takes. An empty one is that of the target alone.
    """

    name: str
    targets: tuple[str, ...]
    seconds: tuple[float, float]
    weight: float = 1.0
    rest: float = 1.0
    blocks: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """``at`` and ``seconds`` are of the plan: the machine may take longer. Those of one ``lane`` follow each
    other."""

    at: float
    kind: str
    target: str
    seconds: float
    lane: str


def plan(seed: int, seconds: float, kinds: Sequence[Kind], gap: tuple[float, float]) -> list[Fault]:
    """The faults of a campaign of ``seconds``, in order; the same for the same seed.

    ``gap``: seconds between the beginnings of two, from and to.
    """
    return list(_planned(Random(seed), seconds, kinds, gap))


def _planned(
    chance: Random, seconds: float, kinds: Sequence[Kind], gap: tuple[float, float]
) -> Iterator[Fault]:
    busy: dict[str, float] = {}
    at = chance.uniform(*gap)
    while at < seconds:
        free = [
            (kind, target)
            for kind in kinds
            for target in kind.targets
            if busy.get(kind.blocks or target, 0.0) <= at
        ]
        if free:
            weights = [kind.weight / len(kind.targets) for kind, _ in free]
            [(kind, target)] = chance.choices(free, weights)
            length = min(chance.uniform(*kind.seconds), max(seconds - at, 0.5))
            lane = kind.blocks or target
            busy[lane] = at + length + kind.rest
            yield Fault(at, kind.name, target, length, lane)
        at += chance.uniform(*gap)
