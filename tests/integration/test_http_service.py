"""The service around its routes: ids of requests, probes, metrics, its own description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.app import create, open_state
from api.auth import is_page
from memrelay.settings import load_settings
from tests.service import Service

OTHERS = {"/mcp", "/openapi.json"}


@pytest.fixture
async def app(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FastAPI]:
    """The application of the running service once more, in this process, for a look at its routes."""
    for name, value in service.env.items():
        if name.startswith("MEMRELAY_"):
            monkeypatch.setenv(name, value)
    async with open_state(load_settings()) as state:
        yield create(state)


def test_every_answer_has_an_id_of_its_own(http: httpx.Client) -> None:
    answers = [http.get(path) for path in ("/healthz", "/v1/jobs", "/nothing", "/healthz")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4
    assert all(id.isalnum() for id in ids)


def test_caller_may_choose_the_id_of_a_request(http: httpx.Client) -> None:
    answer = http.get("/nothing", headers={"X-Request-Id": "mine42"})
    assert answer.headers["x-request-id"] == "mine42"
    assert answer.json()["request_id"] == "mine42"


@pytest.mark.parametrize("id", ["", "x" * 65, "a b", "a\tb", "<script>", "é", "a-b;c"])
def test_id_that_is_long_or_not_plain_is_replaced(http: httpx.Client, id: str) -> None:
    answer = http.get("/nothing", headers={b"X-Request-Id": id.encode()})
    assert answer.headers.get_list("x-request-id") == [answer.json()["request_id"]]
    assert answer.headers["x-request-id"] != id


def test_probes_tell_accepting_and_searching_apart(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "accept": True,
        "search": True,
        "drivers": {"redis": True, "sqlite": True},
    }


def test_metrics_are_those_of_prometheus(http: httpx.Client) -> None:
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE " in answer.text


def test_docs_show_the_description(http: httpx.Client) -> None:
    docs = http.get("/docs")
    assert docs.status_code == 200
    assert "/openapi.json" in docs.text
    assert "https://" not in docs.text


def test_description_is_complete(http: httpx.Client) -> None:
    document: dict[str, Any] = http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    used = set(_references(document))
    assert {name.rpartition("/")[2] for name in used} <= schemas.keys()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            if method == "post":
                assert operation["requestBody"]["content"], path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:3000"}, 202),
        ({"Cookie": "any=thing"}, 202),
        ({}, 202),
    ],
)
def test_no_web_page_elsewhere_writes_to_a_service_without_keys(
    http: httpx.Client, headers: dict[str, str], status: int
) -> None:
    body = b'{"memories": [{"text": "tea"}]}'  # without a type, a browser asks nobody before it sends it
    answer = http.post("/v1/memories", content=body, headers=headers)
    assert answer.status_code == status


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for child in value.values() for ref in _references(child)]
    return [ref for child in value for ref in _references(child)] if isinstance(value, list) else []


async def test_served_routes_are_the_described_ones(app: FastAPI) -> None:
    served = {
        (method, route.path_format)
        for route in app.routes
        if isinstance(route, APIRoute) and not is_page(route.path)
        for method in route.methods or ()
    }
    others = {getattr(route, "path", "") for route in app.routes if not isinstance(route, APIRoute)}
    described = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    assert served == described | {("GET", "/docs")}
    assert others == OTHERS
