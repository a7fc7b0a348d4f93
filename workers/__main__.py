"""``python -m workers``: a worker. Settings, models and journal are checked before Celery starts."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings

from celery.exceptions import SecurityWarning

from backends.journal import Journal, check_durable
from backends.process import run_process
from backends.sources import open_sources
from memrelay.settings import Settings, load_settings


async def check(settings: Settings) -> None:
    """Raise the one line that is wrong. It also loads models in the parent, for the children to share."""
    journal = Journal(settings.journal_url)
    try:
        await check_durable(journal, settings)
    finally:
        await journal.close()
    sources = await open_sources(settings)
    await sources.close()


def start() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    asyncio.run(check(load_settings()))
    # Celery warns root of pickled messages; ours are JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    from workers.app import app  # noqa: PLC0415 - after the check: it reads the settings when imported

    app.worker_main(["--quiet", "worker", "--loglevel=WARNING", *sys.argv[1:]])


def main() -> int:
    return run_process("worker", start)


if __name__ == "__main__":
    sys.exit(main())
