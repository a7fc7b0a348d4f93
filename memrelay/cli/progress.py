"""How an import is going: bars on a terminal, a plain line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from memrelay.cli.output import say

LINE_SECONDS = 5.0


@dataclass(slots=True)
class State:
    """What is known. ``lines`` is an estimate of how many there are, from the bytes read so far.

    ``size`` in bytes is 0 where nobody knows how much is to come. ``earlier`` lines were accepted
    before this run.
    """

    size: int
    earlier: int = 0
    read_bytes: int = 0
    read: int = 0
    accepted: int = 0
    refused: int = 0
    stored: int = 0
    failed: int = 0

    @property
    def lines(self) -> int:
        if self.size == 0 or self.read_bytes in (0, self.size):
            return self.read
        return round(self.read * self.size / self.read_bytes)

    def left(self, seconds: float) -> float | None:
        """Seconds until all is stored, when it goes on as in these ``seconds``; None: nobody can say."""
        ended = self.stored + self.failed + self.refused
        if self.size == 0 or self.stored <= self.earlier:
            return None
        return seconds * (self.lines - ended) / (self.stored - self.earlier)


class Display(Protocol):
    """Told the state whenever it has changed."""

    def show(self, state: State) -> None: ...


@contextmanager
def display(wanted: bool) -> Iterator[Display]:
    """Bars where stderr is a terminal, else lines; nothing unless ``wanted``."""
    if not wanted:
        yield Silent()
    elif sys.stderr.isatty():
        with Bars.columns() as progress:
            yield Bars(progress)
    else:
        lines = Lines()
        yield lines
        lines.end()


class Silent:
    def show(self, state: State) -> None: ...


class Lines:
    """At most one line every ``LINE_SECONDS``, and one at the end."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._state: State | None = None

    def show(self, state: State) -> None:
        self._state = state
        if time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            self._say(state)

    def end(self) -> None:
        if self._state is not None:
            self._say(self._state)

    def _say(self, state: State) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        left = state.left(seconds)
        say(
            f"{state.read} read, {state.accepted} accepted, {state.stored} stored, "
            f"{state.refused + state.failed} failed, {(state.accepted - state.earlier) / seconds:.0f}/s"
            + (f", {left:.0f} s left" if left else "")
        )


class Bars:
    """One bar for what is accepted, one for what is stored, each with its rate and time left.

    Both are drawn in bytes of the file, whose number is known from the start: the number of lines is
    an estimate, and a total that changes makes rich forget the speed.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began = self._accepted_at = time.monotonic()
        self._read = 0
        self._accepted, self._stored = (
            progress.add_task(name, total=None, done="", rate="") for name in ("accepted", "stored")
        )

    @staticmethod
    def columns() -> Progress:
        return Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )

    def show(self, state: State) -> None:
        seconds = max(time.monotonic() - self._began, 0.001)
        if state.read > self._read:
            self._read, self._accepted_at = state.read, time.monotonic()
        accepting = max(self._accepted_at - self._began, 0.001)
        lines = max(state.lines, 1)
        refused = f", {state.refused:,} refused" if state.refused else ""
        failed = f", {state.failed:,} failed" if state.failed else ""
        of_lines = f" of {lines:,}" if state.size else ""
        self._progress.update(
            self._accepted,
            total=state.size or None,
            completed=state.read_bytes,
            done=f"{state.accepted:,}{of_lines}{refused}",
            rate=f"{(state.accepted - state.earlier) / accepting:,.0f}/s",
        )
        self._progress.update(
            self._stored,
            total=state.size or None,
            completed=state.size * (state.stored + state.failed + state.refused) / lines,
            done=f"{state.stored:,}{failed}",
            rate=f"{max(state.stored - state.earlier, 0) / seconds:,.0f}/s",
        )
