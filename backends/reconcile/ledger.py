"""What a client was promised, line by line, held against what one replica holds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from memrelay.errors import InvalidInput
from memrelay.types import Entry

Fault = Literal["lost", "stale", "resurrected", "altered", "duplicates", "strangers"]
Ending = Literal["visible", "deleted", Fault]
FAULTS: tuple[Fault, ...] = get_args(Fault)
ENDINGS: tuple[Ending, ...] = ("visible", "deleted", *FAULTS)
MAX_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Promise:
    """One acknowledged write. ``digest`` is None for a delete.

    ``fields``: what a memory can be selected by; of a delete of a selection, whose ``id`` is empty,
    the one pair that it asks for.
    """

    id: str
    version: int
    digest: str | None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The promises of one namespace. Its memory is that of the file."""

    by_id: Mapping[str, tuple[Promise, ...]]
    """The writes of each id, by rising version."""
    selections: Mapping[tuple[str, str], int]
    """The newest delete by each pair of a field and a value."""

    def dropped(self, promise: Promise) -> int:
        """The version of the newest delete by user or filter that selects this memory; 0 for none."""
        return max((self.selections.get(pair, 0) for pair in promise.fields), default=0)


def read_ledger(lines: Iterable[str], namespace: str) -> Ledger:
    """NDJSON with ``id``, ``version`` and ``digest``, and maybe ``fields``, ``operation``, ``namespace``.

    Lines of another namespace are left out, and those of the operation ``replay``, which promise
    nothing new; a write that stands there twice counts once. A last line that was cut off was not
    acknowledged. ``InvalidInput`` names any other bad line.
    """
    by_id: defaultdict[str, dict[int, Promise]] = defaultdict(dict)
    selections: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        promise = _parsed(line, number, namespace)
        if promise is None:
            continue
        if promise.id:
            by_id[promise.id][promise.version] = promise
            continue
        for pair in promise.fields:
            selections[pair] = max(selections.get(pair, 0), promise.version)
    ordered = {id: tuple(found[at] for at in sorted(found)) for id, found in by_id.items()}
    return Ledger(ordered, selections)


def _parsed(line: str, number: int, namespace: str) -> Promise | None:
    try:
        raw = json.loads(line)
        if raw.get("namespace", namespace) != namespace or raw.get("operation") == "replay":
            return None
        fields = tuple((str(name), str(value)) for name, value in raw.get("fields", ()))
        return Promise(raw["id"], int(raw["version"]), raw["digest"], fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"line {number} of the ledger: {error!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The equation for one replica: accepted = visible + superseded + deleted + dead + canceled + faults.

    ``strangers`` and ``duplicates`` were not accepted, and stand beside it.
    """

    accepted: int = 0
    visible: int = 0
    """Memories at their latest version."""
    superseded: int = 0
    """Writes after which another of the same id was accepted."""
    deleted: int = 0
    """Deletes, and memories that a delete by user or by filter selected, which are gone."""
    dead: int = 0
    """Dead letters of this replica."""
    canceled: int = 0
    """Writes that were canceled before any replica was to store them."""
    lost: int = 0
    """Accepted, not deleted, and not there."""
    stale: int = 0
    """There at a lower version only."""
    resurrected: int = 0
    """Deleted, and there."""
    altered: int = 0
    """There at another digest than the accepted one, or at a version that nobody accepted."""
    duplicates: int = 0
    strangers: int = 0
    """There, of an id that was never accepted."""
    examples: Mapping[Fault, tuple[str, ...]] = field(default_factory=dict)
    """At most 10 ids of each fault."""

    @property
    def faults(self) -> int:
        """How many ids are not as they were promised."""
        return sum(getattr(self, fault) for fault in FAULTS)

    @property
    def sound(self) -> bool:
        """No fault, and the equation holds."""
        known = self.visible + self.superseded + self.deleted + self.dead + self.canceled
        return self.faults == 0 and self.accepted == known


class Audit:
    """One replica's scan, entry by entry, against a ledger. ``dead``: the versions of its dead letters;
    ``canceled``: those that nobody was to store."""

    def __init__(
        self, ledger: Ledger, dead: Collection[int] = (), canceled: Container[int] = ()
    ) -> None:
        self._ledger = ledger
        self._dead = dead
        self._canceled = canceled
        self._held: dict[str, Entry] = {}
        self._strangers: list[str] = []
        self._duplicates: list[str] = []

    def take(self, entries: Iterable[Entry]) -> None:
        """Tombstones of other ids are no strangers: a scoped delete may leave them anywhere."""
        for entry in entries:
            before = self._held.get(entry.id)
            if before is not None and before.digest is not None and entry.digest is not None:
                self._duplicates.append(entry.id)
            if entry.digest is not None and entry.id not in self._ledger.by_id:
                self._strangers.append(entry.id)
            if before is None or before.version <= entry.version:
                self._held[entry.id] = entry

    def account(self) -> Account:
        """Once all entries were taken."""
        dead = canceled = superseded = 0
        endings: defaultdict[Ending, list[str]] = defaultdict(list)
        endings["duplicates"] = self._duplicates
        endings["strangers"] = self._strangers
        for id, promises in self._ledger.by_id.items():
            wanted = [promise for promise in promises if promise.version not in self._canceled]
            alive = [promise for promise in wanted if promise.version not in self._dead]
            canceled += len(promises) - len(wanted)
            dead += len(wanted) - len(alive)
            if alive:
                superseded += len(alive) - 1
                endings[self._ending(alive[-1], self._held.get(id))].append(id)
        return Account(
            accepted=sum(map(len, self._ledger.by_id.values())),
            dead=dead,
            canceled=canceled,
            superseded=superseded,
            **{ending: len(endings[ending]) for ending in ENDINGS},
            examples={fault: tuple(endings[fault][:MAX_EXAMPLES]) for fault in FAULTS},
        )

    def _ending(self, newest: Promise, held: Entry | None) -> Ending:
        gone = newest.digest is None or self._ledger.dropped(newest) > newest.version
        if gone:
            return "deleted" if held is None or held.digest is None else "resurrected"
        if held is None or held.digest is None:
            return "lost"
        if held.version < newest.version:
            return "stale"
        return (
            "visible"
            if (held.version, held.digest) == (newest.version, newest.digest)
            else "altered"
        )
