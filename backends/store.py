"""A driver as API and workers hold it: opened when needed, under a deadline, behind a breaker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from backends.mirror import Mirror, mirrored
from memrelay.breaker import Breaker
from memrelay.driver import Driver
from memrelay.embedder import Embedder
from memrelay.errors import ConfigError, Permanent, Transient, Unavailable
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
        self.mirrors: dict[str, Embedder] = {}
        """The sources that are embedded anew, with the embedder of the space that is built for each."""
        self.counts: Counter[str] = Counter()
        """What failed for now, by the names of ``backends/journal/totals.py``."""
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

    def check(self) -> None:
        """Raise ``BreakerOpen`` while the driver is left alone."""
        if self.breaker.state == "open":
            raise self._resting()

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
            return await action(await self._writing_to(scope))

    async def _writing_to(self, scope: Scope) -> Driver:
        """The driver, whose writes go to the space that is built for the source as well, if one is."""
        embedder = self.mirrors.get(scope.source)
        if embedder is None or scope.space == embedder.space:
            return self.driver
        await self._prepare(mirrored(scope, embedder))
        return cast(Driver, Mirror(self.driver, embedder))

    @asynccontextmanager
    async def _guarded(self, timeout: float) -> AsyncIterator[None]:
        if not self.breaker.allows():
            raise self._resting()
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError:
            self._failed("timeout")
            raise Unavailable(
                f"driver {self.name} did not answer within {timeout:g} s", code="timeout"
            ) from None
        except Transient as error:
            self._failed(error.code)
            raise
        except Permanent:
            self.breaker.succeeded()
            raise
        except (
            ConfigError
        ) as error:  # what it was filled with does not fit: until somebody mends it
            self._failed("config")
            raise Unavailable(str(error), code="config") from error
        except Exception as error:  # the edge to code that may be a stranger's: its bug is its own
            self._failed("driver_bug")
            log.exception("driver %s raised what the contract does not allow", self.name)
            raise Unavailable(
                f"driver {self.name} failed with {type(error).__name__}", code="driver_bug"
            ) from error
        self.breaker.succeeded()

    def _failed(self, code: str) -> None:
        rested = self.breaker.state == "open"
        self.breaker.failed()
        self.counts[f"failures|{self.name}|{code}"] += 1
        if self.breaker.state == "open" and not rested:
            self.counts[f"openings|{self.name}"] += 1

    def _resting(self) -> BreakerOpen:
        return BreakerOpen(
            f"driver {self.name} is resting after failures",
            retry_after=max(self.breaker.remaining, 0.05),
        )

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
