"""Drivers in the browser: how they stand, and the buttons that bring one out and back, on a running service."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.browser.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")


def panel(page: Page, driver: str) -> Locator:
    return page.locator(f"#{driver}")


async def test_drivers_are_shown_with_their_sources(page: Page) -> None:
    await page.goto("/ui/drivers")
    for driver in ("redis", "sqlite"):
        await expect(panel(page, driver)).to_contain_text("serving")
        await expect(panel(page, driver)).to_contain_text("closed")
    await expect(panel(page, "redis").locator("tbody tr")).to_have_count(2)
    await expect(panel(page, "sqlite").locator("tbody tr")).to_have_count(1)
    await look(page, "drivers", dark=True)


async def test_full_sync_is_asked_for_and_followed_to_its_end(
    page: Page, remember: Remember
) -> None:
    remember([{"text": f"compared {number}"} for number in range(20)])
    await page.goto("/ui/drivers")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await panel(page, "sqlite").get_by_role("button", name="Full sync…").press("Enter")
    dialog = page.get_by_role("dialog", name="Compare every record of sqlite?")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await panel(page, "sqlite").get_by_role("button", name="Full sync…").press("Enter")
    await dialog.get_by_role("button", name="Compare all").press("Enter")
    await expect(page.get_by_text("The sync has been asked for")).to_be_visible()
    await expect(panel(page, "sqlite")).to_contain_text("in sync")
    await expect(panel(page, "sqlite")).to_contain_text("No driver differed in 20 memories.")


async def test_dialog_stays_open_while_the_page_behind_it_changes(
    page: Page, http: httpx.Client
) -> None:
    await page.goto("/ui/drivers")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await panel(page, "redis").get_by_role("button", name="Detach…").click()
    dialog = page.get_by_role("dialog", name="Detach redis?")
    await dialog.get_by_role("button", name="Cancel").focus()
    http.post("/v1/drivers/redis/sync", json={})
    await expect(panel(page, "redis")).to_contain_text("in sync")
    await expect(dialog).to_be_visible()
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()


async def test_driver_is_detached_and_brought_back_with_what_it_missed(
    page: Page, http: httpx.Client, remember: Remember
) -> None:
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Detach…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Detach").click()
    await expect(panel(page, "sqlite")).to_contain_text("held by an operator")
    job = remember([{"text": f"missed {number}"} for number in range(5)])
    assert job["counts"]["sqlite"]["needs_sync"] == 5
    await page.goto(f"/ui/jobs/{job['id']}")
    await expect(page.locator(".lane").nth(1)).to_contain_text("5 left to sync")
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Bring back").click()
    await expect(panel(page, "sqlite")).to_contain_text("serving")
    assert http.get(f"/v1/jobs/{job['id']}").json()["status"] == "stored"


async def test_driver_that_is_retired_can_join_again(page: Page, http: httpx.Client) -> None:
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Retire…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    await expect(panel(page, "sqlite")).to_contain_text("retired")
    assert http.get("/v1/sources/default").json()["drivers"] == [{"name": "redis", "type": "redis"}]
    await panel(page, "sqlite").get_by_role("button", name="Join…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Join").click()
    await expect(panel(page, "sqlite").locator("tbody")).to_contain_text("whole")


async def test_last_driver_that_has_everything_cannot_be_retired(page: Page, watch: Watch) -> None:
    watch.expected.add(409)
    await page.goto("/ui/drivers")
    row = panel(page, "redis").get_by_role("row").filter(has_text="plain")
    await row.get_by_role("button", name="Retire…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    await expect(page.get_by_role("heading", name="Conflict")).to_be_visible()
    await expect(page.get_by_text("no other driver of plain has everything")).to_be_visible()
