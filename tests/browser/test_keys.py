"""Keys and usage in the browser: the first key closes the service, others are made and revoked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Remember
from tests.browser.look import look
from tests.browser.watch import Watch
from tests.rig import wait_until
from tests.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = "Ana prefers a window seat."
FIRST = "operator"


async def make(page: Page, name: str, *scopes: str, term: str = "Never") -> str:
    """A new key with these scopes; the key itself, as it is shown once."""
    await page.goto("/ui/keys")
    await page.get_by_role("button", name="New key").click()
    form = page.get_by_role("dialog", name="New API key")
    await form.get_by_label("Name").fill(name)
    for box in await form.get_by_role("checkbox").all():
        await box.set_checked(await box.get_attribute("value") in scopes)
    await form.get_by_label("Expires").select_option(term)
    await form.get_by_role("button", name="Make key").click()
    return await page.get_by_label("API key", exact=True).input_value()


def row(page: Page, name: str) -> Locator:
    return page.locator("tbody tr").filter(has_text=name)


def status(http: httpx.Client, path: str, key: str | None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return http.get(path, headers=headers).status_code


async def log_in(page: Page, key: str) -> None:
    await page.goto("/ui/login")
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """Those that the tests of this module have made, which run in their order."""
    return {}


async def test_usage_is_shown_against_its_limits(page: Page, remember: Remember) -> None:
    remember([{"text": TEXT} for _ in range(30)])
    await page.goto("/ui/keys")
    accepted = page.locator(".tile").filter(has_text="Memories accepted")
    await expect(accepted.locator(".value")).to_have_text("30")
    tokens = page.locator(".tile").filter(has_text="Embedding tokens").locator(".value")
    assert int(await tokens.inner_text()) >= 30 * len(TEXT) // 3
    await expect(page.locator(".level").first).to_contain_text("0 of 1,000,000")
    await expect(page.get_by_text("There is no key yet.")).to_be_visible()


async def test_first_key_has_to_be_an_admins(page: Page, watch: Watch, http: httpx.Client) -> None:
    watch.expected.add(422)
    await page.goto("/ui/keys")
    await page.get_by_role("button", name="New key").click()
    form = page.get_by_role("dialog", name="New API key")
    await form.get_by_role("checkbox", name="admin").uncheck()
    await form.get_by_role("checkbox", name="read").check()
    await form.get_by_role("button", name="Make key").click()
    await expect(page.get_by_text("the first key has to be an admin's")).to_be_visible()
    assert status(http, "/v1/keys", None) == 200


async def test_first_key_is_shown_once_and_closes_the_service(
    page: Page, http: httpx.Client, keys: dict[str, str]
) -> None:
    key = keys[FIRST] = await make(page, FIRST, "admin")
    assert re.fullmatch(r"mr_[0-9a-f]{16}_[\w-]{43}", key)
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    wait_until("the key to be asked for", lambda: status(http, "/v1/keys", None) == 401, 60)
    assert status(http, "/v1/keys", key) == 200
    await page.goto("/ui/keys")
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await log_in(page, key)
    await page.goto("/ui/keys")
    await expect(row(page, FIRST)).to_contain_text("yours")
    assert key not in await page.content()


async def test_key_has_the_scopes_and_the_term_that_were_chosen(
    page: Page, http: httpx.Client, keys: dict[str, str]
) -> None:
    await log_in(page, keys[FIRST])
    key = keys["agent"] = await make(page, "chat agent", "read", term="90 days")
    assert status(http, "/v1/usage", key) == 200
    assert status(http, "/v1/keys", key) == 403
    await expect(row(page, "chat agent").locator(".scopes .tag")).to_have_text(["read"])
    until = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
    await expect(row(page, "chat agent")).to_contain_text(until)
    await page.goto("/ui/keys")
    await look(page, "keys")


async def test_key_without_admin_sees_the_usage_alone(page: Page, keys: dict[str, str]) -> None:
    await log_in(page, keys["agent"])
    await page.goto("/ui/keys")
    await expect(page.get_by_text("Memories accepted")).to_be_visible()
    await expect(page.get_by_role("button", name="New key")).to_have_count(0)
    await expect(page.get_by_text(FIRST)).to_have_count(0)


async def test_key_without_admin_can_neither_make_keys_nor_touch_dead_letters(
    service: Service, keys: dict[str, str]
) -> None:
    async with httpx.AsyncClient(
        base_url=service.url, cookies={"memrelay_key": keys["agent"]}
    ) as http:
        for path in (
            "keys",
            "keys/0123456789abcdef/revoke",
            "dead-letters/replay",
            "dead-letters/delete",
        ):
            answer = await http.post(f"/ui/{path}", headers={"Sec-Fetch-Site": "same-origin"})
            assert answer.status_code == 403, path


async def test_revoked_key_is_refused(page: Page, http: httpx.Client, keys: dict[str, str]) -> None:
    await log_in(page, keys[FIRST])
    await page.goto("/ui/keys")
    await page.get_by_role("button", name="Revoke chat agent").click()
    question = page.get_by_role("dialog", name="Revoke chat agent?")
    await question.get_by_role("button", name="Cancel").click()
    await expect(question).to_be_hidden()
    await page.get_by_role("button", name="Revoke chat agent").click()
    await question.get_by_role("button", name="Revoke", exact=True).click()
    await expect(row(page, "chat agent")).to_have_count(0)
    refused = lambda: status(http, "/v1/usage", keys["agent"]) == 401  # noqa: E731
    wait_until("the key to be refused", refused, 60)


async def test_keys_name_is_shown_as_text(page: Page, keys: dict[str, str]) -> None:
    await log_in(page, keys[FIRST])
    name = "<img src=x onerror=alert(1)> & \"'"
    await make(page, name, "read")
    await expect(row(page, name)).to_be_visible()
