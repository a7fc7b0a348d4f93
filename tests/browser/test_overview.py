"""The overview in the browser: it shows what happens while it happens, and finds its way back."""

from __future__ import annotations

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
    await expect(page.locator("[data-live]")).to_have_text("Live")


async def test_new_service_says_that_nothing_happened_yet(page: Page) -> None:
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(tile(page, "Accepted")).to_contain_text("0 in the last hour")
    await expect(page.get_by_text("Nothing was accepted in the last hour.")).to_be_visible()


async def test_overview_shows_what_comes_in_as_it_does(page: Page, remember: Remember) -> None:
    await page.goto("/")
    await live(page)
    await page.evaluate("window.stayed = true")
    remember([{"text": f"shown as it comes {number}"} for number in range(30)])
    await expect(tile(page, "Accepted")).to_contain_text("30 in the last hour")
    await expect(tile(page, "Stored")).to_contain_text("30 in the last hour")
    await expect(tile(page, "Time to searchable")).to_contain_text("95% within")
    await expect(page.locator(".graph .bars")).to_have_count(1)
    assert await page.evaluate("window.stayed")
    await look(page, "overview", dark=True)


async def test_overview_shows_drivers_and_workers(page: Page) -> None:
    await page.goto("/")
    for driver in ("redis", "sqlite"):
        row = page.get_by_role("row").filter(has_text=driver)
        await expect(row.get_by_text("serving")).to_be_visible()
    await expect(page.get_by_text("2 alive")).to_be_visible()


async def test_page_says_when_it_is_not_live_and_finds_back(
    page: Page, service: Service, watch: Watch
) -> None:
    await page.goto("/")
    await live(page)
    service.stop_api()
    await expect(page.locator("[data-live]")).to_have_text("Reconnecting")
    service.start_api()
    await live(page)
    refused = [fault for fault in watch.faults if "ERR_CONNECTION_REFUSED" in fault]
    assert refused, "the browser tried meanwhile"
    watch.faults = [fault for fault in watch.faults if fault not in refused]


async def test_page_can_be_used_by_keyboard(page: Page) -> None:
    await page.goto("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.get_by_role("link", name="Overview").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Jobs", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    await expect(page.locator("nav [aria-current=page]")).to_have_text("Jobs")


async def test_page_that_is_not_there_says_so(page: Page, watch: Watch) -> None:
    watch.expected.add(404)
    await page.goto("/ui/nothing")
    await expect(page.get_by_role("heading", name="Not Found")).to_be_visible()
    await look(page, "error")
    await page.get_by_role("link", name="To the overview").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
