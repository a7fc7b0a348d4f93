"""The id directory, read: look-ups by id, the scan in (version, id) order, the number of the living."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backends.redis.client import PAGE, Client
from backends.redis.keys import Keys, ShardKeys
from backends.redis.records import decode
from memrelay.errors import Permanent
from memrelay.types import Entry, Memory, Page

VERSION = 19
READS = 3


class Directory:
    """The directory of one scope."""

    def __init__(self, client: Client, keys: Keys, source: str) -> None:
        self._client = client
        self._keys = keys
        self._source = source

    async def get(self, ids: Iterable[str]) -> Mapping[str, Memory]:
        """The live memories among ``ids``, at the newest version that was put.

        A memory that moves between the two reads is looked up again.
        """
        found: dict[str, Memory] = {}
        before: dict[bytes, bytes] = {}
        wanted = {id.encode() for id in ids}
        for _ in range(READS):
            entries = await self._live_entries(wanted)
            entries = {id: entry for id, entry in entries.items() if before.get(id) != entry}
            found |= await self._memories(entries)
            wanted = {id for id in entries if id.decode() not in found}
            before = entries
            if not wanted:
                break
        return found

    async def _live_entries(self, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        groups = self._keys.by_shard(ids)
        replies = await self._client.run(
            [
                ("HMGET", self._keys.shards[number].entries, *group)
                for number, group in groups.items()
            ]
        )
        return {
            id: entry
            for group, reply in zip(groups.values(), replies, strict=True)
            for id, entry in zip(group, reply, strict=True)
            if entry is not None and entry.split(b" ")[1] != b"-"
        }

    async def _memories(self, entries: Mapping[bytes, bytes]) -> dict[str, Memory]:
        """The newest record of each id in its home and in the partitions it may still be in."""
        places: dict[str, list[bytes]] = {}
        for id, entry in entries.items():
            _, _, home, pending = entry.decode().split(" ")
            for name in (home, *pending.split(",")):
                if name != "-":
                    places.setdefault(name, []).append(id)
        replies = await self._client.run(
            [
                ("HMGET", self._keys.partition(name).records, *group)
                for name, group in places.items()
            ]
        )
        newest: dict[bytes, bytes] = {}
        for group, records in zip(places.values(), replies, strict=True):
            for id, record in zip(group, records, strict=True):
                if record is not None and newest.get(id, b"") < record:
                    newest[id] = record
        return {id.decode(): decode(record, self._source) for id, record in newest.items()}

    async def count(self, now: int) -> int:
        """How many memories are live and not expired at ``now``."""
        replies = await self._client.run(
            [
                command
                for shard in self._keys.shards
                for command in (("GET", shard.live), ("ZCOUNT", shard.expiry, "-inf", now))
            ]
        )
        live = sum(int(number or 0) for number in replies[::2])
        expired = sum(int(number) for number in replies[1::2])
        return live - expired

    async def scan(self, cursor: str | None, limit: int) -> Page:
        """A page is merged from all shards; each is read on until none can hold an earlier entry."""
        start = b"-" if cursor is None else b"(" + _position(cursor)
        chunk = (limit + limit // 2) // len(self._keys.shards) + 8
        streams = [_Stream(shard, start) for shard in self._keys.shards]
        merged: list[tuple[bytes, bytes]] = []
        while behind := [stream for stream in streams if stream.behind(merged, limit)]:
            replies = await self._client.run([stream.command(chunk) for stream in behind])
            for stream, reply in zip(behind, replies, strict=True):
                stream.take(reply, chunk)
            merged = sorted(line for stream in streams for line in stream.lines)
        page = merged[:limit]
        last = len(page) == len(merged) and all(stream.ended for stream in streams)
        entries = [_entry(member, digest) for member, digest in page]
        return Page(entries, None if last or not page else _cursor(page[-1][0]))


@dataclass(slots=True)
class _Stream:
    """One shard in the course of a page."""

    shard: ShardKeys
    start: bytes
    lines: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False

    def behind(self, merged: Sequence[tuple[bytes, bytes]], limit: int) -> bool:
        """Whether entries it has not given yet could belong on the page."""
        if self.ended:
            return False
        return not self.lines or len(merged) < limit or self.lines[-1] < merged[limit - 1]

    def command(self, chunk: int) -> tuple[object, ...]:
        return PAGE.call((self.shard.entries, self.shard.order), (self.start, chunk))

    def take(self, reply: Sequence[bytes], chunk: int) -> None:
        self.lines += zip(reply[::2], reply[1::2], strict=True)
        self.ended = len(reply) < 2 * chunk
        if reply:
            self.start = b"(" + reply[-2]


def _entry(member: bytes, digest: bytes) -> Entry:
    known = None if digest == b"-" else digest.decode()
    return Entry(member[VERSION:].decode(), int(member[:VERSION]), known)


def _cursor(member: bytes) -> str:
    return base64.urlsafe_b64encode(member).decode()


def _position(cursor: str) -> bytes:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Permanent("not a cursor of this driver's scan", code="cursor") from None
