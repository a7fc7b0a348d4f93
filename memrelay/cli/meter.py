"""How far long work is that the service does: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from memrelay.cli.output import plain, say

LINE_SECONDS = 5.0
RATE_SECONDS = 10.0
"""The rate is that of so many seconds."""


class Meter:
    """Of one piece of work after the other: each ``step`` has its own rate and time left."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, done="") if bar is not None else None
        self._step = self._said = ""
        self._said_at = 0.0
        self._seen: list[tuple[float, int]] = []

    def show(self, *, step: str, read: int, written: int, total: int, waits: str) -> None:
        """``total`` is about how many are to be read; ``waits`` why nothing goes on."""
        if step != self._step:
            self._step, self._seen, self._said_at = step, [], 0.0
        line = (
            waits
            or f"{read} of {max(total, read)} read, {written} written{self._pace(read, total)}"
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                description=step,
                total=max(total, read),
                completed=read,
                done=plain(line),
            )
        elif line != self._said and (
            (waits and not self._said.endswith(waits))
            or time.monotonic() - self._said_at >= LINE_SECONDS
        ):
            say(f"{step}: {line}")
            self._said, self._said_at = line, time.monotonic()

    def _pace(self, read: int, total: int) -> str:
        """The rate of late and the time that is left by it; nothing before there is one."""
        now = time.monotonic()
        self._seen = [(at, n) for at, n in self._seen if now - at <= RATE_SECONDS] + [(now, read)]
        began, before = self._seen[0]
        if now - began < 1 or read <= before:
            return ""
        rate = (read - before) / (now - began)
        return f", {rate:.0f}/s, {max(total - read, 0) / rate:.0f} s left"


@contextmanager
def meter() -> Iterator[Meter]:
    """On stderr."""
    if not sys.stderr.isatty():
        yield Meter(None)
        return
    columns = (TextColumn("{task.description:>8}"), BarColumn(), TextColumn("{task.fields[done]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Meter(bar)
