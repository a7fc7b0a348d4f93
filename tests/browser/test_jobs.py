"""Jobs in the browser: the list, one while it goes on, what failed, and very many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import apsw
import httpx
import pytest
import redis
from playwright.async_api import Page, expect

from backends.journal import Journal, Put, Unit, encode_write
from memrelay.batching import pack
from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 100_000
AT_ONCE = 20_000
COMMANDS = 2_000
"""Of Redis, that a page of very many jobs may take: a small part of them."""
MARKUP = '<img src=x onerror=alert(1)>"><script>alert(2)</script>'
POISON = "what the replica refuses"
REFUSE = f"""
CREATE TRIGGER refuse BEFORE INSERT ON memories WHEN instr(CAST(NEW.record AS TEXT), '{POISON}')
BEGIN SELECT RAISE(ABORT, 'no room for this row'); END
"""


@pytest.fixture
def refusing(service: Service) -> Iterator[None]:
    """``sqlite`` refuses what holds ``POISON``."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute(REFUSE)
    yield
    file.execute("DROP TRIGGER refuse")
    file.close()


def statuses(page: Page) -> Any:
    return page.locator("tbody tr .badge")


async def test_list_has_the_newest_job_first_and_leads_to_it(
    page: Page, remember: Remember
) -> None:
    older, newer = (remember([{"text": f"listed {number}"}])["id"] for number in range(2))
    await page.goto("/ui/jobs")
    rows = page.locator("tbody tr")
    await expect(rows.nth(0)).to_contain_text(newer)
    await expect(rows.nth(1)).to_contain_text(older)
    await expect(rows.nth(0)).to_contain_text("stored")
    await look(page, "jobs", dark=True)
    await rows.nth(0).get_by_role("link").click()
    await expect(page.get_by_role("heading", name=newer)).to_be_visible()


async def test_job_shows_where_its_time_went_in_every_driver(
    page: Page, remember: Remember
) -> None:
    job = remember([{"text": f"timed {number}"} for number in range(100)])
    await page.goto(f"/ui/jobs/{job['id']}")
    lanes = page.locator(".lane")
    await expect(lanes).to_have_count(2)
    for lane, driver in ((lanes.nth(0), "redis"), (lanes.nth(1), "sqlite")):
        await expect(lane.get_by_role("heading", name=driver)).to_be_visible()
        await expect(lane).to_contain_text("100 of 100 stored")
        await expect(lane).to_contain_text("embedded in")
        await expect(lane.locator(".time rect.accent")).to_have_count(1)
    await expect(page.locator("[data-live]")).to_have_text("Ended")
    await look(page, "job", dark=True)


async def test_job_is_followed_until_it_has_ended(
    page: Page, service: Service, http: httpx.Client
) -> None:
    service.stop_worker()
    try:
        memories = [{"text": "waits for a worker"}, {"text": "and another"}]
        job = http.post("/v1/memories", json={"memories": memories}).json()["job"]
        await page.goto(f"/ui/jobs/{job['id']}")
        await expect(page.locator("[data-live]")).to_have_text("Live")
        await expect(page.get_by_text("accepted", exact=True)).to_be_visible()
        await expect(page.locator(".lane .time rect.mute")).to_have_count(2)
        await page.evaluate("window.stayed = true")
    finally:
        service.start_worker()
    await expect(page.locator("[data-live]")).to_have_text("Ended")
    await expect(page.get_by_text("stored", exact=True)).to_be_visible()
    assert await page.evaluate("window.stayed")


@pytest.mark.usefixtures("refusing")
async def test_job_shows_what_failed_and_lets_no_markup_through(
    page: Page, remember: Remember
) -> None:
    good = [{"text": f"good {number}"} for number in range(40)]
    id = f"{MARKUP} {uuid4().hex}"
    job = remember([*good, {"id": id, "text": f"{POISON}: {MARKUP}"}])
    assert job["status"] == "partial"
    await page.goto(f"/ui/jobs/{job['id']}")
    failures = page.locator("table")
    await expect(failures).to_contain_text(id[:60])
    await expect(page.locator(".lane").nth(1)).to_contain_text("1 failed")
    await look(page, "job-failed")
    await page.goto("/ui/jobs?status=partial")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text(job["id"])
    await page.goto("/ui/jobs?status=failed")
    await expect(page.get_by_text("No job is failed")).to_be_visible()


@pytest.fixture
async def many(service: Service) -> None:
    """So many jobs of one memory each, accepted and never taken up."""
    service.stop_worker()
    journal = Journal(service.env["MEMRELAY_JOURNAL_URL"])
    write = encode_write(Put("one of many", "text", None, None, (), {}, 1, None, None))
    for _ in range(MANY // AT_ONCE):
        unit = Unit(
            namespace="default",
            source="default",
            queue="deliver.bulk",
            drivers=("redis", "sqlite"),
            drafts=pack(([write], (), ()) for _ in range(AT_ONCE)),
        )
        await journal.append([unit])
    await journal.close()


@pytest.mark.usefixtures("many")
async def test_list_of_very_many_jobs_reads_no_more_than_it_shows(
    page: Page, service: Service
) -> None:
    """The last test: nobody works on these."""
    with redis.Redis.from_url(service.env["MEMRELAY_JOURNAL_URL"]) as client:

        def commands() -> int:
            return int(client.info("stats")["total_commands_processed"])

        for path in ("/ui/jobs", "/ui/jobs?status=accepted", "/ui/jobs?status=stored"):
            before = commands()
            await page.goto(path)
            await expect(page.locator("tbody tr").nth(0)).to_be_visible()
            assert commands() - before < COMMANDS, path
    await page.goto("/ui/jobs")
    await expect(page.locator("tbody tr")).to_have_count(50)
    first = await page.locator("tbody tr").nth(0).inner_text()
    for _ in range(3):
        await page.get_by_role("link", name="Next page").click()
        await expect(page.locator("tbody tr")).to_have_count(50)
        await expect(page.get_by_text(first.split()[0])).to_have_count(0)
    await page.get_by_role("link", name="First page").click()
    await expect(page.get_by_text(first.split()[0])).to_be_visible()
