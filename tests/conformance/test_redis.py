"""The Redis driver against the driver conformance suite, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backends.redis import create
from memrelay.driver import Driver
from memrelay.testing.conformance import DriverConformance


class TestRedis(DriverConformance):
    @pytest.fixture
    async def driver(self, redis_url: str) -> AsyncIterator[Driver]:
        driver = create("redis", {"url": redis_url})
        await driver.open()
        yield driver
        await driver.close()
