"""``api`` and ``worker``: become that process, so that signals and exit status are its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Literal, Never

import typer

from memrelay.embedded.apps import app_command, app_environment


def api() -> Never:
    """Serve HTTP, with the settings of memrelay.toml and MEMRELAY_*."""
    _become("api", ())


def worker(
    context: typer.Context,
    lane: Annotated[
        Literal["interactive", "bulk"] | None,
        typer.Option(help="Work for this lane alone; bulk takes retries and upkeep along."),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option(
            help="Work for these queues alone, as in: deliver.bulk,store.redis", metavar="QUEUE,…"
        ),
    ] = None,
) -> Never:
    """Embed and store what was accepted; further options are given to Celery's workers, one for each lane."""
    which = {"--lane": lane, "--queues": queues}
    chosen = [word for name, value in which.items() if value is not None for word in (name, value)]
    _become("workers", [*chosen, *context.args])


def _become(module: str, arguments: Sequence[str]) -> Never:
    command, environment = app_command(module, arguments), app_environment()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, environment)
