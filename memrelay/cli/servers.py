"""``api`` and ``worker``: become that process, so that signals and exit status are its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Never

import typer

from memrelay.embedded.apps import app_command, app_environment

PASS_ON: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True}


def api() -> Never:
    """Serve HTTP, with the settings of memrelay.toml and MEMRELAY_*."""
    _become("api", ())


def worker(
    context: typer.Context,
    lane: Annotated[
        Literal["interactive", "bulk"] | None,
        typer.Option(help="Work for this lane alone; bulk takes retries and upkeep along."),
    ] = None,
) -> Never:
    """Embed and store what was accepted; further options are given to Celery's workers, one for each lane."""
    _become("workers", [*([] if lane is None else ["--lane", lane]), *context.args])


def _become(module: str, arguments: Sequence[str]) -> Never:
    command, environment = app_command(module, arguments), app_environment()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)
