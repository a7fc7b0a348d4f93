"""``python -m workers``: a worker. Settings, models and journal are checked before Celery starts."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings

from celery.exceptions import SecurityWarning

from backends.journal import Journal, check_durable
from backends.sources import open_sources
from memrelay import exits
from memrelay.errors import MemrelayError, Unavailable
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


def main() -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )
    for chatty in ("celery", "httpx", "LiteLLM"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        asyncio.run(check(load_settings()))
    except Unavailable as error:
        print(f"memrelay worker: {error}", file=sys.stderr)  # noqa: T201 - the process's last word
        return exits.UNAVAILABLE
    except MemrelayError as error:
        print(f"memrelay worker: {error}", file=sys.stderr)  # noqa: T201
        return exits.FAILED
    # Celery warns root of pickled messages; ours are JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    from workers.app import app  # noqa: PLC0415 - after the check: it reads the settings when imported

    app.worker_main(["--quiet", "worker", "--loglevel=WARNING", *sys.argv[1:]])
    return exits.OK


if __name__ == "__main__":
    sys.exit(main())
