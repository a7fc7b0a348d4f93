"""The id directory, read: look-ups by id, scans in (version, id) order, the living by id, their number."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from backends.redis.client import PAGE, Client, Command
from backends.redis.keys import Keys, ShardKeys
from backends.redis.records import STAMP, VERSION, decode
from memrelay.errors import Permanent
from memrelay.types import Entry, Memory, Page

READS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """What the directory says of an id."""

    stamp: bytes
    digest: str | None
    """None for a tombstone."""
    home: str
    """The name of its partition; "-" for a tombstone."""
    left: tuple[str, ...]
    """Partitions where an older record may still be."""
    buried: tuple[str, ...]
    """Partitions where nothing but a tombstone of it may be."""

    @property
    def version(self) -> int:
        return int(self.stamp[:VERSION])

    @property
    def elsewhere(self) -> tuple[str, ...]:
        return self.left + self.buried


def place_of(entry: bytes | None) -> Place | None:
    """Where an entry says that its memory is; None without one, or if it is damaged."""
    match (entry or b"").split(b" "):
        case [stamp, digest, home, elsewhere] if len(stamp) == STAMP and stamp.isdigit():
            names = [name for name in elsewhere.decode(errors="replace").split(",") if name != "-"]
            return Place(
                stamp=stamp,
                digest=None if digest == b"-" else digest.decode(errors="replace"),
                home=home.decode(errors="replace"),
                left=tuple(name for name in names if not name.startswith("~")),
                buried=tuple(name[1:] for name in names if name.startswith("~")),
            )
    return None


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
        before: Mapping[bytes, Place] = {}
        wanted = {id.encode() for id in ids}
        for _ in range(READS):
            places = await self.places(wanted)
            places = {
                id: place
                for id, place in places.items()
                if place.digest is not None and before.get(id) != place
            }
            found |= await self._memories(places)
            wanted = {id for id in places if id.decode() not in found}
            before = places
            if not wanted:
                break
        return found

    async def places(self, ids: Iterable[bytes]) -> dict[bytes, Place]:
        """What the directory says of those among ``ids`` that it knows."""
        groups = self._keys.by_shard(ids)
        replies = await self._client.run(
            [
                ("HMGET", self._keys.shards[number].entries, *group)
                for number, group in groups.items()
            ]
        )
        return {
            id: place
            for group, reply in zip(groups.values(), replies, strict=True)
            for id, entry in zip(group, reply, strict=True)
            if (place := place_of(entry)) is not None
        }

    async def _memories(self, places: Mapping[bytes, Place]) -> dict[str, Memory]:
        """The newest record of each id in its home and in the partitions it may still be in."""
        groups: dict[str, list[bytes]] = {}
        for id, place in places.items():
            for name in (place.home, *place.left):
                groups.setdefault(name, []).append(id)
        replies = await self._client.run(
            [
                ("HMGET", self._keys.partition(name).records, *group)
                for name, group in groups.items()
            ]
        )
        newest: dict[str, Memory] = {}
        for group, records in zip(groups.values(), replies, strict=True):
            for id, record in zip(group, records, strict=True):
                memory = None if record is None else decode(record, self._source)
                if memory is not None and memory.id.encode() == id:
                    known = newest.get(memory.id)
                    if known is None or known.version < memory.version:
                        newest[memory.id] = memory
        return newest

    async def count(self, now: int) -> int:
        """How many memories are live and not expired at ``now``."""
        replies = await self._client.run(
            [
                command
                for shard in self._keys.shards
                for command in (("ZCARD", shard.live), ("ZCOUNT", shard.expiry, "-inf", now))
            ]
        )
        live, expired = replies[::2], replies[1::2]
        return int(sum(live) - sum(expired))

    async def scan(self, since: int, cursor: str | None, limit: int) -> Page:
        """A page of what has version ``since`` or above."""
        start = b"[%019d" % since if cursor is None else b"(" + _position(cursor)
        streams = [_Versions(shard, start) for shard in self._keys.shards]
        page, last = await self._merged(streams, limit)
        entries = [_entry(member, digest) for member, digest in page]
        return Page(entries, None if last else _cursor(page[-1][0]))

    async def live_ids(self, after: bytes, limit: int) -> Sequence[bytes]:
        """The first of the live ids above ``after``, by code point; fewer than ``limit`` at the end."""
        streams = [_Ids(shard, b"(" + after) for shard in self._keys.shards]
        page, _ = await self._merged(streams, limit)
        return [id for id, _ in page]

    async def _merged(
        self, streams: Sequence[_Stream], limit: int
    ) -> tuple[Sequence[tuple[bytes, bytes]], bool]:
        """The first lines of all streams, and whether these are all. Each stream is read on until it
        cannot hold an earlier line."""
        chunk = (limit + limit // 2) // len(streams) + 8
        merged: list[tuple[bytes, bytes]] = []
        while behind := [stream for stream in streams if stream.behind(merged, limit)]:
            replies = await self._client.run([stream.command(chunk) for stream in behind])
            for stream, reply in zip(behind, replies, strict=True):
                stream.take(reply, chunk)
            merged = sorted(line for stream in streams for line in stream.lines)
        page = merged[:limit]
        ended = len(page) == len(merged) and all(stream.ended for stream in streams)
        return page, ended or not page


@dataclass(slots=True)
class _Stream:
    """One shard in the course of a page; its lines are pairs, ordered by the first."""

    shard: ShardKeys
    start: bytes
    lines: list[tuple[bytes, bytes]] = field(default_factory=list)
    ended: bool = False

    def behind(self, merged: Sequence[tuple[bytes, bytes]], limit: int) -> bool:
        """Whether lines it has not given yet could belong on the page."""
        if self.ended:
            return False
        return not self.lines or len(merged) < limit or self.lines[-1] < merged[limit - 1]

    def command(self, chunk: int) -> Command:
        raise NotImplementedError

    def take(self, reply: Sequence[bytes], chunk: int) -> None:
        raise NotImplementedError


class _Versions(_Stream):
    """Of (version and id, digest)."""

    __slots__ = ()

    def command(self, chunk: int) -> Command:
        return PAGE.call((self.shard.entries, self.shard.order), (self.start, chunk))

    def take(self, reply: Sequence[bytes], chunk: int) -> None:
        lines = zip(reply[::2], reply[1::2], strict=True)
        self.lines += [(member, digest) for member, digest in lines if digest is not None]
        self.ended = len(reply) < 2 * chunk
        if reply:
            self.start = b"(" + reply[-2]


class _Ids(_Stream):
    """Of (id, nothing)."""

    __slots__ = ()

    def command(self, chunk: int) -> Command:
        return ("ZRANGE", self.shard.live, self.start, "+", "BYLEX", "LIMIT", 0, chunk)

    def take(self, reply: Sequence[bytes], chunk: int) -> None:
        self.lines += [(id, b"") for id in reply]
        self.ended = len(reply) < chunk
        if reply:
            self.start = b"(" + reply[-1]


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
