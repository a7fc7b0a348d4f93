"""Vectors and records as the server takes them in its binary format: arrays that need no parsing."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from psycopg.adapt import Dumper
from psycopg.pq import Format

BYTEA = 17
"""The type's number, the same in every database; that of ``vector`` is not."""
_SWAP = sys.byteorder == "little"


@dataclass(frozen=True, slots=True)
class BinaryArray:
    """An array of one dimension. A cast in the statement has to name its type: ``%b::vector[]``."""

    element: int
    """The number of the elements' type."""
    items: Sequence[bytes | None]


class BinaryArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        nulls = any(item is None for item in obj.items)
        if not obj.items:
            return struct.pack("!iiI", 0, 0, obj.element)
        parts = [struct.pack("!iiIii", 1, nulls, obj.element, len(obj.items), 1)]
        for item in obj.items:
            if item is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                parts += (struct.pack("!i", len(item)), item)
        return b"".join(parts)


def to_vector(vector: bytes) -> bytes:
    """pgvector's binary format of little-endian float32."""
    return struct.pack("!HH", len(vector) // 4, 0) + _swapped(vector)


def from_vector(data: bytes) -> bytes:
    """The inverse of ``to_vector``, bit for bit."""
    return _swapped(data[4:])


def all_finite(vector: bytes) -> bool:
    """pgvector refuses infinities and NaN. The sum is in double precision, so it does not overflow."""
    return isfinite(sum(array("f", vector)))


def _swapped(data: bytes) -> bytes:
    values = array("f", data)
    if _SWAP:
        values.byteswap()
    return values.tobytes()
