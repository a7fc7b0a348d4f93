"""Lists of jobs by status and time, the newest first, whatever else there is; on a real journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from backends.journal import DriverResult, Journal, Settlement, joblist
from backends.journal.cancel import cancel
from backends.journal.joblist import LOOKED_AT, JobFilter, list_jobs
from memrelay.jobs import JobId, JobStatus
from tests.integration.test_journal import applied, claim, enter, unit

MANY = 3 * LOOKED_AT


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    journal = Journal(journal_url, lease_ms=60_000)
    await journal.client.flushdb()
    yield journal
    await journal.close()


async def pages(
    journal: Journal, limit: int = 100, where: JobFilter = joblist.ANY
) -> list[list[str]]:
    """The ids of all jobs, page by page."""
    found: list[list[str]] = []
    below: int | None = None
    while True:
        page = await list_jobs(journal, "ns", where, below=below, limit=limit)
        found.append([job.id for job in page.jobs])
        below = page.below
        if below is None:
            return found


async def listed(journal: Journal, status: JobStatus, limit: int = 100) -> list[str]:
    return [id for page in await pages(journal, limit, JobFilter(status=status)) for id in page]


async def single(journal: Journal, id: str = "a", source: str = "default") -> str:
    [first] = await enter(journal, unit([[id]], source=source, key=f"{id}{source}", body_hash="h"))
    return str(JobId(first, 1))


async def end(journal: Journal, outcomes: str = "a") -> str:
    """The next envelope ends so; its job."""
    claimed = await claim(journal)
    eid = claimed.eids[0]
    await journal.settle(
        claimed,
        [
            Settlement(eid=eid, results=[DriverResult(driver="redis", outcomes=outcomes)])
            for eid in claimed.eids
        ],
    )
    return str(JobId(eid, 1))


async def test_each_status_has_its_jobs_the_newest_first(journal: Journal) -> None:
    made: dict[JobStatus, list[str]] = {}
    for round in range(2):
        for status, letters in (("stored", "a"), ("failed", "f"), ("stored", "s")):
            await single(journal, f"{round}{letters}")
            made.setdefault(status, []).append(await end(journal, letters))
        await single(journal, f"{round}processing", f"s{round}")
        await claim(journal)
        [newest] = (await list_jobs(journal, "ns", limit=1)).jobs
        made.setdefault("processing", []).append(newest.id)
    for round in range(2):
        accepted = await single(journal, f"{round}accepted")
        canceled = await single(journal, f"{round}canceled", "other")
        id = JobId.parse(canceled)
        assert id is not None
        assert await cancel(journal, "ns", [id]) == [1]
        made.setdefault("accepted", []).append(accepted)
        made.setdefault("canceled", []).append(canceled)
    for status, ids in made.items():
        assert await listed(journal, status) == ids[::-1], status
        assert await listed(journal, status, limit=1) == ids[::-1], status
    assert await listed(journal, "partial") == []


async def test_job_over_many_envelopes_is_listed_once_by_the_worst_of_them(
    journal: Journal,
) -> None:
    """Its later part is what makes it processing, then partial; the job begins in the part before."""
    await enter(journal, unit([["x"], [f"m{n}" for n in range(700)], ["y"]]))
    [whole] = [job for job in (await list_jobs(journal, "ns", limit=9)).jobs if job.total == 700]
    assert whole.id in await listed(journal, "accepted")
    one = await claim(journal)
    await journal.settle(one, [applied(one.eids[0])])
    assert await listed(journal, "processing") == [whole.id]
    two = await claim(journal)
    n = len(two.envelopes[0].writes)
    bad = DriverResult(driver="redis", outcomes="f" * (n - 1) + "a")
    await journal.settle(two, [Settlement(eid=two.eids[0], results=[bad])])
    assert await listed(journal, "partial") == [whole.id]
    assert await listed(journal, "partial", limit=1) == [whole.id]
    assert len(await listed(journal, "stored")) == 2


async def test_pages_of_jobs_that_share_envelopes_hold_each_once(journal: Journal) -> None:
    [first] = await enter(journal, unit([[f"m{n}"] for n in range(300)]))
    ids = [str(JobId(first + n, 1)) for n in reversed(range(300))]
    for limit in (1, 7, 100, 299):
        found = await pages(journal, limit)
        assert [id for page in found for id in page] == ids, limit
        assert all(len(page) == limit for page in found[:-1])


async def test_times_bound_the_list(journal: Journal) -> None:
    [first] = await enter(journal, unit([[f"m{n}"] for n in range(5)]))
    where = JobFilter(after=first + 1, before=first + 4)
    found = (await list_jobs(journal, "ns", where, limit=10)).jobs
    assert [job.id for job in found] == [str(JobId(first + at, 1)) for at in (3, 2, 1)]


async def crowd(journal: Journal, count: int) -> None:
    """Jobs that wait, each in an envelope of its own."""
    for begin in range(0, count, 500):
        units = [unit([[f"c{n}"]], key=f"c{n}", body_hash="h") for n in range(begin, begin + 500)]
        await enter(journal, *units)


async def test_page_reaches_over_as_many_jobs_of_another_status_as_there_are(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await single(journal, "failed")
    failed = await end(journal, "f")
    await single(journal, "processing")
    await claim(journal)
    await crowd(journal, MANY)
    read: list[int] = []
    read_jobs = joblist.read_jobs

    async def counting(journal: Journal, namespace: str, ids: Sequence[JobId]) -> object:
        read.append(len(ids))
        return await read_jobs(journal, namespace, ids)

    monkeypatch.setattr(joblist, "read_jobs", counting)
    page = await list_jobs(journal, "ns", JobFilter(status="failed"), limit=1)
    assert [job.id for job in page.jobs] == [failed]
    page = await list_jobs(journal, "ns", JobFilter(status="processing"), limit=20)
    assert [job.status for job in page.jobs] == ["processing"]
    assert page.below is None
    assert sum(read) == 2, "only what can be what was asked for is read"


async def test_page_ends_early_rather_than_read_without_end(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblist, "READ", 200)
    await single(journal, "bad")
    failed = await end(journal, "f")
    await enter(journal, unit([[f"m{n}", f"o{n}"] for n in range(250)]))
    await end(journal, "af" * 250)
    where = JobFilter(status="failed")
    page = await list_jobs(journal, "ns", where, limit=1)
    assert page.jobs == []
    assert page.below is not None
    assert await listed(journal, "failed", limit=1) == [failed]
