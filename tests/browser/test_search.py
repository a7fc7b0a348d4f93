"""The search playground: the service's answer and that of each driver, side by side."""

from __future__ import annotations

from urllib.parse import quote

import apsw
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.browser.watch import Watch
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEMORIES = [
    {"id": "seat", "text": "Ana prefers a window seat on every flight.", "user_id": "ana"},
    {"id": "aisle", "text": "Ben likes to stretch his legs: an aisle seat.", "user_id": "ben"},
    {"id": "nuts", "text": "Ana is allergic to peanuts.", "user_id": "ana", "tags": ["health"]},
    {"id": "tea", "text": "In the morning Ana drinks green tea.", "user_id": "ana"},
    {"id": "dog", "text": "Ben walks his dog along the canal.", "user_id": "ben"},
]


@pytest.fixture(scope="module", autouse=True)
def _memories(remember: Remember) -> None:
    metadata = {"category": "preference", "heard": {"where": "airport"}}
    job = remember([memory | {"metadata": metadata} for memory in MEMORIES])
    assert job["status"] == "stored"


def answer_of(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


async def search(page: Page, **fields: str) -> None:
    """Fill in the form, as it is, and send it."""
    for label, value in fields.items():
        field = page.get_by_label(label.replace("_", " "))
        if await field.evaluate("field => field.tagName") == "SELECT":
            await field.select_option(value)
        else:
            await field.fill(value)
    await page.get_by_role("button", name="Search").click()


async def test_service_and_its_drivers_answer_side_by_side(page: Page) -> None:
    await page.goto("/ui/search")
    await expect(page.get_by_text("Ask something")).to_be_visible()
    await search(page, Query="window seat")
    columns = page.locator(".answer")
    await expect(columns).to_have_count(3)
    await expect(columns.locator("h2")).to_have_text(["Service", "redis", "sqlite"])
    service = answer_of(page, "The service")
    await expect(service).to_contain_text("Served by redis and sqlite")
    await expect(service.locator(".hit").first).to_contain_text("prefers a window seat")
    await expect(service.locator(".hit").first.locator("mark")).to_have_text(["window", "seat"])
    await expect(service.locator(".hit .tag", has_text="health")).to_have_count(1)
    await expect(answer_of(page, "Driver redis").locator(".head .tag")).to_have_text("semantic")
    await expect(answer_of(page, "Driver sqlite").locator(".head .tag")).to_have_text("hybrid")
    await look(page, "search", dark=True)


async def test_bars_are_as_long_as_scores_are_high(page: Page) -> None:
    await page.goto("/ui/search?query=window+seat&mode=semantic")
    for name in ("The service", "Driver redis", "Driver sqlite"):
        hits = answer_of(page, name).locator(".hit")
        bars = await hits.locator("rect").evaluate_all(
            "all => all.map(it => it.width.baseVal.value)"
        )
        scores = [float(text) for text in await hits.locator(".score .mono").all_inner_texts()]
        assert len(scores) == len(MEMORIES)
        assert scores == sorted(scores, reverse=True)
        assert bars == pytest.approx([max(0, 100 * score) for score in scores], abs=0.06)


async def test_hits_that_stand_elsewhere_than_in_the_services_answer_are_marked(page: Page) -> None:
    await page.goto("/ui/search?query=the+canal+and+peanuts+in+the+morning&top_k=3")
    told = list(await ranks(answer_of(page, "The service")))
    by_vectors = await ranks(answer_of(page, "Driver redis"))
    expected = {}
    for place, id in enumerate(by_vectors):
        there = told.index(id) if id in told else None
        if there is None:
            expected[id] = "only here"
        elif there == place:
            expected[id] = ""
        else:
            expected[id] = f"{'▲' if there > place else '▼'} {abs(there - place)}"
    assert by_vectors == expected
    assert any(expected.values()), "they agree: the test shows nothing"
    assert set((await ranks(answer_of(page, "Driver sqlite"))).values()) == {""}


async def ranks(answer: Locator) -> dict[str, str]:
    """The mark of each hit of an answer, by id, in its order."""
    found = {}
    for hit in await answer.locator(".hit").all():
        marks = await hit.locator(".moved").all_inner_texts()
        found[await hit.locator(".about code").inner_text()] = "".join(marks)
    return found


async def test_user_filter_and_number_of_hits_are_obeyed(page: Page) -> None:
    await page.goto("/ui/search")
    await search(
        page, Query="seat", User="ana", Hits="2", Filter='{"tags": {"$contains": "health"}}'
    )
    for name in ("The service", "Driver redis", "Driver sqlite"):
        await expect(answer_of(page, name).locator(".about code")).to_have_text(["nuts"])
    await search(page, Filter="", Mode="semantic")
    await expect(answer_of(page, "Driver redis").locator(".hit")).to_have_count(2)
    assert await page.get_by_label("User").input_value() == "ana"
    assert "mode=semantic" in page.url


async def test_another_source_has_other_drivers_and_they_are_chosen_one_by_one(page: Page) -> None:
    await page.goto("/ui/search")
    await page.get_by_label("Source").select_option("plain")
    await expect(page.get_by_role("group", name="Drivers").get_by_role("checkbox")).to_have_count(1)
    await search(page, Query="seat")
    await expect(answer_of(page, "Driver redis")).to_contain_text("Nothing found")
    await search(page, Source="default")
    await page.get_by_role("checkbox", name="sqlite").uncheck()
    await search(page, Query="seat")
    await expect(page.locator(".answer h2")).to_have_text(["Service", "redis"])


FILTERS = {
    '{"tags":': "The filter is not JSON: Expecting value at line 1, column 9.",
    '{"metadata.mood": {"$gt": 3}}': "metadata.mood/$gt: $gt needs a field that the source declares",
    "[1]": "Input should be",
}


@pytest.mark.parametrize("filter", FILTERS)
async def test_filter_that_is_wrong_is_said_beside_it(
    page: Page, watch: Watch, filter: str
) -> None:
    watch.expected.add(422)
    await page.goto(f"/ui/search?query=seat&filter={quote(filter)}")
    field = page.get_by_label("Filter")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(page.locator(".wrong")).to_contain_text(FILTERS[filter])
    await expect(page.locator(".answer")).to_have_count(0)
    assert await field.input_value() == filter
    await search(page, Filter="")
    await expect(answer_of(page, "The service").locator(".hit").first).to_be_visible()


async def test_driver_that_cannot_answer_says_so_in_its_column(page: Page) -> None:
    await page.goto("/ui/search?query=seat&mode=keyword")
    await expect(answer_of(page, "Driver redis")).to_contain_text(
        "no driver of this source can search by keyword"
    )
    await expect(answer_of(page, "Driver sqlite").locator(".hit").first).to_contain_text("seat")
    await expect(answer_of(page, "The service")).to_contain_text("Served by sqlite")


async def test_broken_replica_is_told_in_its_column_and_the_service_falls_back(
    page: Page, service: Service
) -> None:
    """The table is away for a moment, as it would be from a damaged file."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute("ALTER TABLE memories RENAME TO away")
    try:
        await page.goto("/ui/search?query=seat&mode=semantic")
        await expect(answer_of(page, "Driver sqlite")).to_contain_text("no such table")
        await expect(answer_of(page, "The service").locator(".hit").first).to_be_visible()
        await look(page, "search-broken-driver")
    finally:
        file.execute("ALTER TABLE away RENAME TO memories")
        file.close()
    await page.reload()
    await expect(answer_of(page, "Driver sqlite").locator(".hit").first).to_be_visible()
