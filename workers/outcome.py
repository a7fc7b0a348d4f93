"""Outcome: what the drivers did with a claim becomes the settlement of each envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backends.journal import (
    Burial,
    Claim,
    Claimed,
    DriverResult,
    Drop,
    DropWhere,
    Put,
    Settlement,
    Tally,
    encode_vectors,
    encode_write,
)
from backends.journal.locks import Busy
from backends.journal.marks import user_mark
from backends.store import BreakerOpen
from memrelay.errors import MemrelayError, Permanent, Transient
from workers.apply import Applied, Unfinished
from workers.batch import NEVER_STORED, OPEN, Item, driver_of, kept_vectors

TRIES = 10
"""How often a single memory is tried that fails for now while its driver takes others."""
HELD_MS = 60_000
EMBED = "embed"

type Delay = Callable[[int, Transient], int]
"""Milliseconds until the next attempt, by the number of this one and its error."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One driver's word on one item: a letter, and the reason where it is not good."""

    letter: str
    error: MemrelayError | None = None
    stage: str = ""


PLAIN = {letter: Verdict(letter) for letter in "asfnc."}


class Outcome:
    """Of one claim: every driver's verdict on every item."""

    def __init__(
        self, claim: Claim, items: Sequence[Item], applied: Mapping[str, Applied], delay: Delay
    ) -> None:
        self._claim = claim
        self._applied = applied
        self._delay = delay
        self._items: dict[int, list[Item]] = {eid: [] for eid in claim.eids}
        for item in items:
            self._items[item.eid].append(item)
        self._dropped = {
            item.write.id for item in items if item.superseded and isinstance(item.write, Drop)
        }
        self._envelopes = {envelope.eid: envelope for envelope in claim.envelopes}
        self._held: frozenset[str] = frozenset()
        self._rows = self._judged()

    def hold_back(self, stages: frozenset[str]) -> None:
        """What these stages refuse is tried again later rather than given up."""
        if stages:
            self._held = stages
            self._rows = self._judged()

    def tallies(self) -> list[Tally]:
        """What each stage took and refused in this claim."""
        lines = []
        for driver in self._applied:
            letters = [
                verdict.letter
                for envelope in self._claim.envelopes
                for item, verdict in zip(
                    self._items[envelope.eid], self._rows[envelope.eid, driver], strict=True
                )
                if item.error is None and driver not in item.letters
            ]
            lines.append(Tally(stage=driver, ok=letters.count("a"), bad=letters.count("f")))
        if driver_of(self._claim.queue) is None:
            errors = [
                item.error is None
                for items in self._items.values()
                for item in items
                if not (item.left or item.superseded) and isinstance(item.write, Put)
            ]
            lines.append(
                Tally(stage=self._embed_stage, ok=errors.count(True), bad=errors.count(False))
            )
        return lines

    @property
    def first_refusal(self) -> str:
        """Why something was refused, for the alarm."""
        errors = (v.error for row in self._rows.values() for v in row if v.error is not None)
        return str(next(errors, ""))

    def _judged(self) -> dict[tuple[int, str], list[Verdict]]:
        return {
            (envelope.eid, driver): [
                self._verdict(envelope, item, driver) for item in self._items[envelope.eid]
            ]
            for envelope in self._claim.envelopes
            for driver in self._applied
        }

    def settlements(self, eids: Sequence[int] | None = None) -> list[Settlement]:
        return [
            self._settlement(envelope)
            for envelope in self._claim.envelopes
            if eids is None or envelope.eid in eids
        ]

    @property
    def _embed_stage(self) -> str:
        return f"{EMBED}:{self._claim.source}"

    def _settlement(self, envelope: Claimed) -> Settlement:
        items = self._items[envelope.eid]
        results = [self._result(envelope, items, driver) for driver in self._applied]
        dead = self._dead(envelope, items)
        vectors = b""
        if any(result.later_ms >= 0 or result.skip for result in results):
            vectors = encode_vectors(kept_vectors(items))
        progress = envelope.most > 0 and any(set(result.outcomes) - {OPEN} for result in results)
        waiting = [item for item in items if item.left or self._is_held(item)]
        if waiting and driver_of(self._claim.queue) is None:
            again_ms = 0 if any(item.left for item in waiting) else HELD_MS
            if envelope.most and not progress:
                again_ms = max((result.later_ms for result in results), default=0)
            return Settlement(
                eid=envelope.eid,
                results=[_unfinished(result) for result in results],
                again_ms=again_ms,
                progress=progress,
                vectors=encode_vectors(kept_vectors(items)),
                dead=dead,
            )
        return Settlement(
            eid=envelope.eid, results=results, progress=progress, vectors=vectors, dead=dead
        )

    def _is_held(self, item: Item) -> bool:
        return item.error is not None and self._embed_stage in self._held

    def _verdict(self, envelope: Claimed, item: Item, driver: str) -> Verdict:
        if driver in item.letters:
            return PLAIN[item.letters[driver]]
        if item.left:
            return PLAIN[OPEN]
        if item.by is not None:
            return self._superseded(item.by, driver)
        if item.error is not None:
            return self._refused(item.error, self._embed_stage)
        if driver in self._claim.retired or (
            driver in self._claim.away and not isinstance(item.write, DropWhere)
        ):
            return PLAIN["n"]
        applied = self._applied[driver]
        if applied.down is not None:
            return Verdict(OPEN, applied.down)
        if isinstance(item.write, DropWhere):
            error = applied.unfinished.get(item.version)
            return Verdict(OPEN, error) if error else PLAIN["a"]
        if item.write.id in applied.refused:
            return self._refused(applied.refused[item.write.id], driver)
        if item.write.id in applied.later:
            return self._failed_for_now(envelope, driver, applied.later[item.write.id])
        return PLAIN["s" if item.covered else "a"]

    def _superseded(self, by: Item, driver: str) -> Verdict:
        """An older write has ended when the one in its place is there; it is needed when that is refused."""
        newer = self._verdict(self._envelopes[by.eid], by, driver)
        if newer.letter == "a":
            return PLAIN["s"]
        if newer.letter == "f":
            return Verdict(OPEN, Transient("what took its place was refused", retry_after=0.05))
        return newer

    def _refused(self, error: MemrelayError, stage: str) -> Verdict:
        return Verdict(OPEN if stage in self._held else "f", error, stage)

    def _failed_for_now(self, envelope: Claimed, driver: str, error: Transient) -> Verdict:
        known = envelope.so_far.get(driver)
        if known is None or known.tries < TRIES - 1:
            return Verdict(OPEN, error)
        given_up = Permanent(f"tried {known.tries + 1} times: {error}", code="retries_exhausted")
        return self._refused(given_up, driver)

    def _result(self, envelope: Claimed, items: Sequence[Item], driver: str) -> DriverResult:
        verdicts = self._rows[envelope.eid, driver]
        letters = "".join(verdict.letter for verdict in verdicts)
        known = envelope.so_far.get(driver)
        errors = list(known.errors) if known else []
        errors += [
            (item.position, item.write.id, verdict.error.code, str(verdict.error))
            for item, verdict in zip(items, verdicts, strict=True)
            if verdict.letter == "f" and verdict.error is not None
        ]
        if OPEN in letters:
            letters = letters.replace("n", OPEN)
            return self._later(envelope, driver, letters, errors)
        return DriverResult(
            driver=driver,
            outcomes=letters[0] if len(set(letters)) == 1 else letters,
            errors=errors,
            skip="n" in letters,
            cleared=self._cleared(envelope, items, letters),
            lagging=_lagging(items, letters.replace("n", OPEN)) if "n" in letters else (),
            scopes=[item.version for item in items if isinstance(item.write, DropWhere)],
            span=self._applied[driver].span,
        )

    def _later(
        self,
        envelope: Claimed,
        driver: str,
        letters: str,
        errors: Sequence[tuple[int, str, str, str]],
    ) -> DriverResult:
        applied = self._applied[driver]
        rows = self._rows[envelope.eid, driver]
        reasons = [verdict.error for verdict in rows if verdict.letter == OPEN and verdict.error]
        own_queue = driver_of(self._claim.queue) is not None
        return DriverResult(
            driver=driver,
            outcomes=letters if set(letters) != {OPEN} else "",
            errors=errors,
            later_ms=self._later_ms(envelope, reasons),
            refund=own_queue and isinstance(applied.down, BreakerOpen | Busy),
            tried=bool(applied.later),
            lagging=_lagging(self._items[envelope.eid], letters),
        )

    def _later_ms(self, envelope: Claimed, reasons: Sequence[MemrelayError]) -> int:
        if not reasons:
            return 0  # only what was left for another try
        if any(isinstance(reason, Permanent) for reason in reasons):
            return HELD_MS
        attempt = 1 if driver_of(self._claim.queue) is None else envelope.attempts
        first = reasons[0]
        assert isinstance(first, Transient)
        if isinstance(first, Unfinished) and first.retry_after:
            return int(1000 * first.retry_after)
        return self._delay(attempt, first)

    def _cleared(
        self, envelope: Claimed, items: Sequence[Item], letters: str
    ) -> list[tuple[str, int]]:
        """Deletes are noted for each driver when they are accepted, other writes once they lag.

        What supersedes a delete clears both, once it is applied: until then there is what was deleted.
        """
        lagged = driver_of(self._claim.queue) is not None or envelope.attempts > 1
        return [
            (item.write.id, item.version)
            for item, letter in zip(items, letters, strict=True)
            if letter not in NEVER_STORED
            and not item.superseded
            and (
                isinstance(item.write, Drop)
                or (isinstance(item.write, Put) and (lagged or item.write.id in self._dropped))
            )
        ]

    def _dead(self, envelope: Claimed, items: Sequence[Item]) -> list[Burial]:
        buried = []
        for position, item in enumerate(items):
            guilty: dict[str, Verdict] = {}
            for driver in self._applied:
                verdict = self._rows[envelope.eid, driver][position]
                if verdict.letter == "f" and verdict.error is not None:
                    guilty[driver] = verdict
            if guilty:
                buried.append(self._burial(envelope, item, guilty))
        return buried

    def _burial(self, envelope: Claimed, item: Item, guilty: Mapping[str, Verdict]) -> Burial:
        first = next(iter(guilty.values()))
        assert first.error is not None
        return Burial(
            version=item.version,
            id=item.write.id,
            stage=EMBED if first.stage == self._embed_stage else "store",
            code=first.error.code,
            detail=str(first.error),
            drivers=list(guilty),
            attempts=envelope.attempts,
            payload=encode_write(item.write),
        )


def _lagging(items: Sequence[Item], letters: str) -> list[tuple[str, str]]:
    """What reads of a driver have to know of the writes that it has not applied."""
    return [
        (item.write.id, f"{item.version} {user_mark(item.write.user_id)}")
        for item, letter in zip(items, letters, strict=True)
        if letter == OPEN and isinstance(item.write, Put)
    ]


def _unfinished(result: DriverResult) -> DriverResult:
    """As it is recorded while the stage itself goes on: nothing ends here, nothing is skipped."""
    letters = result.outcomes.replace("n", OPEN)
    return DriverResult(
        driver=result.driver,
        outcomes=letters if set(letters) - {OPEN} else "",
        errors=result.errors,
        later_ms=0,
        tried=result.tried,
    )
