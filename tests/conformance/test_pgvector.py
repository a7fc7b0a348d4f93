"""The pgvector driver against the driver conformance suite, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from backends.pgvector import create
from memrelay.driver import Driver
from memrelay.testing.conformance import DriverConformance


class TestPgvector(DriverConformance):
    @pytest.fixture
    async def driver(self, postgres_url: str) -> AsyncIterator[Driver]:
        driver = create("pgvector", {"url": postgres_url})
        await driver.open()
        yield driver
        await driver.close()
