"""Dead letters in the browser: by cause, looked at, replayed and deleted; of drivers that refuse for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import apsw
import httpx
import pytest
import redis
from playwright.async_api import Locator, Page, expect

from backends.journal.journal import PREFIX
from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.rig import wait_until
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

POISON = "what the replica refuses"
REFUSE = f"""
CREATE TRIGGER refuse BEFORE INSERT ON memories WHEN instr(CAST(NEW.record AS TEXT), '{POISON}')
BEGIN SELECT RAISE(ABORT, 'no room for this row'); END
"""
TOGETHER = 6
"""So few at a time that it does not look like a wrong setting."""

type Kill = Callable[..., list[str]]


@pytest.fixture(scope="module")
def store(service: Service) -> Iterator[Any]:
    with redis.Redis.from_url(service.env["MEMRELAY_DRIVERS__REDIS__URL"]) as store:
        yield store


@pytest.fixture
def kill(service: Service, http: httpx.Client, remember: Remember) -> Iterator[Kill]:
    """Adds memories that ``sqlite`` refuses until ``mend`` is called; their ids. None is left afterwards."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    remember([{"text": f"taken {number}", "user_id": "innocent"} for number in range(40)])
    file.execute(REFUSE)

    def add(count: int, **fields: Any) -> list[str]:
        ids = [uuid4().hex for _ in range(count)]
        for at in range(0, count, TOGETHER):
            some = ids[at : at + TOGETHER]
            memories = [{"id": id, "text": f"{POISON}: {id}"} | fields for id in some]
            assert remember(memories)["counts"]["sqlite"]["failed"] == len(some)
        return ids

    yield add
    file.execute("DROP TRIGGER IF EXISTS refuse")
    file.close()
    http.post("/v1/dead-letters/delete", json={"all": True})


