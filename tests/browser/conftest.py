"""A running memrelay for the tests of each module, and a real browser that looks at it.

Playwright drives the system's Chromium. Everything asynchronous runs in one event loop, which the browser
needs for as long as it lives: ``pytestmark = pytest.mark.asyncio(loop_scope="session")`` in each module.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.look import DESK
from tests.browser.watch import Watch
from tests.rig import redis_servers
from tests.service import Service, settings_on

PATIENCE_MS = 90_000
SOURCES = {
    "default": {
        "drivers": ["redis", "sqlite"],
        "filterable": {"category": "string", "score": "number"},
    },
    "plain": {"drivers": ["redis"]},
}

type Remember = Callable[..., dict[str, Any]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("no chromium on PATH: apt-get install --no-install-recommends chromium")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def sources() -> dict[str, Any]:
    """``default`` (Redis, replica in SQLite) and ``plain`` (Redis alone, so no keywords)."""
    return SOURCES


@pytest.fixture(scope="module")
def service(sources: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("browser")
    with redis_servers(directory) as start:
        url = start().url
        env = settings_on(url, directory)
        service = Service(env | {"MEMRELAY_SOURCES": json.dumps(sources)}, directory)
        try:
            service.start()
            yield service
        finally:  # an orderly end takes seconds, and nobody looks at it
            service.kill_api()
            service.kill_worker()


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=90) as client:
        yield client


@pytest.fixture(scope="module")
def remember(http: httpx.Client) -> Remember:
    """Adds memories and waits until their job has ended; the job as it is then."""

    def add(memories: Sequence[dict[str, Any]], **body: Any) -> dict[str, Any]:
        answer = http.post("/v1/memories", json={"memories": memories, **body})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = http.get(answer.headers["Location"], params={"wait": 60}).json()
        assert job["ended_at"] is not None, job
        return job

    return add


@pytest.fixture
def watch(service: Service) -> Watch:
    return Watch(service.url)


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, service: Service, watch: Watch) -> AsyncIterator[Page]:
    """A page in a context of its own; the test fails with what ``watch`` saw."""
    width, height = DESK
    context = await browser.new_context(
        base_url=service.url,
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    await watch.attach(context)
    page = await context.new_page()
    yield page
    await context.close()
    assert watch.faults == []
