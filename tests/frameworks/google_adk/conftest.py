"""A user of one's own for each test; the memrelay is that of ``MEMRELAY_URL``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from memrelay.client import AsyncMemrelay
from memrelay.compat.google_adk import MemrelayMemoryService


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


@pytest.fixture
async def relay() -> AsyncIterator[AsyncMemrelay]:
    """Past ADK."""
    async with AsyncMemrelay() as relay:
        yield relay


@pytest.fixture
def memory() -> MemrelayMemoryService:
    return MemrelayMemoryService()
