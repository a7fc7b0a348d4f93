"""Every command of ``memrelay``, as it explains itself."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import typer

from memrelay.cli.app import commands as command_line
from memrelay.cli.app import run

HEAD = """# Command line

Exit status: 0 ok, 1 failed, 2 wrong usage, 3 partly, 4 unavailable. Most commands print JSON with `--json`,
and take the service's address from `--url` or `MEMRELAY_URL`, its key from `MEMRELAY_API_KEY`. With `--json`
an error is JSON too, on standard error. `memrelay --install-completion` brings completion to bash, zsh and
fish, of sources, drivers and jobs too.
"""


def page() -> str:
    parts = [f"## memrelay {' '.join(words)}\n\n{help_of(words)}" for words in commands()]
    return "\n".join([HEAD, *parts])


def commands() -> list[list[str]]:
    """The words of every command that does something."""
    return list(_commands(typer.main.get_command(command_line()), []))


def _commands(group: Any, before: list[str]) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        words = [*before, name]
        if getattr(command, "commands", None):
            yield from _commands(command, words)
        elif not command.hidden:
            yield words


def help_of(words: list[str]) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        run([*words, "--help"])
    return f"```text\n{said.getvalue().strip()}\n```\n"
