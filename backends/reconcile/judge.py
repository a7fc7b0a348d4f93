"""The verdict on one line: what should be there, and which peer differs from it how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import numpy as np

from backends.reconcile.divergence import Finding
from backends.reconcile.merge import Line
from backends.reconcile.plan import Plan
from memrelay.types import Delete, Memory, Op, Upsert, memory_digest, memory_to_json

SAME_VECTOR = 0.999
"""The cosine from which two vectors are one that a store or a model rounded differently."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``op`` is what every peer in ``writes`` has to apply; None if nobody has it to give."""

    id: str
    op: Op | None
    findings: Mapping[int, Finding]
    writes: Iterable[int]


def overtaken(line: Line) -> bool:
    """Whether some peer has a higher version by now: the id is judged at that one."""
    return any(op is not None and op.version > line.version for op in line.found.values())


def to_ask_first(
    line: Line, peers: int, *, deep: bool, doubted: Set[int] = frozenset()
) -> set[int]:
    """Who is asked for records: those that lack it or are doubted, and a holder to copy from; all in a
    deep pass."""
    everybody = set(range(peers))
    if deep:
        return everybody
    asked = (everybody - line.held.keys()) | doubted
    # A tombstone needs no record to copy from.
    if None in line.held.values():
        return asked
    return {*asked, min(line.held.keys() - doubted or line.held)}


def wanted(line: Line) -> Op | None:
    """What all peers should hold: the tombstone, else what the first peer has sound."""
    at_version = [
        op
        for _, op in sorted(line.found.items(), key=lambda pair: pair[0])
        if op is not None and op.version == line.version
    ]
    if None in line.held.values() or any(isinstance(op, Delete) for op in at_version):
        return Delete(line.id, line.version)
    return at_version[0] if at_version else line.mended


def is_covered(line: Line, plan: Plan) -> bool:
    """Whether a delete by user or by filter, newer than the memory, selects it."""
    op = wanted(line)
    memory = op.memory if isinstance(op, Upsert) else line.readable if op is None else None
    version = plan.covered(memory) if memory is not None else None
    return version is not None and version > line.version


def judge(line: Line, peers: int, plan: Plan) -> Verdict:
    """The line's verdict, once whoever had to be asked was."""
    if is_covered(line, plan):
        # At the memory's own version: a newer one that is not selected may be on its way.
        tombstone = Delete(line.id, line.version)
        holders = [number for number in range(peers) if _holds_memory(line, number)]
        return Verdict(line.id, tombstone, dict.fromkeys(holders, "covered"), range(peers))
    op = wanted(line)
    findings: dict[int, Finding] = {}
    for number in range(peers):
        finding = _finding(line, number, op, plan)
        if finding is not None:
            findings[number] = finding
    return Verdict(line.id, op, findings, findings.keys())


def digest_of(memory: Memory) -> str:
    return memory_digest(memory_to_json(memory))


def _holds_memory(line: Line, number: int) -> bool:
    """At this version or a lower one."""
    return line.held.get(number) is not None or isinstance(line.found.get(number), Upsert)


def _finding(line: Line, number: int, op: Op | None, plan: Plan) -> Finding | None:
    if number not in line.found:
        return None if op is None or line.held[number] == _digest(op) else "different"
    found = line.found[number]
    if found is None:
        if (
            isinstance(op, Delete)
            and line.held.get(number) is None
            and line.version < plan.forgotten
        ):
            return None
        return "damaged" if number in line.held else "missing"
    if found.version < line.version:
        return "stale"
    return None if op is None or _same(found, op) else "different"


def _same(found: Op, op: Op) -> bool:
    if isinstance(found, Delete) or isinstance(op, Delete):
        return isinstance(found, Delete) and isinstance(op, Delete)
    return found is op or (
        digest_of(found.memory) == digest_of(op.memory) and _alike(found.vector, op.vector)
    )


def _digest(op: Op) -> str | None:
    return None if isinstance(op, Delete) else digest_of(op.memory)


def _alike(left: bytes, right: bytes) -> bool:
    """Whether both have one direction; stores may round and scale."""
    if left == right:
        return True
    a, b = (np.frombuffer(vector, dtype="<f4").astype(np.float64) for vector in (left, right))
    if len(a) != len(b):
        return False
    return bool(a @ b >= SAME_VECTOR * np.linalg.norm(a) * np.linalg.norm(b))
