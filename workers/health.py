"""``python -m workers.health [--liveness]``: exit 0 while this host's workers live and get on with what
waits for them, else 1.

By their sign of life in the journal and by progress, not by a broadcast that a wedged worker still answers.
With ``--liveness`` it is 0 also while the journal cannot be asked: a restart would not mend that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys

from backends.journal import Journal
from backends.journal.pulse import Pulse, pulse
from backends.process import run_process
from memrelay.errors import Unavailable
from memrelay.settings import load_settings

log = logging.getLogger("memrelay.health")


async def check(journal_url: str, host: str, *, liveness: bool = False) -> None:
    """Raise ``Unavailable`` with what is wrong with the workers of ``host``."""
    journal = Journal(journal_url)
    try:
        seen = await pulse(journal)
    except Unavailable as error:
        if not liveness:
            raise
        log.warning("nothing is known of the workers: %s", error)
        return
    finally:
        await journal.close()
    _judge(seen, host)


def _judge(seen: Pulse, host: str) -> None:
    alive = [name for name in seen.alive if name.startswith(f"{host}:")]
    if not alive:
        raise Unavailable(f"no worker of {host} has given a sign of life lately")
    theirs = {queue for name in alive for queue in seen.queues[name]}
    for queue, seconds in seen.stalled.items():
        if queue in theirs:
            raise Unavailable(
                f"work waits on {queue}, and nobody has got on with it for {seconds:.0f} s"
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.health")
    parser.add_argument("--liveness", action="store_true")
    options = parser.parse_args()
    return run_process(
        "worker",
        lambda: asyncio.run(
            check(load_settings().journal_url, socket.gethostname(), liveness=options.liveness)
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
