"""``python -m workers.health``: exit 0 while this host's workers live and get on with what waits, else 1.

By their sign of life in the journal and by progress, not by a broadcast that a wedged worker still answers.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from backends.journal import Journal
from backends.journal.pulse import pulse
from backends.process import run_process
from memrelay.errors import Unavailable
from memrelay.settings import load_settings


async def check(journal_url: str, host: str) -> None:
    """Raise ``Unavailable`` with what is wrong with the workers of ``host``."""
    journal = Journal(journal_url)
    try:
        seen = await pulse(journal)
    finally:
        await journal.close()
    if not any(name.startswith(f"{host}:") for name in seen.alive):
        raise Unavailable(f"no worker of {host} has given a sign of life lately")
    for queue, seconds in seen.stalled.items():
        raise Unavailable(
            f"work waits on {queue}, and nobody has got on with it for {seconds:.0f} s"
        )


def main() -> int:
    return run_process(
        "worker", lambda: asyncio.run(check(load_settings().journal_url, socket.gethostname()))
    )


if __name__ == "__main__":
    sys.exit(main())
