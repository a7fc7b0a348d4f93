"""A load in a process of its own, beside what is measured."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.load import ROOT


@contextmanager
def beside(module: str, *arguments: object, nice: int = 0) -> Iterator[dict[str, Any]]:
    """``python -m module arguments…`` as long as this lasts; its report is in the value afterwards.

    It says that it has begun (``ending``), and prints its report, one JSON, on SIGTERM.
    """
    report: dict[str, Any] = {}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(
        ["nice", "-n", str(nice), *command], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"begun\n"
        yield report
    finally:
        process.terminate()
        report |= json.loads(process.stdout.read())
        process.wait()


def ending() -> asyncio.Event:
    """Says that this process has begun; set by SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    print("begun", flush=True)
    return ended


async def until(ended: asyncio.Event, *work: Coroutine[Any, Any, Any]) -> None:
    """``work`` goes on until then, and is given up."""
    tasks = [asyncio.create_task(one) for one in work]
    await ended.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
