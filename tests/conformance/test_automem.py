"""The AutoMem driver against the driver conformance suite, on AutoMem's double and on a real one if named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backends.automem import create
from memrelay.driver import Driver
from memrelay.testing.conformance import DriverConformance
from tests.servers import Automem


class TestAutomem(DriverConformance):
    @pytest.fixture
    async def driver(self, automem: Automem) -> AsyncIterator[Driver]:
        driver = create("automem", {"url": automem.url, "token": automem.token})
        await driver.open()
        yield driver
        await driver.close()
