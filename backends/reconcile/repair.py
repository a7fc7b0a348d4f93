"""One batch of lines: the records are read, the verdicts found, and what they ask for is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from backends.reconcile.divergence import NO_DRIFT, Divergence, Kind
from backends.reconcile.judge import (
    Verdict,
    digest_of,
    is_covered,
    judge,
    overtaken,
    to_ask_first,
    wanted,
)
from backends.reconcile.merge import Line
from backends.reconcile.peer import Peer, together
from backends.reconcile.plan import Plan
from memrelay.errors import Permanent, Transient
from memrelay.types import Memory, Op, Outcome, Scope, Upsert

BATCH = 512

Outcomes = Mapping[int, Mapping[str, Outcome]]
Ending = Literal["seen", "repaired", "unrepaired", "overtaken"]
"""``overtaken``: the peer has a newer version by now, so it did not differ."""


class Repair:
    """The peers of one scope under one plan."""

    def __init__(self, scope: Scope, peers: Sequence[Peer], plan: Plan) -> None:
        self._scope = scope
        self._peers = peers
        self._plan = plan
        self._doubted = {n for n, peer in enumerate(peers) if peer.name in plan.doubted}

    def suspect(self, line: Line) -> bool:
        """Whether the scans alone do not show that all is well."""
        digests = set(line.held.values())
        return (
            self._plan.deep
            or len(line.held) < len(self._peers)
            or len(digests) > 1
            or not self._doubted.isdisjoint(line.held)
        )

    async def settle(self, lines: Sequence[Line]) -> Divergence:
        """What at most 512 lines show, repaired if the plan says so. ``Transient`` as a peer raises it."""
        count = len(self._peers)
        deep, doubted = self._plan.deep, self._doubted
        await self._ask(
            [(line, to_ask_first(line, count, deep=deep, doubted=doubted)) for line in lines]
        )
        open_lines = [line for line in lines if not overtaken(line)]
        orphans = [line for line in open_lines if wanted(line) is None]
        await self._ask([(line, line.held.keys() - line.found.keys()) for line in orphans])
        await self._rescue([line for line in orphans if wanted(line) is None])
        verdicts = [judge(line, count, self._plan) for line in open_lines if not overtaken(line)]
        verdicts = [verdict for verdict in verdicts if verdict.findings]
        outcomes = await self._write(verdicts) if self._plan.repair else {}
        return self._divergence(verdicts, outcomes)

    async def _ask(self, questions: Sequence[tuple[Line, Iterable[int]]]) -> None:
        """Read the records of each line from the peers that it names."""
        ids: defaultdict[int, dict[str, None]] = defaultdict(dict)
        for line, numbers in questions:
            for number in numbers:
                ids[number][line.id] = None
        answers = await together(self._records(number, tuple(ids[number])) for number in ids)
        found = dict(zip(ids, answers, strict=True))
        for line, numbers in questions:
            for number in tuple(numbers):
                line.found[number] = found[number].get(line.id)

    async def _records(self, number: int, ids: Sequence[str]) -> Mapping[str, Op]:
        scope = self._scope
        return await self._peers[number].call(scope, lambda driver: driver.records(scope, ids))

    async def _rescue(self, lines: Sequence[Line]) -> None:
        """New vectors for memories that some holder can still read, unaltered."""
        ids: defaultdict[int, list[str]] = defaultdict(list)
        for line in lines:
            for number in line.held:
                ids[number].append(line.id)
        answers = await together(self._get(number, tuple(ids[number])) for number in ids)
        memories = dict(zip(ids, answers, strict=True))
        for line in lines:
            for number, digest in sorted(line.held.items()):
                memory = memories[number].get(line.id)
                if (
                    memory is not None
                    and memory.version == line.version
                    and digest_of(memory) == digest
                ):
                    line.readable = memory
                    break
        await self._embed([line for line in lines if not is_covered(line, self._plan)])

    async def _get(self, number: int, ids: Sequence[str]) -> Mapping[str, Memory]:
        scope = self._scope
        return await self._peers[number].call(scope, lambda driver: driver.get(scope, ids))

    async def _embed(self, lines: Sequence[Line]) -> None:
        readable = [(line, line.readable) for line in lines if line.readable is not None]
        if self._plan.embed is None or not self._plan.repair or not readable:
            return
        try:
            vectors = await self._plan.embed([memory.text for _, memory in readable])
        except Permanent:
            return  # counted as unrepaired
        for (line, memory), vector in zip(readable, vectors, strict=True):
            line.mended = Upsert(memory, vector)

    async def _write(self, verdicts: Sequence[Verdict]) -> Outcomes:
        ops: defaultdict[int, dict[str, Op]] = defaultdict(dict)
        for verdict in verdicts:
            if verdict.op is not None:
                for number in verdict.writes:
                    ops[number][verdict.id] = verdict.op  # lines rise: the last is the newest
        answers = await together(
            self._peers[number].write(self._scope, tuple(ops[number].values())) for number in ops
        )
        outcomes = dict(zip(ops, answers, strict=True))
        for number, waiting in ops.items():
            for id in waiting:
                _raise_transient(self._peers[number].name, outcomes[number].get(id))
        return outcomes

    def _divergence(self, verdicts: Sequence[Verdict], outcomes: Outcomes) -> Divergence:
        ids: defaultdict[tuple[int, Kind], list[str]] = defaultdict(list)
        for verdict in verdicts:
            for number, finding in verdict.findings.items():
                ending = self._ending(verdict, outcomes.get(number, {}))
                if ending != "overtaken":
                    ids[number, finding].append(verdict.id)
                if ending in ("repaired", "unrepaired"):
                    ids[number, ending].append(verdict.id)
        drifts = {peer.name: NO_DRIFT for peer in self._peers}
        for (number, kind), found in ids.items():
            name = self._peers[number].name
            drifts[name] = drifts[name].noted(kind, tuple(found))
        return Divergence(0, drifts)

    def _ending(self, verdict: Verdict, outcomes: Mapping[str, Outcome]) -> Ending:
        if not self._plan.repair:
            return "seen"
        if verdict.op is None:
            return "unrepaired"
        match outcomes[verdict.id].status:
            case "applied":
                return "repaired"
            case "stale":
                return "overtaken"
            case "failed":
                return "unrepaired"


def _raise_transient(peer: str, outcome: Outcome | None) -> None:
    """What may succeed later ends the pass; a refusal for good does not."""
    if outcome is None:
        raise Transient(f"driver {peer} gave no outcome for a memory", code="no_outcome")
    if isinstance(outcome.error, Transient):
        raise outcome.error
