"""A driver as API and workers hold it: opened when needed, under a deadline, behind a breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from memrelay.breaker import Breaker
from memrelay.driver import Driver
from memrelay.errors import Permanent, Transient, Unavailable
from memrelay.types import Scope

log = logging.getLogger("memrelay.store")


class BreakerOpen(Unavailable):
    """The driver is being left alone; ``retry_after`` seconds remain. Costs no attempt."""

    code = "breaker_open"


class Store:
    """One driver of one process and event loop.

    ``call`` opens the driver and ensures the scope on first use, so that a store which is down when a
    process starts is merely a store that is down.
    """

    def __init__(
        self,
        name: str,
        driver: Driver,
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.driver = driver
        self.breaker = Breaker(clock)
        self._timeout = timeout
        self._opened = False
        self._ensured: set[tuple[str, str, str]] = set()
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        await self.driver.close()

    async def ping(self) -> None:
        """Return when the driver can serve; raises ``Transient`` otherwise. Asks past the breaker."""
        await self._open()
        await self.driver.ping()

    async def call[T](
        self,
        scope: Scope,
        action: Callable[[Driver], Awaitable[T]],
        *,
        timeout: float | None = None,
    ) -> T:
        """``action`` on the ready driver. Raises ``BreakerOpen``, ``Transient`` or ``Permanent``."""
        async with self._guarded(timeout or self._timeout):
            await self._prepare(scope)
            return await action(self.driver)

    @asynccontextmanager
    async def _guarded(self, timeout: float) -> AsyncIterator[None]:
        if not self.breaker.allows():
            raise BreakerOpen(
                f"driver {self.name} is resting after failures",
                retry_after=max(self.breaker.remaining, 0.05),
            )
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            self.breaker.failed()
            raise Unavailable(
                f"driver {self.name} did not answer within {timeout:g} s", code="timeout"
            ) from None
        except Transient:
            self.breaker.failed()
            raise
        except Permanent:
            self.breaker.succeeded()
            raise
        except Exception as error:  # the edge to code that may be a stranger's: its bug is its own
            self.breaker.failed()
            log.exception("driver %s raised what the contract does not allow", self.name)
            raise Unavailable(
                f"driver {self.name} failed with {type(error).__name__}", code="driver_bug"
            ) from error
        self.breaker.succeeded()

    async def _prepare(self, scope: Scope) -> None:
        key = (scope.namespace, scope.source, scope.space.slug)
        if key in self._ensured:
            return
        await self._open()
        async with self._opening:
            if key not in self._ensured:
                await self.driver.ensure(scope)
                self._ensured.add(key)

    async def _open(self) -> None:
        async with self._opening:
            if not self._opened:
                await self.driver.open()
                self._opened = True
