"""Whatever people and servers put into texts is shown as text on every page, and does nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import apsw
import pytest
import redis
from playwright.async_api import Page, expect

from backends.journal.journal import PREFIX
from tests.browser.conftest import SOURCES, Remember
from tests.browser.hostile import VECTORS
from tests.browser.look import look
from tests.browser.watch import Watch
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORD = "wombat"
TOGETHER = 6
HANDFULS = [VECTORS[at : at + 9] for at in range(0, len(VECTORS), 9)]
BEGOTTEN = """() => [...document.querySelectorAll("body *")].filter((element) =>
  ["SCRIPT", "IFRAME", "OBJECT", "EMBED", "STYLE", "BASE", "META", "LINK", "VIDEO", "MATH"].includes(
    element.tagName.toUpperCase()) ||
  [...element.attributes].some(({ name, value }) =>
    name.startsWith("on") || name.startsWith("hx-on") || /^\\s*javascript:/i.test(value) &&
    ["href", "src", "action", "formaction", "data"].includes(name))
).map((element) => element.outerHTML.slice(0, 200))"""
"""What our pages never have in their bodies; whatever of it is there came out of a text."""


@pytest.fixture(scope="module")
def sources() -> dict[str, Any]:
    named = {
        f"s{number}": {"drivers": ["redis"], "description": " ".join(some)}
        for number, some in enumerate(HANDFULS)
    }
    return SOURCES | named


@pytest.fixture(scope="module")
def stored(remember: Remember) -> list[dict[str, Any]]:
    """A memory for each vector, which stands in every field that a memory has."""
    memories = [
        {
            "id": vector,
            "text": f"{WORD} {vector}",
            "user_id": vector,
            "session_id": vector,
            "tags": [vector],
            "metadata": {vector: [vector, {"deep": vector}]},
        }
        for vector in VECTORS
    ]
    assert remember(memories)["status"] == "stored"
    return memories


@pytest.fixture(scope="module")
def died(service: Service, remember: Remember, stored: list[dict[str, Any]]) -> str:
    """The same memories, refused with an error that is the vector too; the id of a job of them."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    for number, vector in enumerate(VECTORS):
        error = vector.replace("'", "''")
        file.execute(
            f"CREATE TRIGGER refuse{number} BEFORE INSERT ON memories WHEN NEW.id = '{error} (dead)' "
            f"BEGIN SELECT RAISE(ABORT, '{error}'); END"
        )
    for at in range(0, len(stored), TOGETHER):
        again = [memory | {"id": f"{memory['id']} (dead)"} for memory in stored[at : at + TOGETHER]]
        job = remember(again)
        assert job["status"] == "partial"
    file.close()
    with redis.Redis.from_url(service.env["MEMRELAY_JOURNAL_URL"]) as journal:
        journal.hset(f"{PREFIX}alarms", mapping={"sqlite": " ".join(VECTORS)})
    id = job["id"]
    assert isinstance(id, str)
    return id


async def assert_inert(page: Page, *texts: str) -> None:
    """All of the texts are there to be read, and nothing has come of them."""
    assert await page.evaluate(BEGOTTEN) == []
    seen = " ".join((await page.locator("main").inner_text()).split())
    missing = [text for text in texts if " ".join(text.split()) not in seen]
    assert missing == []


async def test_hits_are_text(page: Page, stored: list[dict[str, Any]]) -> None:
    for vectors in (VECTORS[:22], VECTORS[22:]):
        chosen = json.dumps({"id": {"$in": vectors}})
        query = urlencode({"query": WORD, "top_k": 50, "filter": chosen})
        await page.goto(f"/ui/search?{query}")
        await expect(page.locator(".answer").nth(2).locator(".hit")).to_have_count(len(vectors))
        await page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        await assert_inert(page, *(f"{WORD} {vector}" for vector in vectors))
        await assert_inert(
            page, *vectors, *(f'"deep": {json.dumps(v, ensure_ascii=False)}' for v in vectors)
        )


async def test_words_of_the_query_are_text_where_they_are_marked(
    page: Page, stored: list[dict[str, Any]]
) -> None:
    for some in HANDFULS:
        asked = " ".join(some)
        query = urlencode({"query": asked, "top_k": 50, "mode": "semantic"})
        await page.goto(f"/ui/search?{query}")
        assert await page.get_by_label("Query").input_value() == asked
        await expect(page.locator("mark").first).to_be_visible()
        await assert_inert(page, *(f"{WORD} {vector}" for vector in VECTORS))


async def test_descriptions_of_sources_are_text(page: Page) -> None:
    for number, some in enumerate(HANDFULS):
        await page.goto(f"/ui/search?source=s{number}")
        await assert_inert(page, *some)


async def test_dead_letters_and_their_causes_are_text(page: Page, died: str) -> None:
    address: str | None = "/ui/dead-letters"
    seen = 0
    while address:
        await page.goto(address)
        await page.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        here = [
            id.removesuffix(" (dead)") for id in await page.locator(".top code").all_inner_texts()
        ]
        await assert_inert(page, *here, *(f"ConstraintError: {vector}" for vector in here))
        seen += len(here)
        further = page.get_by_role("link", name="Next page")
        address = await further.get_attribute("href") if await further.count() else None
    assert seen == len(VECTORS)
    await assert_inert(page, " ".join(VECTORS))
    await look(page)


async def test_job_with_its_failures_and_the_alarm_are_text(page: Page, died: str) -> None:
    await page.goto(f"/ui/jobs/{died}")
    await expect(page.get_by_text("ConstraintError").first).to_be_visible()
    await assert_inert(page, f"{VECTORS[-1]} (dead)", f"ConstraintError: {VECTORS[-1]}")
    for path in ("/", "/ui/drivers"):
        await page.goto(path)
        await expect(page.locator("[data-live=on]")).to_have_text("Live")
        await assert_inert(page, " ".join(VECTORS))


async def test_what_is_asked_for_is_text_if_it_is_said_again(page: Page, watch: Watch) -> None:
    watch.expected |= {404, 422}
    for vector in VECTORS[::8]:
        said = quote(vector, safe="")
        for path in (
            f"/ui/dead-letters?code={said}&did={said}&count={said}&job={said}",
            f"/ui/search?query={WORD}&filter={said}&mode={said}&top_k={said}&source={said}",
            f"/ui/jobs?cursor={said}",
            f"/ui/jobs/{said}",
            f"/ui/{said}",
        ):
            await page.goto(path)
            await assert_inert(page)
