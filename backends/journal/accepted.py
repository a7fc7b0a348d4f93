"""What was accepted last of an id, and is not stored yet: read from the envelope that it waits in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from backends.journal.envelope import Put, Write, decode_body, decode_vectors
from backends.journal.errors import translated
from backends.journal.journal import PREFIX, Journal

NEVER_STORED = frozenset("fc")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A write at its version, with the vector that it has in the space asked for, if it has one yet."""

    write: Write
    version: int
    vector: bytes | None


async def accepted(
    journal: Journal, namespace: str, version: int, *, space: str
) -> Accepted | None:
    """The write of a version. None once the stores are to be asked: it is stored, or never will be.

    ``space``: as ``Spaces.active``.
    """
    with translated():
        found = await journal.client.zrevrangebyscore(
            f"{PREFIX}envs:{namespace}", version, "-inf", start=0, num=1
        )
        if not found:
            return None
        eid = int(cast(Sequence[bytes], found)[0])
        async with journal.client.pipeline(transaction=True) as pipe:
            pipe.hgetall(f"{PREFIX}e:{eid}")
            pipe.get(f"{PREFIX}b:{eid}")
            pipe.get(f"{PREFIX}v:{eid}")
            fields, body, vectors = await pipe.execute()
    position = version - eid
    if body is None or not fields or position >= int(fields[b"n"]):
        return None
    if _letters(fields, position) <= NEVER_STORED:
        return None
    write = decode_body(body)[position]
    vector = write.vector if isinstance(write, Put) else None
    if vector is None and vectors and fields.get(b"vp", b"").decode() == space:
        vector = decode_vectors(vectors).get(position)
    return Accepted(write, version, vector)


def _letters(fields: dict[bytes, bytes], position: int) -> set[str]:
    """The outcomes of one memory in all drivers."""
    rows = [fields.get(b"o:" + driver, b".").decode() for driver in fields[b"d"].split(b",")]
    return {row if len(row) == 1 else row[position] for row in rows}


async def newest_scoped(journal: Journal, namespace: str, source: str) -> int:
    """The version of the newest delete by user or filter; 0 if there is none."""
    with translated():
        found = await journal.client.zrevrange(
            f"{PREFIX}st:{namespace}|{source}", 0, 0, withscores=True
        )
    return int(found[0][1]) if found else 0
