"""100,000 jobs: pages stay as small as with ten."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from backends.journal import Entered, Journal, Put, Unit, encode_write
from memrelay.batching import pack
from tests.browser.look import look
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

JOBS = 100_000
AT_ONCE = 5_000
LARGEST = 64 * 1024
"""Bytes of a page, whatever there is to be listed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _jobs(service: Service) -> None:
    """As group commit enters them when so many write at a time; no worker takes them up."""
    service.stop_worker()
    write = encode_write(Put("m", "Ana said so.", None, None, (), {}, 1, None, None))
    journal = Journal(service.env["MEMRELAY_JOURNAL_URL"])
    for _ in range(JOBS // AT_ONCE):
        unit = Unit(
            namespace="default",
            source="default",
            queue="deliver.bulk",
            drivers=["redis", "sqlite"],
            drafts=pack([([write], (), ())] * AT_ONCE),
        )
        [answer] = await journal.append([unit])
        assert isinstance(answer, Entered)
    await journal.close()


async def test_jobs_come_in_pages_of_bounded_size(page: Page) -> None:
    answer = await page.goto("/ui/jobs")
    seen: list[str] = []
    for _ in range(3):
        assert answer is not None
        assert len(await answer.body()) < LARGEST
        ids = await page.locator("tbody .title").all_inner_texts()
        assert len(ids) == 50
        seen += ids
        async with page.expect_response("**/ui/jobs?cursor=*") as response:
            await page.get_by_role("link", name="Next page").click()
        answer = await response.value
        await expect(page.get_by_role("link", name="First page")).to_be_visible()
    assert len(set(seen)) == len(seen)
    await look(page)


async def test_each_of_them_is_found_by_its_id(page: Page) -> None:
    await page.goto("/ui/jobs")
    await page.locator("tbody .title a").nth(49).click()
    await expect(page.get_by_text("accepted").first).to_be_visible()


async def test_overview_tells_how_many_wait(page: Page) -> None:
    answer = await page.goto("/")
    assert answer is not None
    assert len(await answer.body()) < LARGEST
    tile = page.locator(".tile").filter(has_text="Waiting to be stored")
    await expect(tile.locator(".value")).to_have_text("100k")
    await expect(page.get_by_text("No worker is alive")).to_be_visible()
