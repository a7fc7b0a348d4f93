"""The edge of a server process: how it logs, and how it ends when something is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from memrelay import exits
from memrelay.errors import MemrelayError, Unavailable

CHATTY = ("celery", "httpx", "LiteLLM", "mcp")


def run_process(name: str, work: Callable[[], None]) -> int:
    """The exit code of ``work``: what is wrong is one line on standard error, without a traceback."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        work()
    except MemrelayError as error:
        print(f"memrelay {name}: {error}", file=sys.stderr)  # noqa: T201 - the process's last word
        return exits.UNAVAILABLE if isinstance(error, Unavailable) else exits.FAILED
    return exits.OK
