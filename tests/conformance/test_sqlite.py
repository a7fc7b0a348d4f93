"""The SQLite driver against the driver conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.sqlite import create
from memrelay.driver import Driver
from memrelay.testing.conformance import DriverConformance


class TestSqlite(DriverConformance):
    @pytest.fixture
    async def driver(self, tmp_path: Path) -> AsyncIterator[Driver]:
        driver = create("sqlite", {"path": str(tmp_path / "memories.db")})
        await driver.open()
        yield driver
        await driver.close()
