"""Without a mouse: everything is reached by the tab key, is seen to be, and does what it says."""

from __future__ import annotations

import apsw
import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Remember
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

FOCUS = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const said = element.getAttribute("aria-label") || element.labels?.[0]?.innerText || element.innerText;
  return { name: said.trim().split("\\n")[0],
           seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1 };
}"""
FAR = 60
"""Stops after which what is looked for is not there."""
ENTRIES = ["Overview", "Jobs", "Search", "Drivers", "Dead letters", "Keys & usage"]


async def tab(page: Page) -> str:
    """Go to the next stop; its name."""
    await page.keyboard.press("Tab")
    focus = await page.evaluate(FOCUS)
    assert focus["seen"], f"nobody sees that {focus['name']!r} has the focus"
    name = focus["name"]
    assert isinstance(name, str)
    return name


async def tab_to(page: Page, name: str) -> list[str]:
    """Go on until ``name`` has the focus; the stops, that one included."""
    stops: list[str] = []
    while not stops or stops[-1] != name:
        stops.append(await tab(page))
        assert len(stops) < FAR, f"no {name!r} among {stops}"
    return stops


async def test_first_stop_leads_past_the_navigation(page: Page) -> None:
    await page.goto("/ui/search")
    assert await tab(page) == "Skip to content"
    await page.keyboard.press("Enter")
    assert await tab(page) == "Query"


async def test_stops_come_in_the_order_in_which_one_reads(page: Page) -> None:
    await page.goto("/ui/search")
    stops = await tab_to(page, "API reference")
    assert stops == [
        *("Skip to content", "memrelay", *ENTRIES),
        *("Query", "Source", "User optional", "Mode", "Hits", "Filter JSON, optional"),
        *("redis", "sqlite", "Search", "API reference"),
    ]


async def test_search_without_a_mouse(page: Page, remember: Remember) -> None:
    remember([{"text": "Ana prefers a window seat.", "metadata": {"heard": "at the airport"}}])
    await page.goto("/")
    await tab_to(page, "Search")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Search")
    await tab_to(page, "Query")
    await page.keyboard.type("window seat")
    await tab_to(page, "sqlite")
    await page.keyboard.press("Space")
    await page.keyboard.press("Enter")
    await expect(page.locator(".answer h2")).to_have_text(["Service", "redis"])
    await tab_to(page, "Metadata")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("at the airport").first).to_be_visible()


async def test_dead_letter_is_replayed_without_a_mouse(
    page: Page, remember: Remember, service: Service
) -> None:
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON memories WHEN NEW.id = 'm-1' "
        "BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    job = remember([{"id": "m-1", "text": "Ben prefers an aisle seat."}])
    assert job["status"] == "partial"
    file.execute("DROP TRIGGER refuse")
    file.close()
    await page.goto("/ui/dead-letters")
    await tab_to(page, "Choose m-1")
    await page.keyboard.press("Space")
    await page.keyboard.press("Shift+Tab")
    while (await page.evaluate(FOCUS))["name"] != "Replay chosen":
        await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Replay the chosen letters?")
    await expect(dialog).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert (await page.evaluate(FOCUS))["name"] == "Replay chosen"
    await page.keyboard.press("Enter")
    assert await tab(page) == "Replay"
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("1 on their road again.")).to_be_visible()
    await expect(page.get_by_text("No dead letters")).to_be_visible()
