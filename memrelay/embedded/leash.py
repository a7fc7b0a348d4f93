"""Become a command that ends with its parent: ``python leash.py PARENT_PID COMMAND [ARGUMENT...]``.

A program of its own, run between fork and exec, because code in a forked child of a process with
threads may deadlock. The process id stays the same. Elsewhere than on Linux there is no such leash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; the setting survives exec


def leashed(command: Sequence[str]) -> list[str]:
    """``command`` on a leash of this process; to be started by a thread that lives as long as it."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def tie(parent: int) -> None:
    """SIGTERM for this process when its parent's forking thread ends; exit if the parent is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that asked for this server is gone")


def main() -> None:
    """Tie ourselves to the parent, then exec."""
    parent, *command = sys.argv[1:]
    tie(int(parent))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
