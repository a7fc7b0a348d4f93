"""One process of an embedded installation: on a leash, its output passed on line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

from memrelay.embedded.leash import leashed

LONGEST_LINE = 64 * 1024
DRAIN_SECONDS = 2.0

type Say = Callable[[str, str], None]
"""Told (the name of a child, a line of its output)."""


class Child:
    """A process that leads a session of its own, so that Ctrl-C reaches us alone and we stop it in order.

    It gets SIGTERM when we die, however that is. ``kept_open`` are descriptors that it inherits.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, say: Say) -> None:
        self.name = name
        self._process = process
        self._say = say
        self._output = asyncio.create_task(self._pass_on(), name=f"output of {name}")

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        say: Say,
        kept_open: Sequence[int] = (),
    ) -> Self:
        """To be called in the main thread: the leash is on the thread that starts it."""
        process = await asyncio.create_subprocess_exec(
            *leashed(command),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=kept_open,
            start_new_session=True,
        )
        return cls(name, process, say)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> int:
        """Its exit status, once it has ended and its output is passed on."""
        status = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._output), DRAIN_SECONDS)
        return status

    async def stop(self, seconds: float, hurry: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL to it and its children after ``seconds`` or in a ``hurry``."""
        if self.running:
            self._process.terminate()
            await _first_of(self._process.wait(), hurry.wait(), timeout=seconds)
            if self.running:
                os.killpg(self._process.pid, signal.SIGKILL)
        await self.ended()
        self._output.cancel()
        await asyncio.gather(self._output, return_exceptions=True)

    async def _pass_on(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(LONGEST_LINE):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._say(self.name, line.decode(errors="replace").rstrip())
            if len(rest) > LONGEST_LINE:
                self._say(self.name, rest.decode(errors="replace"))
                rest = b""
        if rest:
            self._say(self.name, rest.decode(errors="replace"))


async def _first_of(*work: Coroutine[Any, Any, object], timeout: float) -> None:
    """Return when one of them is done or ``timeout`` seconds are over; all others are cancelled."""
    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
