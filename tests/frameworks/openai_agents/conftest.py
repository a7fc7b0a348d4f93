"""A session of one's own for each test; the memrelay is that of ``MEMRELAY_URL``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from memrelay.client import AsyncMemrelay
from memrelay.compat.openai_agents import MemrelaySession


@pytest.fixture
async def relay() -> AsyncIterator[AsyncMemrelay]:
    async with AsyncMemrelay() as relay:
        yield relay


@pytest.fixture(params=["default", "sessions"])
def source(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def session(relay: AsyncMemrelay, source: str) -> MemrelaySession:
    return MemrelaySession(f"talk-{uuid4().hex}", relay, source=source)
