"""The memrelay of ``MEMRELAY_URL``: ``default`` embeds itself, ``brought`` takes vectors of six numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from memrelay import Memrelay

type Empty = Callable[[str], None]


@pytest.fixture(scope="session")
def relay() -> Iterator[Memrelay]:
    with Memrelay() as relay:
        yield relay


@pytest.fixture
def empty(relay: Memrelay) -> Iterator[Empty]:
    """Notes a source that is emptied when the test has ended."""
    used: list[str] = []
    yield used.append
    for source in used:
        for job in relay.purge("default", source=source).jobs:
            assert relay.wait_job(job.id, timeout=120).ended


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"
