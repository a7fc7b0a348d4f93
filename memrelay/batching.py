"""Packing: writes of many requests become envelopes of at most 512 memories and 1 MiB."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MAX_MEMORIES = 512
MAX_BYTES = 1 << 20


@dataclass(slots=True)
class Draft:
    """An envelope before it has a version. ``slices`` are the jobs that begin in it.

    A slice is (offset of its first memory, number of memories); a long one runs on into the drafts
    that follow. ``drops`` are (offset, id) of its deletes, ``scoped`` the filter of a delete by filter,
    which is a draft of its own. ``noted`` are the ids of all writes, in order, if their versions are noted
    as the last accepted ones of these; else there are none. ``traces`` are W3C traceparents of the requests
    that it holds writes of. ``vectors`` (encoded, by offset) came along, and hold as long as its source is
    in the ``space``.
    """

    writes: list[bytes] = field(default_factory=list)
    slices: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0
    drops: list[tuple[int, str]] = field(default_factory=list)
    scoped: str = ""
    noted: list[str] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    vectors: bytes = b""
    space: str = ""

    def has_room(self, write: bytes) -> bool:
        return not self.writes or (
            len(self.writes) < MAX_MEMORIES and self.size + len(write) <= MAX_BYTES
        )

    def add(self, write: bytes) -> None:
        self.writes.append(write)
        self.size += len(write)


def pack(requests: Iterable[tuple[Sequence[bytes], Sequence[str], Sequence[str]]]) -> list[Draft]:
    """The encoded writes of the requests, in order, in as few drafts as the bounds allow.

    A request is its writes, their ids where they are deletes, and again where these are to be noted.
    """
    drafts = [Draft()]
    for writes, drops, noted in requests:
        for index, write in enumerate(writes):
            if not drafts[-1].has_room(write):
                drafts.append(Draft())
            if index == 0:
                drafts[-1].slices.append((len(drafts[-1].writes), len(writes)))
            if drops:
                drafts[-1].drops.append((len(drafts[-1].writes), drops[index]))
            if noted:
                drafts[-1].noted.append(noted[index])
            drafts[-1].add(write)
    return drafts
