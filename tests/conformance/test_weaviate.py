"""The Weaviate driver against the driver conformance suite, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backends.weaviate import create
from memrelay.driver import Driver
from memrelay.testing.conformance import DriverConformance
from tests.servers import Weaviate


class TestWeaviate(DriverConformance):
    @pytest.fixture
    async def driver(self, weaviate: Weaviate) -> AsyncIterator[Driver]:
        driver = create("weaviate", {"url": weaviate.url, "grpc_port": weaviate.grpc_port})
        await driver.open()
        yield driver
        await driver.close()
