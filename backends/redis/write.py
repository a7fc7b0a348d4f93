"""The write path: version-guarded, repeatable, and right after a crash at any point.

One order rules everywhere: the *stamp*, 19 digits of version and then 1 for a delete, 0 for an upsert.
The highest stamp wins; an equal one is done again, whole, which mends what was damaged. (So a delete
wins over the upsert of its own version, as expiry needs: a late redelivery does not bring an expired
memory back.)

An op takes up to four steps, each a script on one slot, each safe to repeat:

1. *enter* it in the id directory, unless a higher stamp is there. The entry names its home
   partition and, as ``elsewhere``, every partition that an earlier entry called home.
2. *put* record and vector into the home partition, unless a higher stamp (a record's or a
   tombstone's) is there. The partition is registered just before, in the same trip.
3. *drop* the id from the partitions elsewhere: remove what has no higher stamp, leave a tombstone of
   this stamp. For a delete the old home is elsewhere too, so this is where it happens.
4. *clear* them: if the entry still has this stamp, note that only tombstones are left there.

Why that converges. No one writes to a partition before the directory has named it, and the name
stays in the entry, not cleared, until a tombstone of that entry's stamp or a higher one lies
there. So when op A is overtaken by a higher op B, at whatever point, B has learnt of A's partition.
Either it is B's home too, and the guard of *put* decides between them; or B drops it, and an A that
puts later finds B's tombstone. A crash leaves an entry that still names its partitions: doing the op
again finds the same entry and repeats the steps, and a higher op that comes first inherits the
names. What was acknowledged stays readable meanwhile: a move puts before it drops.

What bars the way of *put* or *drop* is a stamp that was entered before and is not lower than the
entry's. If the directory says otherwise, no op wrote it: it is damage, taken out, and the step is done
once more. Deletes go first and run in a server that is out of memory: they make room.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import batched

from backends.redis.client import (
    CLEAR,
    DROP,
    ENTER,
    ENTER_DELETES,
    OUST,
    PUT,
    Client,
    Command,
    Script,
)
from backends.redis.keys import Keys
from backends.redis.records import VERSION
from memrelay.errors import MemrelayError, Permanent
from memrelay.types import (
    APPLIED,
    STALE,
    Op,
    Outcome,
    Scope,
    Upsert,
    failed,
    memory_digest,
    memory_to_json,
    vector_from_bytes,
)

PUTS_PER_CALL = 16
ENTRIES_PER_CALL = 64
MAX_VERSION = 2**63 - 1
# (M, EF) of a partition's graph. A user's partition is read exactly, so its graph only has to be cheap.
USER_GRAPH = (b"4", b"10")
SHARED_GRAPH = (b"16", b"100")


@dataclass(slots=True)
class _Write:
    """One op on its way through the steps."""

    op: Op
    id: bytes
    stamp: bytes
    home: str
    record: bytes
    pending: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Barrier:
    """What an op met in a partition: a stamp above its own."""

    write: _Write
    partition: str
    stamp: bytes


class Writer:
    """One ``apply``."""

    def __init__(self, client: Client, keys: Keys, scope: Scope) -> None:
        self._client = client
        self._keys = keys
        self._vector_bytes = 4 * scope.space.dimensions
        self._outcomes: dict[str, Outcome] = {}

    async def apply(self, ops: Sequence[Op]) -> Mapping[str, Outcome]:
        """An outcome for each id; raises what the client raises, and may then be repeated."""
        writes = list(self._prepared(ops))
        await self._carry([one for one in writes if not isinstance(one.op, Upsert)], ENTER_DELETES)
        await self._carry([one for one in writes if isinstance(one.op, Upsert)], ENTER)
        return self._outcomes

    async def _carry(self, writes: Sequence[_Write], enter: Script) -> None:
        entered = await self._enter(writes, enter)
        await self._put([write for write in entered if isinstance(write.op, Upsert)])
        left = [write for write in entered if write.pending and self._applied(write)]
        await self._drop(left)
        await self._clear(left)

    def _applied(self, write: _Write) -> bool:
        return self._outcomes[write.op.id] is APPLIED

    def _prepared(self, ops: Sequence[Op]) -> Iterator[_Write]:
        for op in ops:
            try:
                yield self._write(op)
            except MemrelayError as error:
                self._outcomes[op.id] = failed(error)
            except (TypeError, ValueError) as error:
                refused = Permanent(f"cannot be stored: {error}", code="encoding")
                self._outcomes[op.id] = failed(refused)

    def _write(self, op: Op) -> _Write:
        if not 0 <= op.version <= MAX_VERSION:
            raise Permanent(f"version {op.version} is not a 63-bit number", code="version")
        if not isinstance(op, Upsert):
            return _Write(op, op.id.encode(), b"%019d1" % op.version, "-", b"")
        self._check_vector(op.vector)
        stamp = b"%019d0" % op.version
        return _Write(
            op, op.id.encode(), stamp, self._keys.home(op.memory), memory_to_json(op.memory)
        )

    def _check_vector(self, vector: bytes) -> None:
        if len(vector) != self._vector_bytes:
            message = f"a vector of {len(vector)} bytes where {self._vector_bytes} are due"
            raise Permanent(message, code="dimension")
        # The sum is finite when all values are: one addition each, where isfinite costs a call.
        if not math.isfinite(sum(vector_from_bytes(vector))):
            raise Permanent("a vector with values that are not finite", code="vector")

    async def _enter(self, writes: Sequence[_Write], script: Script) -> list[_Write]:
        """Those that the directory took; the others are stale."""
        calls = list(self._entries(writes, script))
        replies = await self._client.run([command for _, command in calls])
        taken = []
        for (group, _), answers in zip(calls, replies, strict=True):
            for write, answer in zip(group, answers, strict=True):
                self._outcomes[write.op.id] = STALE if answer == b"stale" else APPLIED
                if answer != b"stale":
                    write.pending = [] if answer == b"-" else answer.decode().split(",")
                    taken.append(write)
        return taken

    def _entries(
        self, writes: Sequence[_Write], script: Script
    ) -> Iterator[tuple[tuple[_Write, ...], Command]]:
        for number, group in self._grouped(writes):
            keys = self._keys.shards[number]
            for part in batched(group, ENTRIES_PER_CALL):
                arguments = [value for write in part for value in _entry_arguments(write)]
                yield part, script.call(keys.directory, arguments)

    def _grouped(self, writes: Iterable[_Write]) -> Iterable[tuple[int, list[_Write]]]:
        groups: dict[int, list[_Write]] = {}
        for write in writes:
            groups.setdefault(self._keys.shard_of(write.id), []).append(write)
        return groups.items()

    async def _put(self, writes: Sequence[_Write]) -> None:
        """Write records and vectors; what the store refuses for good gets a failed outcome."""
        while writes:
            barriers = await self._put_once(writes)
            forged = await self._ousted(barriers)
            for barrier in barriers:
                if barrier not in forged:
                    self._outcomes[barrier.write.op.id] = STALE
            writes = [barrier.write for barrier in forged]

    async def _put_once(self, writes: Sequence[_Write]) -> list[_Barrier]:
        homes: dict[str, list[_Write]] = {}
        for write in writes:
            homes.setdefault(write.home, []).append(write)
        register: list[Command] = [
            ("SADD", self._keys.shards[number].partitions, *group)
            for number, group in self._keys.by_shard(name.encode() for name in homes).items()
        ]
        calls = list(self._puts(homes))
        replies = await self._client.attempt([*register, *(command for _, command in calls)])
        barriers = []
        for (part, _), reply in zip(calls, replies[len(register) :], strict=True):
            answers = [reply] * len(part) if isinstance(reply, MemrelayError) else reply
            for write, answer in zip(part, answers, strict=True):
                if isinstance(answer, MemrelayError):
                    self._outcomes[write.op.id] = failed(answer)
                elif answer:
                    barriers.append(_Barrier(write, write.home, answer))
        return barriers

    def _puts(
        self, homes: Mapping[str, Sequence[_Write]]
    ) -> Iterator[tuple[tuple[_Write, ...], Command]]:
        for name, group in homes.items():
            keys = self._keys.partition(name)
            graph = USER_GRAPH if keys.has_user else SHARED_GRAPH
            for part in batched(group, PUTS_PER_CALL):
                arguments = [value for write in part for value in _put_arguments(write)]
                yield part, PUT.call(keys.all, [*graph, self._vector_bytes, *arguments])

    async def _drop(self, writes: Sequence[_Write]) -> None:
        places = [(name, write) for write in writes for name in write.pending]
        while places:
            forged = await self._ousted(await self._drop_once(places))
            places = [(barrier.partition, barrier.write) for barrier in forged]

    async def _drop_once(self, places: Iterable[tuple[str, _Write]]) -> list[_Barrier]:
        groups: dict[str, list[_Write]] = {}
        for name, write in places:
            groups.setdefault(name, []).append(write)
        parts = [(n, part) for n, group in groups.items() for part in batched(group, PUTS_PER_CALL)]
        replies = await self._client.run(
            [DROP.call(self._keys.partition(name).all, _stamps(part)) for name, part in parts]
        )
        return [
            _Barrier(write, name, stamp)
            for (name, part), stamps in zip(parts, replies, strict=True)
            for write, stamp in zip(part, stamps, strict=True)
            if stamp
        ]

    async def _ousted(self, barriers: Sequence[_Barrier]) -> list[_Barrier]:
        """Those that no op has set, after they were taken out: the entry is the op's own, and the
        directory has no line of the barrier's version, which to enter it would have left."""
        shards = [self._keys.shards[self._keys.shard_of(one.write.id)] for one in barriers]
        replies = await self._client.run(
            [
                command
                for shard, one in zip(shards, barriers, strict=True)
                for command in (
                    ("HGET", shard.entries, one.write.id),
                    ("ZSCORE", shard.order, one.stamp[:VERSION] + one.write.id),
                )
            ]
        )
        forged = [
            one
            for one, entry, line in zip(barriers, replies[::2], replies[1::2], strict=True)
            if entry is not None and entry.startswith(one.write.stamp) and line is None
        ]
        await self._client.run(
            [
                OUST.call((keys.records, keys.tombstones), (one.write.id, one.stamp))
                for one in forged
                for keys in [self._keys.partition(one.partition)]
            ]
        )
        return forged

    async def _clear(self, writes: Sequence[_Write]) -> None:
        await self._client.run(
            [
                CLEAR.call((self._keys.shards[number].entries,), _stamps(part))
                for number, group in self._grouped(writes)
                for part in batched(group, ENTRIES_PER_CALL)
            ]
        )


def _entry_arguments(write: _Write) -> tuple[bytes, bytes, bytes]:
    digest, due = "-", b""
    if isinstance(write.op, Upsert):
        digest = memory_digest(write.record)
        if write.op.memory.expires_at is not None:
            due = b"%d" % write.op.memory.expires_at
    return write.id, b"%s %s %s" % (write.stamp, digest.encode(), write.home.encode()), due


def _put_arguments(write: _Write) -> tuple[bytes, bytes, bytes, bytes]:
    assert isinstance(write.op, Upsert)
    created = b"%d" % write.op.memory.created_at
    return write.id, write.stamp + write.record, write.op.vector, created


def _stamps(writes: Iterable[_Write]) -> list[bytes]:
    return [value for write in writes for value in (write.id, write.stamp)]
