"""Who waits for a job, in the test's own process on a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from api import waiters as module
from api.waiters import Waiters
from backends.journal import Journal
from backends.journal.jobs import add_to_import
from memrelay.jobs import Job, JobId
from tests.integration.test_journal import enter, unit

IMPORT = "job_i01"
PARTS, SIZE = 5, 100


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    journal = Journal(journal_url)
    await journal.client.flushdb()
    yield journal
    await journal.close()


async def test_large_import_is_not_read_anew_for_each_of_its_parts(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKED_THROUGH", 1)  # as if it were larger by far
    for _ in range(PARTS):
        [first] = await enter(journal, unit([[f"m{n}" for n in range(SIZE)]]))
        await add_to_import(journal, "ns", IMPORT, JobId(first, SIZE))
    waiters = Waiters(journal)
    looked = 0

    def ended(_: Job) -> bool:
        nonlocal looked
        looked += 1
        return False

    waiting = asyncio.create_task(waiters.wait("ns", IMPORT, ended, 2))
    while not waiting.done():
        for event in waiters._waiting:
            event.set()  # a part has settled
        await asyncio.sleep(0.01)
    job = await waiting
    await waiters.close()
    assert job is not None
    assert job.total == PARTS * SIZE
    assert looked <= 3, "at first, after a half, and at the end"
