"""Lines from a pipe or a terminal, read by a thread that can be told to end."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

PIECE_BYTES = 1 << 16
LOOK_SECONDS = 0.2


def lines_of(descriptor: int, ended: threading.Event) -> Iterator[bytes]:
    """Every line, the last one whether or not it ends so. Stops when ``ended`` is set, also while it waits:
    a thread that blocks in a read would keep the process alive after Ctrl-C."""
    rest = b""
    while piece := _read(descriptor, ended):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    if rest and not ended.is_set():
        yield rest


def _read(descriptor: int, ended: threading.Event) -> bytes:
    """What is there next; empty at the end."""
    while not ended.is_set():
        if select.select([descriptor], [], [], LOOK_SECONDS)[0]:
            return os.read(descriptor, PIECE_BYTES)
    return b""
