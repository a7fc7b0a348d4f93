"""``python -m workers [--lane LANE | --queues QUEUE,…] [ARGUMENT...]``: a worker, of both lanes unless one
is named, or some queues are.

Settings, models and journal are checked before Celery starts; further arguments are for Celery's worker.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import warnings

from celery.bin.base import CLIContext
from celery.bin.worker import worker as celery_worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from backends.journal import Journal, check_durable
from backends.logs import configure
from backends.process import run_process
from backends.sources import enter_members, open_sources
from memrelay.settings import Settings, load_settings
from memrelay.types import LANES
from workers.lanes import celery_arguments, fork_lanes, give_way, queue_arguments


async def check(settings: Settings) -> None:
    """Raise the one line that is wrong. It also loads models in the parent, for the children to share."""
    journal = Journal(settings.journal_url)
    try:
        await check_durable(journal, settings)
        sources = await open_sources(settings)
        await sources.close()
        await enter_members(journal, settings)
    finally:
        await journal.close()


def start() -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--lane", choices=LANES)
    which.add_argument("--queues", type=lambda names: names.split(","))
    options, more = parser.parse_known_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    settings = load_settings()
    configure("worker", settings.log_format)
    ours = queue_arguments(options.queues, settings) if options.queues else None
    asyncio.run(check(settings))
    # Celery warns root of pickled messages; ours are JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # Six lines at every reconnect, of a setting that was chosen.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    from workers.app import app  # noqa: PLC0415 - after the check: it reads the settings when imported

    gc.collect()
    gc.freeze()  # what is loaded now stays, and a collection in a child would copy the pages that it shares
    if ours is None:
        lane = options.lane or fork_lanes()
        give_way(lane, settings)
        ours = celery_arguments(lane, settings)
    # Not ``app.worker_main``: it loads every command of Celery first, its shell and Flower too.
    context = CLIContext(app=app, no_color=False, workdir=None, quiet=True)
    celery_worker.main(
        ["--loglevel=WARNING", *ours, *more],
        prog_name="memrelay worker",
        standalone_mode=False,
        obj=context,
    )


def main() -> int:
    return run_process("worker", start)


if __name__ == "__main__":
    sys.exit(main())
