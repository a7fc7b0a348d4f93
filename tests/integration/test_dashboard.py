"""The dashboard's pages over HTTP: their headers, assets, forms and streams. How they look: tests/browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from tests.integration.conftest import Opened
from tests.service import Service

PAGES = ("/", "/ui/jobs", "/ui/drivers", "/ui/login")
KEY = "k" * 40
OURS = {"Sec-Fetch-Site": "same-origin"}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


class Found(HTMLParser):
    """What a page must not have, and what it needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.assets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        if tag in ("script", "img", "link"):
            self.assets.append(given.get("src") or given.get("href") or "")


def shown(answer: httpx.Response) -> Found:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert set(answer.headers["content-security-policy"].split("; ")) == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    return Found(answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_page_lets_nothing_run_but_our_own_assets(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    found = shown(answer)
    assert found.inline == []
    assert found.assets and all(asset.startswith("/ui/static/") for asset in found.assets)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ui/nothing", 404),
        ("/ui/jobs/job_1_1", 404),
        ("/ui/jobs/<script>", 404),
        ("/ui/jobs?cursor=x", 422),
        ("/ui/events?page=nothing", 404),
        ("/ui/events", 422),
    ],
)
def test_error_is_a_page_that_echoes_nothing(http: httpx.Client, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert shown(answer).inline == []
    assert "<script>" not in answer.text


def test_asset_may_be_kept_for_ever_under_its_address(http: httpx.Client) -> None:
    for path in shown(http.get("/")).assets:
        answer = http.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not answer.headers["content-type"].startswith("text/html")
        other = re.sub(r"/[0-9a-f]{12}/", "/000000000000/", path)
        assert http.get(other).status_code == 404


@pytest.mark.parametrize(
    "path", ["/ui/static/x/..%2f..%2fpage.py", "/ui/static/x/../../page.py", "/ui/static/x/y"]
)
def test_nothing_but_assets_is_served_from_there(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.test"},
    ],
)
def test_form_of_another_site_changes_nothing(http: httpx.Client, headers: dict[str, str]) -> None:
    def states() -> list[tuple[str, str]]:
        return [(it["name"], it["state"]) for it in http.get("/v1/drivers").json()["drivers"]]

    before = states()
    answer = http.post("/ui/drivers/sqlite/detach", headers=headers)
    assert answer.status_code == 403
    shown(answer)
    assert states() == before


def test_forms_of_other_kinds_are_refused(http: httpx.Client) -> None:
    path = "/ui/drivers/sqlite/sync"
    assert http.post(path, json={"full": "true"}).status_code == 415
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post(path, content=b"\xff\xfe", headers=form).status_code == 400
    assert http.post(path, content=b"a" * 70_000, headers=form).status_code == 413
    assert http.post(path, content=b"a=1&" * 100, headers=form).status_code == 400
    assert http.post("/ui/drivers/nothing/sync").status_code == 404
    assert http.post("/ui/drivers/sqlite/join", data={"source": "<b>"}).status_code == 422


@pytest.fixture(scope="module")
def own(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One more API on the same journal, to be stopped."""
    other = Service(
        {name: value for name, value in service.env.items() if name != "MEMRELAY_PORT"},
        tmp_path_factory.mktemp("own"),
    )
    other.start_api()
    yield other
    other.stop_api()


def test_service_ends_in_order_while_somebody_looks(own: Service) -> None:
    with httpx.stream("GET", f"{own.url}/ui/events?page=overview", timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        own.stop_api()  # raises if it has to be killed
        for _ in lines:  # ends without an error: the stream was closed as it should be
            pass


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """Of the application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://testserver")


async def test_key_is_kept_in_a_cookie_for_pages_alone(opened: Opened) -> None:
    async with opened(admin_key=SecretStr(KEY)) as app, client_of(app) as http:
        assert (await http.get("/ui/jobs")).headers["location"] == "/ui/login"
        answer = await http.post("/ui/login", data={"key": f" {KEY} "})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "secure" in cookie
        jobs = await http.get("/ui/jobs")
        assert jobs.status_code == 200
        assert "/metrics" not in jobs.text  # it takes no cookie
        assert (await http.get("/v1/jobs")).status_code == 401
        assert (await http.post("/ui/logout", headers=OURS)).headers["location"] == "/ui/login"
        assert (await http.get("/ui/jobs")).status_code == 303


async def test_key_that_is_not_good_opens_nothing(opened: Opened) -> None:
    async with opened(admin_key=SecretStr(KEY)) as app, client_of(app) as http:
        for key in ("", "mr_wrong", KEY[:-1], "é\0;", "x" * 10_000):
            answer = await http.post("/ui/login", data={"key": key})
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            assert "This key is not good" in answer.text
            assert shown(answer).inline == []
        assert (await http.get("/")).headers["location"] == "/ui/login"


def test_login_page_says_that_nobody_needs_a_key_yet(http: httpx.Client) -> None:
    assert "There is no API key yet" in http.get("/ui/login").text
