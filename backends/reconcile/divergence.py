"""What a pass found and did, peer by peer. Values add up: slices of a pass to the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Finding = Literal["missing", "stale", "different", "damaged", "covered"]
Kind = Literal[Finding, "repaired", "unrepaired"]
FINDINGS: tuple[Finding, ...] = get_args(Finding)
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How one peer differed from the merge, in ids.

    Each is of one of the first five kinds; a pass that repairs adds it to one of the last two as well,
    so that there the five are ``repaired + unrepaired``.
    """

    missing: int = 0
    """Nothing is held of the id."""
    stale: int = 0
    """A lower version is held."""
    different: int = 0
    """Another memory, or another vector, is held at the same version, or a memory for a tombstone."""
    damaged: int = 0
    """The record is there, but not as it was written."""
    covered: int = 0
    """A memory is held that was deleted by user or by filter."""
    repaired: int = 0
    unrepaired: int = 0
    """No peer has it sound, or this one refused it."""
    examples: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    """At most 10 ids of each kind."""

    @property
    def total(self) -> int:
        """How many ids differed."""
        return sum(self.number(kind) for kind in FINDINGS)

    def number(self, kind: Kind) -> int:
        found: int = getattr(self, kind)
        return found

    def noted(self, kind: Kind, ids: tuple[str, ...]) -> Drift:
        """With ``ids`` added to one kind."""
        return self + Drift(**{kind: len(ids)}, examples={kind: ids[:MAX_EXAMPLES]})

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            missing=self.missing + other.missing,
            stale=self.stale + other.stale,
            different=self.different + other.different,
            damaged=self.damaged + other.damaged,
            covered=self.covered + other.covered,
            repaired=self.repaired + other.repaired,
            unrepaired=self.unrepaired + other.unrepaired,
            examples={
                kind: ids[:MAX_EXAMPLES]
                for kind in KINDS
                if (ids := self.examples.get(kind, ()) + other.examples.get(kind, ()))
            },
        )


NO_DRIFT = Drift()


@dataclass(frozen=True, slots=True)
class Divergence:
    """What was compared, and how each peer differed. ``compared`` counts ids at their versions."""

    compared: int = 0
    peers: Mapping[str, Drift] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """All peers held the same, undamaged."""
        return all(drift.total == 0 for drift in self.peers.values())

    @property
    def settled(self) -> bool:
        """Nothing is left that could not be repaired."""
        return all(drift.unrepaired == 0 for drift in self.peers.values())

    def __add__(self, other: Divergence) -> Divergence:
        names = dict.fromkeys((*self.peers, *other.peers))
        return Divergence(
            self.compared + other.compared,
            {
                name: self.peers.get(name, NO_DRIFT) + other.peers.get(name, NO_DRIFT)
                for name in names
            },
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass came. Everything below version ``resume`` is merged; None: all of it is."""

    divergence: Divergence
    resume: int | None

    @property
    def finished(self) -> bool:
        return self.resume is None
