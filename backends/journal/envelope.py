"""The body of an envelope: its writes, in msgpack. The journal's scripts treat it as opaque bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from memrelay.types import Memory


class Put(msgspec.Struct, tag="put", array_like=True, frozen=True):
    """A memory as accepted; its version is its envelope's first plus its position."""

    id: str
    text: str
    user_id: str | None
    session_id: str | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: int
    expires_at: int | None
    vector: bytes | None
    """Float32 bytes, where the caller brought it."""

    def memory(self, source: str, version: int) -> Memory:
        return Memory(
            id=self.id,
            text=self.text,
            user_id=self.user_id,
            session_id=self.session_id,
            source=source,
            tags=self.tags,
            metadata=self.metadata,
            created_at=self.created_at,
            expires_at=self.expires_at,
            version=version,
        )


class Drop(msgspec.Struct, tag="drop", array_like=True, frozen=True):
    """A delete by id."""

    id: str


class DropWhere(msgspec.Struct, tag="drop_where", array_like=True, frozen=True):
    """A delete of everything older that ``filter`` (JSON, or ``EVERYTHING``) matches."""

    filter: str

    @property
    def id(self) -> str:
        """It is no memory's."""
        return ""


Write = Put | Drop | DropWhere

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Write])
_write_decoder: msgspec.msgpack.Decoder[Write] = msgspec.msgpack.Decoder(Write)
_vectors_decoder = msgspec.msgpack.Decoder(dict[int, bytes])


def encode_write(write: Write) -> bytes:
    return _encoder.encode(write)


def decode_write(write: bytes) -> Write:
    return _write_decoder.decode(write)


def join_writes(writes: Sequence[bytes]) -> bytes:
    """The body of an envelope out of at most 65,535 encoded writes."""
    count = len(writes)
    header = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return header + b"".join(writes)


def decode_body(body: bytes) -> list[Write]:
    return _decoder.decode(body)


def encode_vectors(vectors: Mapping[int, bytes]) -> bytes:
    """Vectors by position in the envelope."""
    return _encoder.encode(dict(vectors))


def decode_vectors(blob: bytes) -> dict[int, bytes]:
    return _vectors_decoder.decode(blob)
