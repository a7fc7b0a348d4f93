"""What the shell offers for names that the service knows. Nothing, soon, where it does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import typer

from memrelay.client import Memrelay
from memrelay.errors import MemrelayError

SECONDS = 2.0
JOBS = 20


def sources(context: typer.Context, incomplete: str) -> list[str]:
    return _asked(context, incomplete, lambda service: (row.name for row in service.sources()))


def drivers(context: typer.Context, incomplete: str) -> list[str]:
    return _asked(
        context, incomplete, lambda service: (row.name for row in service.drivers().drivers)
    )


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """The last ones."""
    return _asked(
        context, incomplete, lambda service: (job.id for job in service.jobs(limit=JOBS).jobs)
    )


def _asked(
    context: typer.Context, incomplete: str, ask: Callable[[Memrelay], Iterable[str]]
) -> list[str]:
    try:
        with Memrelay(context.params.get("url"), timeout=SECONDS, patience=0) as service:
            return [name for name in ask(service) if name.startswith(incomplete)]
    except MemrelayError:
        return []
