"""The watch itself: a page that misbehaves is found out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from tests.browser.look import look
from tests.browser.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "http://127.0.0.1:9"
HEADERS = {"content-security-policy": "default-src 'self'", "content-type": "text/html"}
MISBEHAVIOUR = {
    "console": ("<script src=/a.js></script>", "console.error('bad')", "console: bad"),
    "exception": ("<script src=/a.js></script>", "throw new Error('bad')", "exception: bad"),
    "dialog": ("<script src=/a.js></script>", "alert('bad')", "dialog: bad"),
    "inline script": ("<script>1</script>", "", "content security policy: script-src-elem"),
    "inline handler": ("<p onclick=go()>", "", "content security policy: script-src-attr"),
    "inline style": ("<p style='color:red'>", "", "content security policy: style-src-attr"),
    "server error": ("<img src=/broken>", "", f"500 for {URL}/broken"),
}


@pytest_asyncio.fixture(loop_scope="session")
async def watch() -> Watch:
    return Watch(URL)


@pytest_asyncio.fixture(loop_scope="session")
async def bad_page(browser: Browser, watch: Watch) -> AsyncIterator[Page]:
    """A page whose faults the test looks at."""
    context = await browser.new_context()
    await watch.attach(context)
    yield await context.new_page()
    await context.close()


async def show(page: Page, body: str, script: str = "") -> None:
    """Have the page show ``body`` under a strict policy."""

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(URL)
        if path == "/broken":
            await route.fulfill(status=500)
        elif path == "/a.js":
            await route.fulfill(body=script, content_type="text/javascript")
        elif path == "/":
            await route.fulfill(body=f"<!doctype html><body>{body}", headers=HEADERS)
        else:
            await route.fulfill(body="")

    await page.route("**/*", answer)
    await page.goto(f"{URL}/", wait_until="networkidle")


@pytest.mark.parametrize("kind", MISBEHAVIOUR)
async def test_watch_tells_of_a_page_that_misbehaves(
    bad_page: Page, watch: Watch, kind: str
) -> None:
    body, script, fault = MISBEHAVIOUR[kind]
    await show(bad_page, body, script)
    for _ in range(300):
        if any(fault in found for found in watch.faults):
            return
        await asyncio.sleep(0.1)  # what the browser tells comes after the page
    pytest.fail(f"no {fault!r} among {watch.faults}")


async def test_watch_tells_of_a_request_to_another_host(bad_page: Page, watch: Watch) -> None:
    await show(bad_page, "<a href=http://127.0.0.2/x>away</a>")
    await bad_page.get_by_role("link").click()
    await bad_page.wait_for_url("http://127.0.0.2/x")
    assert watch.faults == ["request to another host: http://127.0.0.2/x"]


async def test_page_that_behaves_is_not_blamed(bad_page: Page, watch: Watch) -> None:
    await show(bad_page, "<script src=/a.js></script>fine", "document.title = 'fine'")
    assert await bad_page.title() == "fine"
    assert watch.faults == []


async def test_page_that_is_wider_than_a_phone_is_told(bad_page: Page) -> None:
    await show(bad_page, f"<pre>{'wide' * 200}</pre>")
    with pytest.raises(AssertionError, match="at 360"):
        await look(bad_page)
