"""Pages that change while one looks at them, without being loaded again."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.browser.watch import Watch
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")


def tile(page: Page, label: str) -> Locator:
    return page.locator(".tile").filter(has=page.get_by_text(label, exact=True))


async def live(page: Page) -> None:
    """Wait until the page is, and mark it: a page that is loaded anew has no mark."""
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await page.evaluate("window.stayed = true")


async def test_overview_shows_what_comes_in_as_it_does(page: Page, remember: Remember) -> None:
    await page.goto("/")
    await live(page)
    await expect(page.get_by_text("Nothing was accepted in the last hour.")).to_be_visible()
    remember([{"text": f"shown as it comes {number}"} for number in range(30)])
    await expect(tile(page, "Accepted")).to_contain_text("30 in the last hour")
    await expect(tile(page, "Stored")).to_contain_text("30 in the last hour")
    await expect(tile(page, "Time to searchable")).to_contain_text("95% within")
    await expect(page.locator(".graph .bars")).to_have_count(1)
    assert await page.evaluate("window.stayed")


async def test_page_says_when_it_is_not_live_and_finds_back(
    page: Page, service: Service, watch: Watch
) -> None:
    await page.goto("/")
    await live(page)
    service.stop_api()
    await expect(page.locator("[data-live]")).to_have_text("Reconnecting")
    service.start_api()
    await expect(page.locator("[data-live]")).to_have_text("Live")
    assert await page.evaluate("window.stayed")
    gone = ("ERR_CONNECTION_REFUSED", "htmx:sse:error")
    assert all(any(reason in fault for reason in gone) for fault in watch.faults), watch.faults
    watch.faults.clear()


async def test_job_shows_where_its_time_went_in_every_driver(
    page: Page, remember: Remember
) -> None:
    job = remember([{"text": f"timed {number}"} for number in range(100)])
    await page.goto(f"/ui/jobs/{job['id']}")
    await expect(page.locator("[data-live]")).to_have_text("Ended")
    lanes = page.locator(".lane")
    for lane, driver in ((lanes.nth(0), "redis"), (lanes.nth(1), "sqlite")):
        await expect(lane.get_by_role("heading", name=driver)).to_be_visible()
        await expect(lane).to_contain_text("100 of 100 stored")
        await expect(lane).to_contain_text("embedded in")
        await expect(lane.locator(".time rect.accent")).to_have_count(1)
    await look(page, "job-stored", dark=True)


async def test_job_is_followed_until_it_has_ended(
    page: Page, service: Service, http: httpx.Client
) -> None:
    service.stop_worker()
    try:
        id = add(http, ["waits for a worker", "and another"])
        await page.goto(f"/ui/jobs/{id}")
        await live(page)
        await expect(page.locator(".badge").get_by_text("accepted")).to_be_visible()
        await expect(page.locator(".lane .time rect.mute")).to_have_count(2)
    finally:
        service.start_worker()
    await expect(page.locator("[data-live]")).to_have_text("Ended")
    await expect(page.locator(".badge").get_by_text("stored")).to_be_visible()
    assert await page.evaluate("window.stayed")


async def test_jobs_are_listed_by_status(page: Page, remember: Remember) -> None:
    job = remember([{"text": "listed by status"}])
    await page.goto("/ui/jobs")
    await page.get_by_role("link", name="Stored", exact=True).click()
    await expect(page.locator("tbody tr").first).to_contain_text(job["id"])
    await page.get_by_role("link", name="Canceled").click()
    await expect(page.get_by_text("No job is canceled")).to_be_visible()
    await page.get_by_role("link", name="All").click()
    await expect(page.locator("tbody tr").first).to_contain_text(job["id"])


async def test_dialog_stays_open_while_the_page_behind_it_changes(
    page: Page, http: httpx.Client
) -> None:
    await page.goto("/ui/drivers")
    await live(page)
    await expect(page.locator("#redis")).to_contain_text("never")
    await page.locator("#redis").get_by_role("button", name="Detach…").click()
    cancel = page.get_by_role("dialog", name="Detach redis?").get_by_role("button", name="Cancel")
    await cancel.focus()
    ask_sync(http, "redis")
    await expect(page.locator("#redis")).to_contain_text("in sync")
    await expect(cancel).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(cancel).to_be_hidden()


def add(http: httpx.Client, texts: list[str]) -> str:
    """The job's id; nobody waits for it."""
    answer = http.post("/v1/memories", json={"memories": [{"text": text} for text in texts]})
    id: str = answer.json()["job"]["id"]
    return id


def ask_sync(http: httpx.Client, driver: str) -> None:
    assert http.post(f"/v1/drivers/{driver}/sync", json={}).status_code == 202
