"""The command line as a user runs it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memrelay.seeds import SEED_NAMES
from tests.rig import wait_until

COMMAND = [sys.executable, "-m", "memrelay.cli"]
START_SECONDS = 120.0
STOP_SECONDS = 120.0


def environment_in(directory: Path, **own: str) -> dict[str, str]:
    """Ours without any setting, and with the user's state in ``directory``."""
    hidden = ("MEMRELAY_", *SEED_NAMES)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return clean | {"XDG_STATE_HOME": str(directory / "state")} | own


class Up:
    """A running ``memrelay up`` with its data in ``directory``."""

    def __init__(self, directory: Path, port: int, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", *arguments],
                env=environment_in(directory, MEMRELAY_PORT=str(port)),
                cwd=directory,
                stdout=log,
                stderr=log,
            )

    def until(self, line: str) -> None:
        def told() -> bool:
            ended, log = self.process.poll() is not None, self.log.read_text()
            assert line in log or not ended, log
            return line in log

        wait_until(line, told, START_SECONDS)

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(sign)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def up_in(directory: Path, port: int, *arguments: str) -> Iterator[Up]:
    up = Up(directory, port, *arguments)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()


def processes_in(directory: Path) -> list[int]:
    """Those that hold a file in ``directory`` open: every process of a stack inherits its lock."""
    held = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                files = [link.readlink() for link in (process / "fd").iterdir()]
            except OSError:
                continue
            if any(file.is_relative_to(directory / ".memrelay") for file in files):
                held.append(int(process.name))
    return held