def mend(service: Service) -> None:
    """The replica takes everything again."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    file.execute("DROP TRIGGER refuse")
    file.close()


def left(http: httpx.Client) -> dict[str, int]:
    causes: dict[str, int] = http.get("/v1/dead-letters").json()["causes"]
    return causes


def replay(http: httpx.Client, ids: list[str]) -> None:
    answer = http.post("/v1/dead-letters/replay", json={"ids": ids})
    assert answer.json()["replayed"] == len(ids)


def letters(page: Page) -> Locator:
    return page.locator(".letter")


async def confirm(page: Page, button: str, question: str, *, word: str) -> None:
    """Press a button, and say yes to what it asks."""
    await page.get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog", name=question)
    await expect(dialog).to_be_visible()
    await dialog.get_by_role("button", name=word).click()


async def test_nothing_has_died(page: Page) -> None:
    await page.goto("/ui/dead-letters")
    await expect(page.get_by_text("No dead letters")).to_be_visible()
    await expect(page.get_by_role("button", name="Replay all")).to_have_count(0)
    await look(page, "dead-letters-none")


async def test_letter_says_what_died_of_what_where_and_when(page: Page, kill: Kill) -> None:
    more = {"tags": ["travel", "sea"], "metadata": {"category": "plan", "deep": {"er": [1, 2]}}}
    [id] = kill(1, user_id="ana", session_id="s-7", text=f"{POISON} {'and more ' * 100}", **more)
    await page.goto("/ui/dead-letters")
    letter = letters(page)
    await expect(letter).to_have_count(1)
    for told in (id, "sqlite", "store", "1 attempt", "no room for this row", "permanent"):
        await expect(letter).to_contain_text(told)
    assert len(await letter.locator(".text").inner_text()) <= 240
    await letter.get_by_text("Details").click()
    for told in ("ana", "s-7", "travel", "sea", '"er": [', "default", "925 characters"):
        await expect(letter.locator("details")).to_contain_text(told)


async def test_replay_stores_what_had_died_and_the_count_falls_while_one_looks(
    page: Page, kill: Kill, http: httpx.Client, service: Service
) -> None:
    ids = kill(14)
    await page.goto("/ui/dead-letters")
    await expect(page.locator("#total")).to_have_text("14")
    await expect(page.locator("[data-live]")).to_have_text("Live")
    await look(page, "dead-letters")
    mend(service)
    chosen = letters(page).nth(3)
    await chosen.get_by_role("checkbox").check()
    await confirm(page, "Replay chosen", "Replay the chosen letters?", word="Replay")
    await expect(page.get_by_text("1 on their road again.")).to_be_visible()
    await expect(page.locator("#total")).to_have_text("13")
    replay(http, ids[:2])  # somebody else, elsewhere
    await expect(page.locator("#total")).to_have_text("11")
    await page.goto("/ui/dead-letters")
    await confirm(page, "Replay all", "Replay every dead letter?", word="Replay")
    await expect(page.get_by_text("11 on their road again.")).to_be_visible()
    await expect(page.get_by_text("No dead letters")).to_be_visible()
    await page.get_by_role("link", name="Watch the job").click()
    await expect(page.get_by_text("stored", exact=True).first).to_be_visible()
    wait_until("all of them in the replica", lambda: stored_in(service, ids), 60)


def stored_in(service: Service, ids: list[str]) -> bool:
    """Whether the replica has them all."""
    file = apsw.Connection(str(service.directory / "replica.db"))
    marks = ", ".join("?" * len(ids))
    query = f"SELECT count(*) FROM memories WHERE id IN ({marks}) AND record IS NOT NULL"
    count = file.execute(query, ids).get
    file.close()
    return bool(count == len(ids))


async def test_replay_of_what_is_refused_still_brings_it_back(
    page: Page, kill: Kill, http: httpx.Client
) -> None:
    kill(2)
    await page.goto("/ui/dead-letters")
    await confirm(page, "Replay all", "Replay every dead letter?", word="Replay")
    await expect(page.get_by_text("2 on their road again.")).to_be_visible()
    wait_until("them to die again", lambda: left(http) == {"permanent": 2}, 60)
    await expect(page.locator("#total")).to_have_text("2")


async def test_one_cause_is_looked_at_and_replayed_alone(
    page: Page, kill: Kill, http: httpx.Client, store: Any, remember: Remember
) -> None:
    kill(3)
    store.execute_command("ACL SETUSER default -vadd")
    job = remember([{"text": f"not for Redis {number}"} for number in range(2)])
    store.execute_command("ACL SETUSER default +vadd")
    assert {error["driver"] for error in job["errors"]} == {"redis"}
    [code] = {error["code"] for error in job["errors"]}
    await page.goto("/ui/dead-letters")
    await expect(page.locator(".causes tbody tr")).to_have_count(2)
    await look(page, "dead-letters-causes")
    await page.get_by_role("link", name=code).click()
    await expect(letters(page)).to_have_count(2)
    await confirm(
        page,
        "Replay all of this cause",
        f"Replay every letter that died of {code}?",
        word="Replay",
    )
    await expect(page.get_by_text("2 on their road again.")).to_be_visible()
    await expect(page.get_by_text("Nothing has died of this")).to_be_visible()
    wait_until("the others to be left alone", lambda: left(http) == {"permanent": 3}, 60)


async def test_chosen_letters_are_deleted_and_no_others(
    page: Page, kill: Kill, http: httpx.Client
) -> None:
    ids = kill(4)
    await page.goto("/ui/dead-letters")
    for id in ids[1:3]:
        await page.get_by_role("checkbox", name=f"Choose {id}").check()
    await page.get_by_role("button", name="Delete chosen").click()
    question = page.get_by_role("dialog", name="Delete the chosen letters?")
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_be_hidden()
    assert left(http) == {"permanent": 4}
    await confirm(page, "Delete chosen", "Delete the chosen letters?", word="Delete")
    await expect(page.get_by_text("2 deleted.")).to_be_visible()
    assert left(http) == {"permanent": 2}
    await expect(letters(page)).to_have_count(2)
    for id in (ids[0], ids[3]):
        await expect(page.get_by_role("checkbox", name=f"Choose {id}")).to_be_visible()


async def test_letters_come_in_pages(page: Page, kill: Kill) -> None:
    ids = kill(23)
    await page.goto("/ui/dead-letters?code=permanent")
    await expect(letters(page)).to_have_count(20)
    first = await letters(page).locator(".top code").all_inner_texts()
    await page.get_by_role("link", name="Next page").click()
    await expect(letters(page)).to_have_count(3)
    second = await letters(page).locator(".top code").all_inner_texts()
    assert sorted(first + second) == sorted(ids)
    await page.get_by_role("link", name="First page").click()
    await expect(letters(page)).to_have_count(20)


async def test_alarm_is_told_and_ended(page: Page, service: Service) -> None:
    with redis.Redis.from_url(service.env["MEMRELAY_JOURNAL_URL"]) as journal:
        journal.hset(f"{PREFIX}alarms", "sqlite", "no room for this row")
        await page.goto("/ui/dead-letters")
        alarm = page.get_by_role("status").filter(has_text="no room for this row")
        await expect(alarm).to_contain_text("sqlite")
        await alarm.get_by_role("button", name="End the alarm").click()
        await expect(alarm).to_have_count(0)
        assert journal.hgetall(f"{PREFIX}alarms") == {}
