"""How values travel to the journal's scripts and back: one msgpack argument, and blobs beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backends.journal.envelope import decode_body, decode_vectors, join_writes
from backends.journal.values import (
    Burial,
    Changed,
    Claim,
    Claimed,
    DriverResult,
    Entered,
    Full,
    Hidden,
    KeyReused,
    Limits,
    Scoped,
    Settlement,
    SoFar,
    Unit,
)
from memrelay.batching import Draft

IDEMPOTENCY_SECONDS = 86_400
MOST_TRACES = 32
"""Traceparents that an envelope carries, 55 bytes each."""
FULL = {
    "service": "the service holds as many memories that are not stored yet as it may",
    "namespace": "this namespace has as many memories that are not stored yet as it may",
    "rate": "this namespace writes faster than it may",
}
Errors = list[tuple[int, str, str, str]]


def index(blob: bytes, blobs: list[bytes]) -> int:
    """Where the script finds ``blob`` in its ARGV, the first of which is the packed argument."""
    blobs.append(blob)
    return len(blobs) + 1


def packed_limits(limits: Limits) -> dict[str, int]:
    return {
        "bytes": limits.bytes,
        "memories": limits.memories,
        "ns_bytes": limits.namespace_bytes,
        "ns_memories": limits.namespace_memories,
        "rate": limits.rate,
    }


def packed_unit(unit: Unit, bodies: list[bytes]) -> dict[str, Any]:
    return {
        "key": unit.key,
        "hash": unit.body_hash,
        "answer": unit.answer.decode(),
        "ttl": IDEMPOTENCY_SECONDS,
        "ns": unit.namespace,
        "src": unit.source,
        "expects": [text for id, version in unit.expects.items() for text in (id, str(version))],
        "seen": "" if unit.seen is None else str(unit.seen),
        "envelopes": [_packed_draft(unit, draft, bodies) for draft in unit.drafts],
    }


def _packed_draft(unit: Unit, draft: Draft, bodies: list[bytes]) -> dict[str, Any]:
    return {
        "src": unit.source,
        "q": unit.queue,
        "drivers": ",".join(unit.drivers),
        "n": len(draft.writes),
        "slices": ",".join(f"{start}:{count}" for start, count in draft.slices),
        "body": index(join_writes(draft.writes), bodies),
        "drops": [value for drop in draft.drops for value in drop],
        "scoped": draft.scoped,
        "noted": index(msgspec.json.encode(draft.noted), bodies) if draft.noted else 0,
        "traces": ",".join(draft.traces[:MOST_TRACES]),
        "vectors": index(draft.vectors, bodies) if draft.vectors else 0,
        "space": draft.space,
    }


def entered(answer: list[bytes]) -> Entered | KeyReused | Changed | Full:
    match answer[0]:
        case b"changed":
            return Changed("it was written since it was looked at")
        case b"conflict":
            return KeyReused("this Idempotency-Key was used with another body", pointer="")
        case b"full":
            return Full(FULL[answer[1].decode()], retry_after=float(answer[2]))
    return Entered(int(answer[1]), answer[3] if answer[0] == b"replay" else None)


def claim_of(token: str, queue: str, answer: Sequence[Any]) -> Claim:
    namespace, source, drivers, away, retired, epoch, scoped, hurry, *envelopes = answer
    return Claim(
        token=token,
        queue=queue,
        namespace=namespace.decode(),
        source=source.decode(),
        drivers=drivers.decode().split(","),
        envelopes=[_claimed(envelope) for envelope in envelopes],
        away=_names(away),
        retired=_names(retired),
        epoch=epoch.decode(),
        scoped=[scoped_of(item) for item in scoped],
        hurried=bool(hurry),
    )


def _names(by_commas: bytes) -> frozenset[str]:
    return frozenset(name for name in by_commas.decode().split(",") if name)


def scoped_of(item: bytes) -> Scoped:
    version, _, text = item.decode().partition(" ")
    return Scoped(int(version), text)


def _claimed(answer: Sequence[Any]) -> Claimed:
    eid, n, attempts, body, vectors, versions, most, kills, crashed, so_far, traces = answer
    return Claimed(
        eid=int(eid),
        attempts=attempts,
        writes=decode_body(body),
        vectors=decode_vectors(vectors) if vectors else {},
        versions=[int(version) for version in versions.split(b",")] if versions else (),
        most=most,
        kills=kills,
        crashed=bool(crashed),
        so_far=_so_far(so_far, n),
        traces=traces.decode().split(",") if traces else (),
    )


def _so_far(flat: Sequence[Any], n: int) -> Mapping[str, SoFar]:
    found = {}
    for at in range(0, len(flat), 4):
        driver, letters, errors, tries = flat[at : at + 4]
        outcomes = (letters or b".").decode()
        outcomes = outcomes * n if len(outcomes) == 1 else outcomes
        known = msgspec.json.decode(errors, type=Errors) if errors else []
        found[driver.decode()] = SoFar(outcomes, known, tries)
    return found


def packed_settlement(settlement: Settlement, blobs: list[bytes]) -> dict[str, Any]:
    return {
        "eid": str(settlement.eid),
        "again_ms": settlement.again_ms,
        "refund": settlement.refund,
        "progress": settlement.progress,
        "vectors": index(settlement.vectors, blobs) if settlement.vectors else 0,
        "results": [_packed_result(result) for result in settlement.results],
        "dead": [_packed_burial(burial, blobs) for burial in settlement.dead],
    }


def _packed_result(result: DriverResult) -> dict[str, Any]:
    return {
        "driver": result.driver,
        "outcomes": result.outcomes,
        "errors": msgspec.json.encode(result.errors).decode() if result.errors else "",
        "later_ms": result.later_ms,
        "refund": result.refund,
        "tried": result.tried,
        "skip": result.skip,
        "cleared": [str(value) for pair in result.cleared for value in pair],
        "lagging": [value for pair in result.lagging for value in pair],
        "scopes": [str(version) for version in result.scopes],
        "span": [] if result.span is None else [_ms_ago(moment) for moment in result.span],
    }


def _ms_ago(moment: float) -> int:
    """Of the monotonic clock, which the journal does not share."""
    return round(1000 * (time.monotonic() - moment))


def _packed_burial(burial: Burial, blobs: list[bytes]) -> dict[str, Any]:
    return {
        "version": str(burial.version),
        "id": burial.id,
        "stage": burial.stage,
        "code": burial.code,
        "detail": burial.detail,
        "drivers": ",".join(burial.drivers),
        "attempts": burial.attempts,
        "payload": index(burial.payload, blobs),
    }


def hidden_of(ids: Sequence[str], answer: Sequence[Any]) -> Hidden:
    backlog, state, lag, scoped, entries, space, some = answer
    known = {}
    for id, entry in zip(ids, entries, strict=True):
        if entry:
            version, _, user = entry.decode().partition(" ")
            known[id] = (int(version), user)
    return Hidden(
        behind=backlog,
        detached=bool(state),
        lag=lag,
        scoped=[scoped_of(item) for item in scoped],
        entries=known,
        space=space.decode(),
        some=bool(some),
    )
