"""The lines of several processes as one log: one time of day, who says it, warnings in colour."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

import typer

from memrelay.cli.output import plain, show_json

COLORS = {
    "redis": typer.colors.RED,
    "api": typer.colors.GREEN,
    "worker": typer.colors.YELLOW,
    "up": typer.colors.CYAN,
}
_OURS = re.compile(
    r"\d{4}-\d\d-\d\d (?P<at>\d\d:\d\d:\d\d),\d+ (?P<level>[DIWEC]) \S+ (?P<text>.*)"
)
_REDIS = re.compile(
    r"\d+:[A-Z] \d\d \w{3} \d{4} (?P<at>\d\d:\d\d:\d\d)\.\d+ (?P<mark>[.\-*#]) (?P<text>.*)"
)
_LEVELS = {"I": "info", "D": "info", "W": "warning", "E": "error", "C": "error", "#": "warning"}
_UNSAID = (
    "WARNING: Redis does not require authentication",  # it listens on loopback alone
    "Redis is now ready to exit",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """``process`` says ``text``. ``level`` is info, warning or error; ``at`` the local time of day."""

    at: str
    process: str
    level: str
    text: str


def entry(process: str, line: str) -> Entry | None:
    """What a line of a process's output says; None where that is nothing to anybody."""
    text = plain(line).strip()
    if found := _OURS.fullmatch(text):
        at, text, mark = found["at"], found["text"], found["level"]
    elif found := _REDIS.fullmatch(text):
        at, mark = found["at"], found["mark"]
        text = found["text"].removeprefix("WARNING ")
    else:
        at, mark = datetime.now().strftime("%H:%M:%S"), "I"
    if not text or text.startswith(_UNSAID):
        return None
    return Entry(at, process, _LEVELS.get(mark, "info"), text)


def shower(as_json: bool) -> Callable[[str, str], None]:
    """Takes the name of a process and a line of its output, and shows it on stdout."""

    def show(process: str, line: str) -> None:
        told = entry(process, line)
        if told is None:
            return
        try:
            if as_json:
                show_json(asdict(told))
            else:
                _show(told)
            sys.stdout.flush()
        except BrokenPipeError:  # as of ``| head``: end in order, without a word
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            os.kill(os.getpid(), signal.SIGTERM)

    return show


def _show(told: Entry) -> None:
    typer.secho(f"{told.at} ", dim=True, nl=False)
    typer.secho(f"{told.process:>6} │ ", fg=COLORS.get(told.process), nl=False)
    if told.level == "info":
        typer.echo(told.text)
    else:
        color = typer.colors.YELLOW if told.level == "warning" else typer.colors.RED
        typer.secho(told.level.upper(), fg=color, bold=True, nl=False)
        typer.echo(f" {told.text}")
