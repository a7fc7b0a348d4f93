"""Drivers taken out and brought back by the buttons of their page, on a running service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Remember
from tests.browser.watch import Watch
from tests.rig import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def panel(page: Page, driver: str) -> Locator:
    return page.locator(f"#{driver}")


async def answer(page: Page, button: str) -> None:
    """Press it in the dialog that is open."""
    await page.get_by_role("dialog").get_by_role("button", name=button, exact=True).press("Enter")


def got(http: httpx.Client, path: str) -> Any:
    return http.get(path).json()


async def test_driver_is_detached_and_brought_back_with_what_it_missed(
    page: Page, http: httpx.Client, remember: Remember
) -> None:
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Detach…").click()
    await answer(page, "Detach")
    await expect(page.get_by_role("status")).to_contain_text("The driver is detached.")
    await expect(panel(page, "sqlite")).to_contain_text("held by an operator")
    job = remember([{"text": f"missed {number}"} for number in range(5)])
    assert job["counts"]["sqlite"]["needs_sync"] == 5
    await page.goto(f"/ui/jobs/{job['id']}")
    await expect(page.locator(".lane").nth(1)).to_contain_text("5 left to sync")
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Bring back").click()
    await expect(panel(page, "sqlite")).to_contain_text("serving")
    wait_until(
        "its job to say so", lambda: got(http, f"/v1/jobs/{job['id']}")["status"] == "stored", 60
    )


async def test_full_sync_compares_every_record(page: Page) -> None:
    await page.goto("/ui/drivers")
    await panel(page, "redis").get_by_role("button", name="Full sync…").click()
    await answer(page, "Compare all")
    await expect(page.get_by_role("status")).to_contain_text("The sync has been asked for")
    await expect(panel(page, "redis")).to_contain_text("Full sync")
    await expect(panel(page, "redis")).to_contain_text("No driver differed in 5 memories.")


async def test_driver_that_is_retired_can_join_again(page: Page, http: httpx.Client) -> None:
    await page.goto("/ui/drivers")
    await panel(page, "sqlite").get_by_role("button", name="Retire…").click()
    await answer(page, "Retire")
    standing = panel(page, "sqlite").locator("[data-label=Standing]")
    await expect(standing).to_have_text("retired")
    assert [it["name"] for it in got(http, "/v1/sources/default")["drivers"]] == ["redis"]
    await panel(page, "sqlite").get_by_role("button", name="Join…").click()
    await answer(page, "Join")
    await expect(standing).to_have_text("whole")


async def test_last_driver_that_has_everything_cannot_be_retired(page: Page, watch: Watch) -> None:
    watch.expected.add(409)
    await page.goto("/ui/drivers")
    row = panel(page, "redis").get_by_role("row").filter(has_text="plain")
    await row.get_by_role("button", name="Retire…").click()
    await answer(page, "Retire")
    await expect(page.get_by_role("heading", name="Conflict")).to_be_visible()
    await expect(page.get_by_text("other driver of plain has everything")).to_be_visible()
