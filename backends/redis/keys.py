"""Key names. Strings from users enter them only as hex digests; each hash tag is one slot.

``{prefix:scope:partition}:…`` holds the memories of one partition, ``{prefix:scope:d<shard>}:…`` one
shard of the scope's id directory. ``prefix:layout`` keeps the numbers that placed them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from backends.redis.settings import Settings
from memrelay.types import Memory, Scope


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys of one partition; ``name`` is ``u<digest of the user>`` or ``p<number>``."""

    name: str
    vectors: bytes
    """Vector set: element = id."""
    records: bytes
    """Hash: id → stamp, then the canonical JSON."""
    tombstones: bytes
    """Hash: id → stamp, of deletes and of memories that moved away."""
    times: bytes
    """Sorted set: id by ``created_at``."""

    @property
    def all(self) -> tuple[bytes, bytes, bytes, bytes]:
        return self.vectors, self.records, self.tombstones, self.times

    @property
    def has_user(self) -> bool:
        return self.name.startswith("u")


@dataclass(frozen=True, slots=True)
class ShardKeys:
    """The keys of one shard of a scope's directory."""

    entries: bytes
    """Hash: id → "stamp digest home elsewhere" (see ``scripts/enter.lua``)."""
    order: bytes
    """Sorted set, all scores 0: version (19 digits) and id, so in (version, id) order."""
    expiry: bytes
    """Sorted set: live ids that expire, by ``expires_at``."""
    live: bytes
    """Sorted set, all scores 0: live ids, so by code point."""
    buried: bytes
    """As ``order``, of the tombstones alone."""
    moved: bytes
    """As ``order``, of the living that name partitions which they have left."""
    partitions: bytes
    """Set: the names of the scope's partitions that hash to this shard. A name never leaves it
    but by ``purge``: removing an empty one would race with the writer that fills it again."""

    @property
    def directory(self) -> tuple[bytes, ...]:
        """What the scripts on the directory take."""
        return self.entries, self.order, self.expiry, self.live, self.buried, self.moved

    @property
    def all(self) -> tuple[bytes, ...]:
        return *self.directory, self.partitions


class Keys:
    """Where the memories of one scope are; ``keys_of`` gives it."""

    def __init__(self, settings: Settings, scope_digest: str) -> None:
        self._base = f"{settings.prefix}:{scope_digest}"
        self._partitions = settings.partitions
        self.shards = [self._shard(number) for number in range(settings.directory_shards)]

    def shard_of(self, name: bytes) -> int:
        """The number of the shard that knows an id, or a partition by its name."""
        return zlib.crc32(name) % len(self.shards)

    def partition(self, name: str) -> PartitionKeys:
        tag = f"{{{self._base}:{name}}}".encode()
        return PartitionKeys(name, tag + b":v", tag + b":r", tag + b":t", tag + b":x")

    def home(self, memory: Memory) -> str:
        """The name of the partition that a memory belongs to."""
        if memory.user_id is not None:
            return user_partition(memory.user_id)
        return f"p{zlib.crc32(memory.id.encode()) % self._partitions}"

    def without_user(self) -> list[str]:
        """The names of the partitions of memories without a user."""
        return [f"p{number}" for number in range(self._partitions)]

    def by_shard(self, names: Iterable[bytes]) -> dict[int, list[bytes]]:
        """Ids, or names of partitions, grouped by the shard that knows them."""
        groups: dict[int, list[bytes]] = {}
        for name in names:
            groups.setdefault(self.shard_of(name), []).append(name)
        return groups

    def _shard(self, number: int) -> ShardKeys:
        tag = f"{{{self._base}:d{number}}}".encode()
        return ShardKeys(*(tag + end for end in (b":i", b":z", b":e", b":l", b":b", b":m", b":p")))


def user_partition(user_id: str) -> str:
    """The name of a user's partition."""
    return "u" + hashlib.blake2b(user_id.encode(), digest_size=16).hexdigest()


def keys_of(settings: Settings, scope: Scope) -> Keys:
    """The keys of a scope; the same object while it is in use."""
    return _keys(settings, _scope_digest(scope.namespace, scope.source, scope.space.slug))


@lru_cache(maxsize=1024)
def _keys(settings: Settings, scope_digest: str) -> Keys:
    return Keys(settings, scope_digest)


def _scope_digest(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()
