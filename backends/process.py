"""The edge of a server process: how it logs, and how it ends when something is wrong."""

from __future__ import annotations

import json
import logging
import os
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
        status = exits.UNAVAILABLE if isinstance(error, Unavailable) else exits.FAILED
        print(_last_word(name, error, status), file=sys.stderr)  # noqa: T201
        return status
    return exits.OK


def _last_word(name: str, error: MemrelayError, status: int) -> str:
    """For a program where the command line was asked for JSON, else for people."""
    if os.environ.get(exits.ERRORS) == "json":
        return json.dumps({"error": {"code": error.code, "detail": str(error), "status": status}})
    return f"memrelay {name}: {error}"
