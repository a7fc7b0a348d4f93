"""The edge of a server process: how it logs, and how it ends when something is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable

from backends.logs import configure
from memrelay import exits
from memrelay.errors import MemrelayError, Unavailable

log = logging.getLogger("memrelay")


def run_process(name: str, work: Callable[[], None]) -> int:
    """The exit code of ``work``: what is wrong is one line on standard error, without a traceback.

    It is logged by the environment's word until ``work`` knows the settings.
    """
    as_json = os.environ.get("MEMRELAY_LOG_FORMAT") == "json"
    configure(name, "json" if as_json else "text")
    try:
        work()
    except MemrelayError as error:
        status = exits.UNAVAILABLE if isinstance(error, Unavailable) else exits.FAILED
        if as_json and not _for_a_program():
            log.critical("%s", error)
        else:
            print(_last_word(name, error, status), file=sys.stderr)  # noqa: T201
        return status
    except Exception:
        log.exception("memrelay %s ends, by a bug", name)
        return exits.FAILED
    return exits.OK


def _last_word(name: str, error: MemrelayError, status: int) -> str:
    """For a program where the command line was asked for JSON, else for people."""
    if _for_a_program():
        return json.dumps({"error": {"code": error.code, "detail": str(error), "status": status}})
    return f"memrelay {name}: {error}"


def _for_a_program() -> bool:
    return os.environ.get(exits.ERRORS) == "json"
