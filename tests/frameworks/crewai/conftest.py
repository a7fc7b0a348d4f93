"""An empty storage for each test; the memrelay is that of ``MEMRELAY_URL``."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

import pytest

from memrelay.client import Memrelay
from memrelay.compat.crewai import MemrelayStorage

DIMENSIONS = 64


def embed(texts: list[str]) -> list[list[float]]:
    """Texts are near each other that share words."""
    vectors = []
    for text in texts:
        vector = [0.0] * DIMENSIONS
        for word in text.lower().split():
            vector[zlib.crc32(word.strip(".,?").encode()) % DIMENSIONS] += 1.0
        vectors.append(vector)
    return vectors


@pytest.fixture(scope="session")
def relay() -> Iterator[Memrelay]:
    with Memrelay() as relay:
        yield relay


@pytest.fixture
def storage(relay: Memrelay) -> Iterator[MemrelayStorage]:
    storage = MemrelayStorage(relay, source="crew")
    yield storage
    storage.reset()
