"""What is held of some ids, and whether it is sound: every key that bears on an id is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.redis.client import Client, Command
from backends.redis.directory import READS, Directory, Place
from backends.redis.keys import Keys
from backends.redis.records import STAMP, VERSION, decode
from backends.redis.search import restored
from memrelay.errors import MemrelayError
from memrelay.types import Delete, Memory, Op, Scope, Upsert, memory_digest


@dataclass(slots=True)
class _Evidence:
    """What was found of one id, key by key: None is nothing, or what cannot be read."""

    place: Place
    ordered: float | None = None
    buried: float | None = None
    live: float | None = None
    due: float | None = None
    registered: int | None = None
    record: bytes | None = None
    created: float | None = None
    element: Any = None
    strays: list[bytes] = field(default_factory=list)
    """Records where nothing but a tombstone may be."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A command, the ids that its answers are about, in order, and what they tell of them."""

    command: Command
    ids: Sequence[bytes]
    fact: str


class Held:
    """The records of one scope."""

    def __init__(self, client: Client, keys: Keys, scope: Scope) -> None:
        self._client = client
        self._keys = keys
        self._source = scope.source
        self._vector_bytes = 4 * scope.space.dimensions
        self._directory = Directory(client, keys, scope.source)

    async def records(self, ids: Iterable[str]) -> Mapping[str, Op]:
        """The sound ones. What looks damaged is read again while ops come between."""
        sound: dict[str, Op] = {}
        before: Mapping[bytes, Place] = {}
        wanted = {id.encode() for id in ids}
        for _ in range(READS):
            places = await self._directory.places(wanted)
            changed = {id: place for id, place in places.items() if before.get(id) != place}
            for id, evidence in (await self._evidence(changed)).items():
                op = self._op(id.decode(), evidence)
                if op is not None:
                    sound[op.id] = op
            wanted = {id for id in changed if id.decode() not in sound}
            before = changed
            if not wanted:
                break
        return sound

    async def _evidence(self, places: Mapping[bytes, Place]) -> dict[bytes, _Evidence]:
        found = {id: _Evidence(place) for id, place in places.items()}
        questions = [*self._of_directory(places), *self._of_partitions(places)]
        replies = await self._client.attempt([question.command for question in questions])
        for question, reply in zip(questions, replies, strict=True):
            if isinstance(reply, MemrelayError):  # the key holds another type
                continue
            answers = [reply] if question.fact == "element" else reply
            for id, answer in zip(question.ids, answers, strict=True):
                if question.fact != "strays":
                    setattr(found[id], question.fact, answer)
                elif answer is not None:
                    found[id].strays.append(answer)
        return found

    def _of_directory(self, places: Mapping[bytes, Place]) -> Iterator[_Question]:
        for number, ids in self._keys.by_shard(places).items():
            shard = self._keys.shards[number]
            lines = [places[id].stamp[:VERSION] + id for id in ids]
            yield _Question(("ZMSCORE", shard.order, *lines), ids, "ordered")
            yield _Question(("ZMSCORE", shard.buried, *lines), ids, "buried")
            yield _Question(("ZMSCORE", shard.live, *ids), ids, "live")
            yield _Question(("ZMSCORE", shard.expiry, *ids), ids, "due")

    def _of_partitions(self, places: Mapping[bytes, Place]) -> Iterator[_Question]:
        for name, ids in _grouped((place.home, id) for id, place in places.items()).items():
            if name == "-":
                continue
            keys = self._keys.partition(name)
            names = self._keys.shards[self._keys.shard_of(name.encode())].partitions
            yield _Question(("SMISMEMBER", names, *[name] * len(ids)), ids, "registered")
            yield _Question(("HMGET", keys.records, *ids), ids, "record")
            yield _Question(("ZMSCORE", keys.times, *ids), ids, "created")
            for id in ids:
                yield _Question(("VEMB", keys.vectors, id, "RAW"), [id], "element")
        left = ((name, id) for id, place in places.items() for name in place.elsewhere)
        for name, ids in _grouped(left).items():
            records = self._keys.partition(name).records
            yield _Question(("HMGET", records, *ids), ids, "strays")

    def _op(self, id: str, found: _Evidence) -> Op | None:
        """The op that would write it; None if it is damaged, or under way."""
        place = found.place
        if found.ordered is None or found.strays or place.left:
            return None
        if place.digest is None:
            gone = found.buried is not None and found.live is None and found.due is None
            return Delete(id, place.version) if gone else None
        if found.live is None or found.buried is not None or not found.registered:
            return None
        memory, vector = self._memory(found), restored(found.element)
        if memory is None or vector is None or len(vector) != self._vector_bytes:
            return None
        in_time = found.created == memory.created_at and found.due == memory.expires_at
        return Upsert(memory, vector) if in_time else None

    def _memory(self, found: _Evidence) -> Memory | None:
        """The record, if it is the very one that the directory names."""
        record, place = found.record or b"", found.place
        if record[:STAMP] != place.stamp or memory_digest(record[STAMP:]) != place.digest:
            return None
        return decode(record, self._source)


def _grouped(pairs: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    groups: dict[str, list[bytes]] = {}
    for name, id in pairs:
        groups.setdefault(name, []).append(id)
    return groups
