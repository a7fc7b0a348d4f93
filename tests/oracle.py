"""The oracle: what was acknowledged, and what the stores hold, compared without memrelay in between."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from api.state import NAMESPACE
from backends.registry import create_driver
from memrelay.driver import Driver, Query
from memrelay.times import now_us, parse_time
from memrelay.types import Entry, Memory, Op, Scope, Space, memory_digest, memory_to_json

LOCAL_SPACE = Space("local/wordllama", 256)
CREATED_AT = "2026-01-31T12:00:00Z"
PAGE = 1000
SEARCHES_AT_ONCE = 16

VectorOf = Callable[[str, int], bytes]
"""Float32 bytes of a text's vector of so many dimensions."""


def scope_of(space: Space = LOCAL_SPACE) -> Scope:
    """Where the tests' memories are: the default source of the one namespace without API keys."""
    return Scope(namespace=NAMESPACE, source="default", space=space)


def digest_of(memory: Mapping[str, Any]) -> str:
    """What a store's scan says of a memory that was sent as this JSON; it must have a ``created_at``."""
    fields = dict(memory)
    for name in fields.keys() & {"created_at", "expires_at"}:
        fields[name] = parse_time(fields[name])
    return memory_digest(memory_to_json(Memory(**fields)))


Operation = Literal["put", "drop", "drop_where", "replay"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One acknowledged write. ``digest`` is None for a delete; ``fields`` is what it may be selected by.

    Of a ``drop_where`` the ``id`` is empty, and ``fields`` has the one pair that its selection asks for.
    A ``replay`` names a dead letter that was sent on its way again, at its own version.
    """

    id: str
    version: int
    digest: str | None
    job: str
    operation: Operation = "put"
    fields: tuple[tuple[str, str], ...] = ()
    namespace: str = NAMESPACE
    at: float = field(default_factory=time.time)


def fields_of(memory: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The pairs of a memory's JSON that a delete by user or by filter can ask for."""
    pairs = [("tags", tag) for tag in memory.get("tags", ())]
    pairs += [
        (f"metadata.{key}", value)
        for key, value in memory.get("metadata", {}).items()
        if isinstance(value, str)
    ]
    if memory.get("user_id") is not None:
        pairs.append(("user_id", memory["user_id"]))
    return tuple(pairs)


class Ledger:
    """Every acknowledged write, on the disk before the next request is sent. For many threads."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Accepted] = []
        self._file = path.open("a")
        self._lock = threading.Lock()

    def close(self) -> None:
        self._file.close()

    def note(self, lines: Sequence[Accepted]) -> None:
        texts = [json.dumps(asdict(line)) + "\n" for line in lines]
        with self._lock:
            self.lines += lines
            self._file.writelines(texts)
            self._file.flush()
            os.fsync(self._file.fileno())

    def newest(
        self, namespace: str = NAMESPACE, dead: Container[tuple[str, int]] = ()
    ) -> dict[str, Accepted]:
        """What has to be there of each id: the write with the highest version that is not ``dead``.

        A put that a later ``drop_where`` selects is a drop of that version.
        """
        newest: dict[str, Accepted] = {}
        dropped: dict[tuple[str, str], int] = {}
        for line in self.lines:
            if line.namespace != namespace or line.operation == "replay":
                continue
            if line.operation == "drop_where":
                [pair] = line.fields
                dropped[pair] = max(dropped.get(pair, 0), line.version)
            elif (line.id, line.version) not in dead and (
                line.id not in newest or newest[line.id].version < line.version
            ):
                newest[line.id] = line
        return {id: _unless_dropped(line, dropped) for id, line in newest.items()}

    def jobs(self) -> set[str]:
        return {line.job for line in self.lines}


def _unless_dropped(line: Accepted, dropped: Mapping[tuple[str, str], int]) -> Accepted:
    version = max((dropped.get(pair, 0) for pair in line.fields), default=0)
    if line.digest is None or version < line.version:
        return line
    return replace(line, version=version, digest=None, operation="drop")


@dataclass(slots=True)
class Verdict:
    """The ids for which a store differs from the ledger; a sound store has none in any list."""

    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)


SOUND = Verdict()


def judge(
    ledger: Ledger,
    store: Mapping[str, Any],
    scope: Scope | None = None,
    dead: Container[tuple[str, int]] = (),
) -> Verdict:
    """The ledger against one store, read by a driver of its own; ``store`` is its settings.

    ``dead``: (id, version) of what its jobs say that this store refused for good.
    """
    scope = scope or scope_of()
    entries, count = read(store, scope)
    held = {entry.id: entry for entry in entries}
    newest = ledger.newest(scope.namespace, dead)
    verdict = Verdict()
    for id, line in newest.items():
        _judge_one(verdict, line, held.get(id))
    live = [entry.id for entry in entries if entry.digest is not None]
    verdict.duplicates = [id for id, times in Counter(live).items() if times > 1]
    verdict.strangers = [id for id in live if id not in newest]
    if count != len(live):
        verdict.miscounted = [f"{count} counted, {len(live)} scanned"]
    return verdict


def _judge_one(verdict: Verdict, line: Accepted, entry: Entry | None) -> None:
    if line.digest is None:
        if entry is not None and entry.digest is not None:
            verdict.resurrected.append(line.id)
    elif entry is None or entry.digest is None:
        verdict.lost.append(line.id)
    elif entry.version < line.version:
        verdict.stale.append(line.id)
    elif (entry.version, entry.digest) != (line.version, line.digest):
        verdict.damaged.append(line.id)


def place(store: Mapping[str, Any], scope: Scope, ops: Sequence[Op]) -> None:
    """Put memories into a store past memrelay: what must never appear elsewhere."""
    asyncio.run(_place(create_driver("oracle", store), scope, ops))


async def _place(driver: Driver, scope: Scope, ops: Sequence[Op]) -> None:
    await driver.open()
    try:
        await driver.ensure(scope)
        outcomes = await driver.apply(scope, ops)
    finally:
        await driver.close()
    assert {outcome.status for outcome in outcomes.values()} == {"applied"}, outcomes


def read(store: Mapping[str, Any], scope: Scope | None = None) -> tuple[list[Entry], int]:
    """Everything that a store's scan gives, and its count of live memories."""
    return asyncio.run(_read(create_driver("oracle", store), scope or scope_of()))


async def _read(driver: Driver, scope: Scope) -> tuple[list[Entry], int]:
    await driver.open()
    try:
        await driver.ensure(scope)
        entries: list[Entry] = []
        page = await driver.scan(scope, limit=PAGE)
        entries += page.entries
        while page.cursor is not None:
            page = await driver.scan(scope, cursor=page.cursor, limit=PAGE)
            entries += page.entries
        return entries, await driver.count(scope, None, now=now_us())
    finally:
        await driver.close()


def misaligned(
    store: Mapping[str, Any], scope: Scope, texts: Mapping[str, str], vector_of: VectorOf
) -> list[str]:
    """The ids whose vector in the store is not that of their text."""
    return asyncio.run(_misaligned(create_driver("oracle", store), scope, texts, vector_of))


async def _misaligned(
    driver: Driver, scope: Scope, texts: Mapping[str, str], vector_of: VectorOf
) -> list[str]:
    await driver.open()
    at_once = asyncio.Semaphore(SEARCHES_AT_ONCE)

    async def is_there(id: str, text: str) -> bool:
        vector = vector_of(text, scope.space.dimensions)
        query = Query(mode="semantic", top_k=1, now=now_us(), vector=vector, include_vector=True)
        async with at_once:
            [hit] = await driver.search(scope, query)
        held = np.frombuffer(hit.vector or b"", dtype="<f4")
        wanted = np.frombuffer(vector, dtype="<f4")
        return (hit.memory.id, hit.memory.text) == (id, text) and np.allclose(
            held, wanted, atol=1e-5
        )

    try:
        there = await asyncio.gather(*(is_there(id, text) for id, text in texts.items()))
    finally:
        await driver.close()
    return [id for id, fine in zip(texts, there, strict=True) if not fine]
