"""Every page opens without a fault, at a desk and on a phone, and tells what is there."""

from __future__ import annotations

import re
from typing import Any, Literal

import apsw
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.browser.watch import Watch
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSE = """
CREATE TRIGGER refuse BEFORE INSERT ON memories WHEN NEW.id LIKE 'refused%'
BEGIN SELECT RAISE(ABORT, 'no room for this row'); END
"""
PAGES = {
    "/": "Overview",
    "/ui/jobs": "Jobs",
    "/ui/search": "Search",
    "/ui/drivers": "Drivers",
    "/ui/dead-letters": "Dead letters",
    "/ui/keys": "Keys & usage",
}


@pytest.fixture(scope="module")
def job(service: Service, remember: Remember) -> dict[str, Any]:
    """Of a mixed fate: the replica has refused some of its memories."""
    for number in range(12):
        remember(
            [{"text": f"Ana said {word}"} for word in ("yes", "no", "maybe")[: 1 + number % 3]]
        )
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute(REFUSE)
    memories = [{"id": f"refused {n}", "text": "Ben prefers an aisle seat."} for n in range(4)]
    found = remember([*memories, *({"text": f"Ben said {n}"} for n in range(60))])
    file.execute("DROP TRIGGER refuse")
    file.close()
    assert found["status"] == "partial"
    return found


async def test_pages_are_reached_from_one_another(page: Page, job: dict[str, Any]) -> None:
    await page.goto("/")
    for path, label in PAGES.items():
        await page.get_by_role("navigation", name="Main").get_by_role("link", name=label).click()
        await page.wait_for_url(f"**{path}")
        await expect(page.get_by_role("heading", level=1)).to_have_text(label)
        current = page.locator("nav [aria-current=page]")
        await expect(current).to_have_text(label)
        await expect(page).to_have_title(f"{label} · memrelay")


async def test_overview_says_what_comes_in_what_waits_and_what_is_wrong(
    page: Page, job: dict[str, Any]
) -> None:
    await page.goto("/")
    await expect(page.locator("[data-live=on]")).to_have_text("Live")
    await expect(page.get_by_role("link", name="sqlite")).to_be_visible()
    await expect(page.get_by_role("link", name="permanent")).to_be_visible()
    await expect(page.get_by_text(re.compile(r"^\d alive$"))).to_be_visible()
    await look(page, "overview", dark=True)


async def test_jobs_are_listed_and_one_is_looked_into(page: Page, job: dict[str, Any]) -> None:
    await page.goto("/ui/jobs")
    await expect(page.locator("tbody tr")).to_have_count(13)
    await look(page, "jobs")
    await page.get_by_role("link", name=job["id"]).click()
    await expect(page.locator(".badge").get_by_text("4 failed")).to_be_visible()
    await expect(page.get_by_text("refused 3")).to_be_visible()
    await expect(page.get_by_text("no room for this row").first).to_be_visible()
    await look(page, "job")
    await page.get_by_role("link", name="permanent").first.click()
    await expect(page.locator(".letter")).to_have_count(4)


async def test_driver_is_synced_and_what_differed_is_told(
    page: Page, job: dict[str, Any], service: Service
) -> None:
    """A row that the replica lost, as of a damaged file."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute("DELETE FROM memories WHERE row = (SELECT max(row) FROM memories)")
    file.close()
    await page.goto("/ui/drivers")
    driver = page.locator("#sqlite")
    await expect(driver).to_contain_text("never")
    await driver.get_by_role("button", name="Sync", exact=True).click()
    await expect(driver.get_by_text("in sync").first).to_be_visible()
    await expect(driver.get_by_text("What differed:")).to_be_visible()
    await look(page, "drivers")
    await driver.get_by_role("button", name="Full sync…").click()
    question = page.get_by_role("dialog", name="Compare every record of sqlite?")
    await expect(question).to_be_visible()
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_be_hidden()


async def test_what_is_not_there_is_a_page_too(page: Page, watch: Watch) -> None:
    watch.expected.add(404)
    await page.goto("/ui/nowhere")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not Found")
    await page.get_by_role("link", name="To the overview").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


async def test_login_says_that_no_key_is_needed_yet(page: Page) -> None:
    await page.goto("/ui/login")
    await expect(page.get_by_text("There is no API key yet")).to_be_visible()
    await look(page, "login")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_reference_shows_every_route_and_calls_it_without_another_host(
    page: Page, scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.goto("/")
    await page.get_by_role("link", name="API reference").click()
    described = await (await page.request.get("/openapi.json")).json()
    routes = sum(len(methods) for methods in described["paths"].values())
    await expect(page.locator(".opblock")).to_have_count(routes)
    await expect(page.get_by_role("button", name="Authorize")).to_be_visible()
    usage = page.locator(".opblock", has=page.locator("[data-path='/v1/usage']"))
    await usage.get_by_role("button").first.click()
    await usage.get_by_role("button", name="Try it out").click()
    await usage.get_by_role("button", name="Execute").click()
    status = usage.locator(".live-responses-table .response-col_status")
    await expect(status.last).to_contain_text("200")
    await look(page)
