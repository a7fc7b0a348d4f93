"""Redis, API and worker as one: started in order, watched, stopped in order, never two in one directory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from memrelay.client import AsyncMemrelay
from memrelay.embedded.apps import app_command, app_environment
from memrelay.embedded.child import Child, Say
from memrelay.embedded.directory import held, held_by_all
from memrelay.embedded.environment import choose_redis_port, stack_environment
from memrelay.embedded.ports import is_free
from memrelay.embedded.redis import find_redis_server, redis_answers, redis_command
from memrelay.errors import ConfigError, MemrelayError, Unavailable
from memrelay.settings import Settings, load_settings

POLL_SECONDS = 0.05
REDIS_SECONDS = 300.0  # loading a large append-only file
READY_SECONDS = 120.0
STOP_SECONDS = {"api": 20.0, "worker": 60.0, "redis": 30.0}
APPS = {"api": "api", "worker": "workers"}


class ChildEnded(MemrelayError):
    """A process of the stack ended by itself; its last words were passed on."""

    code = "child_ended"


class Stack:
    """What ``running`` yields: the URL, the settings, and an end that nobody wishes for."""

    def __init__(self, settings: Settings, children: list[Child], say: Say) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.url = f"http://{host}:{settings.port}"
        self.settings = settings
        self._children = children
        self._say = say

    async def ready(self) -> None:
        """Return when writes and searches are served; ``ChildEnded`` if a process ends instead."""
        deadline = time.monotonic() + READY_SECONDS
        async with AsyncMemrelay(self.url, patience=0) as client:
            while time.monotonic() < deadline:
                self._check()
                with contextlib.suppress(Unavailable):
                    readiness = await client.ready()
                    if readiness.accept and readiness.search:
                        return
                await asyncio.sleep(POLL_SECONDS)
        raise Unavailable(f"{self.url} was not ready after {READY_SECONDS:g} s")

    async def end(self) -> None:
        """Wait until some process ends by itself, then raise ``ChildEnded``."""
        await asyncio.wait(
            [asyncio.create_task(child.ended()) for child in self._children],
            return_when=asyncio.FIRST_COMPLETED,
        )
        self._check()

    def _check(self) -> None:
        for child in self._children:
            if not child.running:
                self._say("up", f"{child.name} has ended: stopping the others")
                raise ChildEnded(f"{child.name} has ended by itself, so all was stopped")


@asynccontextmanager
async def running(data: Path, *, say: Say, hurry: asyncio.Event) -> AsyncIterator[Stack]:
    """A started stack with its data in ``data``; stopped in order at the end, fast once ``hurry`` is set.

    Raises ``ConfigError`` in one line for what is wrong or taken before anything is started.
    """
    find_redis_server()
    with held(data):
        async with held_by_all(data, say) as alive:
            port = choose_redis_port(data)
            os.environ.update(stack_environment(data, port))
            settings = load_settings()
            if not is_free(settings.port, settings.host):
                raise ConfigError(
                    f"port {settings.port} on {settings.host} is taken: stop what listens there, "
                    "or set MEMRELAY_PORT to another"
                )
            redis = await _start_redis(data, port, say, alive)
            others: list[Child] = []
            try:
                for name, module in APPS.items():
                    others.append(await _start_app(name, module, say, alive))
                yield Stack(settings, [redis, *others], say)
            finally:
                stops = [child.stop(STOP_SECONDS[child.name], hurry) for child in others]
                await asyncio.gather(*stops, return_exceptions=True)
                await redis.stop(STOP_SECONDS[redis.name], asyncio.Event())


async def _start_app(name: str, module: str, say: Say, alive: int) -> Child:
    return await Child.start(
        name, app_command(module), app_environment(), say=say, kept_open=[alive]
    )


async def _start_redis(data: Path, port: int, say: Say, alive: int) -> Child:
    directory = data / "redis"
    directory.mkdir(mode=0o700, exist_ok=True)
    command = redis_command(directory, port, loglevel="warning")
    redis = await Child.start("redis", command, os.environ, say=say, kept_open=[alive])
    try:
        deadline = time.monotonic() + REDIS_SECONDS
        while not redis_answers(port, redis.pid):
            if not redis.running:
                raise ChildEnded(f"redis did not start in {directory}; see its lines above")
            if time.monotonic() > deadline:
                raise Unavailable(f"redis did not answer within {REDIS_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)
    except BaseException:
        await redis.stop(STOP_SECONDS[redis.name], asyncio.Event())
        raise
    return redis
