"""The edge of a server process: how it logs, and how it ends when something is wrong."""

from __future__ import annotations

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
        if as_json:
            log.critical("%s", error)
        else:
            print(f"memrelay {name}: {error}", file=sys.stderr)  # noqa: T201 - its last word
        return exits.UNAVAILABLE if isinstance(error, Unavailable) else exits.FAILED
    except Exception:
        log.exception("memrelay %s ends, by a bug", name)
        return exits.FAILED
    return exits.OK
